"""Is a place of an organ unlike the organ's other places? A p-value out of this image alone.

An outline is moved about in its organ, to where as large a share of it lies in the organ and nothing else is drawn. If
nothing is there, its own place is one like the others, so that with a score s, high where something is there,

    p = (1 + #{places with s_place >= s}) / (1 + #places)

is at most alpha with probability at most alpha (a Monte-Carlo rank test: Barnard 1963, J R Stat Soc B 25:294). The
drawing stops as soon as p can no longer come below the bound that is asked for (Besag and Clifford 1991, Biometrika
78:301).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.parse import Kind, Parse
from synth.volume import Mask

PLACES, MOST_PLACES = 39, 199  # usually, p-values down to 0.025, and where many findings are tried at once
LEAST_PLACES = 19  # fewer cannot tell
APART = 0.5  # of the outline's own radius (that of a ball of its volume): nearer is the same place
SHARE_OFF = 0.15  # by which the share in the organ may differ
TRIES = 4000  # places looked at, free or not
Zone = NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """How a place compares: its own score, the p-value, and at how many other places was asked."""

    score: float
    p_value: float
    places: int


def ranked(
    score: Callable[[Mask], float], own: Mask, others: Iterator[Mask], *, alpha: float, most: int = PLACES
) -> Ranked | None:
    """The p-value of a place, None where there are too few others; `score` is asked of one outline at a time.

    Example:
        >>> own, *others = (Mask.from_box((50, 1, 1), (k, 0, 0), np.ones((1, 1, 1), bool)) for k in range(40))
        >>> ranked(lambda mask: 50.0 - mask.origin[0], own, iter(others), alpha=0.1)
        Ranked(score=50.0, p_value=0.025, places=39)
        >>> ranked(lambda mask: float(mask.origin[0]), own, iter(others), alpha=0.1)
        Ranked(score=0.0, p_value=1.0, places=4)
    """
    mine = score(own)
    above = asked = 0
    enough = math.floor(alpha * (most + 1))  # so many places as good, and p is above alpha whatever the rest say
    for other in others:
        asked += 1
        above += score(other) >= mine
        if above >= max(enough, 1) or asked == most:
            break
    if above >= max(enough, 1):
        return Ranked(mine, (1 + above) / (1 + asked), asked)
    return Ranked(mine, (1 + above) / (1 + asked), asked) if asked >= LEAST_PLACES else None


def other_places(own: Mask, organ: Mask, taken: Zone, rng: np.random.Generator) -> Iterator[Mask]:
    """The outline at other places of its organ, in random order, none of them the same twice.

    `taken` (X, Y, Z): where something is drawn already, and where the outline itself lies.
    """
    spots = own.indices()
    centre = np.rint(spots.mean(axis=0)).astype(int)
    share = own.overlap(organ) / own.voxels
    near = APART * (3 * own.voxels / (4 * math.pi)) ** (1 / 3)
    shape = np.array(own.shape)
    drawn: list[NDArray[np.int64]] = []
    for target in rng.permutation(organ.indices())[:TRIES]:
        moved = spots + (target - centre)
        if (moved < 0).any() or (moved >= shape).any() or _is_near(target, [centre, *drawn], near):
            continue
        if taken[tuple(moved.T)].any():
            continue
        box = _boxed(own, target - centre)
        if abs(box.overlap(organ) / own.voxels - share) <= SHARE_OFF:
            drawn.append(target)
            yield box


def drawn_within(parse: Parse, own: Mask) -> Zone:
    """(X, Y, Z) where the parse draws a finding, and the outline in question."""
    taken = own.dense()
    for id in parse.present_ids:
        if parse.entity(id).kind is Kind.finding:
            mask = parse.masks[id]
            taken[mask.slices] |= mask.box
    return taken


def _is_near(target: NDArray[np.int64], others: list[NDArray[np.int64]], near: float) -> bool:
    return bool((np.linalg.norm(np.array(others) - target, axis=1) < near).any())


def _boxed(own: Mask, step: NDArray[np.int64]) -> Mask:
    x, y, z = (int(o + s) for o, s in zip(own.origin, step, strict=True))
    return Mask.from_box(own.shape, (x, y, z), own.box)
