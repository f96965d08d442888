"""Regions that the parse does not explain: found, outlined, named and tried as added entities.

1. what stands out from the held-out render, or from the organ around it            (stand_out)
2. outline each: voxels of its host that are nearer to the anomaly than to the host (candidate)
3. order them by what can be told without a decoder: pieces of the outside that a sloppy outline took in come last
4. name it: which finding of that host, or which organ, has such intensities
5. contrast(parse + candidate, parse): is the image better explained with it?
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from synth.contracts import Contrast, Decoder, EncodedImage
from synth.parse import VOCABULARY, Entity, Kind, Parse, Presence, Relation
from synth.residual.candidate import Candidate, Outliner
from synth.residual.evidence import EntityEvidence, entity_features
from synth.residual.fusion import Fusion
from synth.residual.held_out import HeldOut, unexplained
from synth.residual.hosts import NOT_JUDGED, findings_of, site_of
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.on_grid import on_grid
from synth.residual.stand_out import Zone, standing
from synth.volume import Mask, Volume

ORDER = Path(__file__).with_name("search.json")
THRESHOLD = 1.2  # of the smoothed residual, in units of the decoder's spread
MOST = 12  # candidates tried with the decoder, in sites that are judged
BY_RENDER = 3  # of them, those that the render explains least among the rest
LISTED = 2  # more, in sites that are not judged
MOST_SHARED = 0.3  # of a candidate may lie on better ones
BORDER_VOXELS = 2  # of the field of view, where the decoder sees one side only
SKIN_VOXELS = 2


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate, named and contrasted.

    Attributes:
        site: what it is compared among, see `hosts.site_of`; standing: what could be told of it without a decoder.
    """

    candidate: Candidate
    name: str
    site: str
    shares: Mapping[str, float]
    evidence: EntityEvidence
    contrast: Contrast
    standing: Mapping[str, float]

    @property
    def features(self) -> dict[str, float]:
        """What a fusion reads: the entity's evidence and the candidate's."""
        return {**self.evidence.features, **self.standing}


def find(
    image: Volume, parse: Parse, held_out: HeldOut, prior: IntensityPrior, *, most: int = MOST
) -> tuple[Candidate, ...]:
    """Unexplained regions, most promising first, none of them overlapping a better one.

    The last `BY_RENDER` are those that the render explains least among the rest, wherever they lie: what the order was
    fitted on has lesions in few organs. Up to `LISTED` regions of sites that are not judged follow, by the same.
    """
    score = shipped_order().score
    ranked = [(site_in(parse, c), c) for c in candidates(image, parse, held_out, prior)]
    ranked.sort(key=lambda pair: (-score(pair[1].features(parse), pair[0]), pair[1].focus))
    judged = [c for site, c in ranked if site not in NOT_JUDGED]
    listed = [c for site, c in ranked if site in NOT_JUDGED]
    taken = np.zeros(image.shape, bool)
    first = apart(judged, taken, max(most - BY_RENDER, 0))
    rest = apart(_least_explained(judged), taken, most - len(first))
    return (*first, *rest, *apart(_least_explained(listed), taken, LISTED))


def _least_explained(found: Iterable[Candidate]) -> list[Candidate]:
    """Those that the render does not explain, the worst first."""
    return sorted((c for c in found if abs(c.peak) > THRESHOLD), key=lambda c: (-abs(c.peak), c.focus))


def candidates(image: Volume, parse: Parse, held_out: HeldOut, prior: IntensityPrior) -> list[Candidate]:
    """Everything that stands out and can be outlined; many lie on each other."""
    z = unexplained(image.array, held_out, parse, prior)
    maps = standing(image, parse, z, _searched(held_out.body))
    outliner = Outliner(image, parse, held_out, z, maps)
    outlined = (outliner.outline(place) for place in maps.places())
    return [c for c in outlined if c is not None]


@cache
def shipped_order() -> Fusion:
    """What orders the candidates, made by benchmarks/search_fit.py."""
    return Fusion.from_json(json.loads(ORDER.read_text("utf-8")))


def site_in(parse: Parse, candidate: Candidate) -> str:
    """What the candidate is compared among: its host's `hosts.site_of`."""
    return site_of(None if candidate.host is None else parse.entity(candidate.host).name)


def apart(ranked: Iterable[Candidate], taken: Zone, most: int) -> list[Candidate]:
    """The first few that do not lie on one before them; what they cover is added to `taken`."""
    kept: list[Candidate] = []
    for candidate in ranked:
        if len(kept) == most:
            break
        mask = candidate.mask
        if taken[mask.slices][mask.box].mean() <= MOST_SHARED:
            taken[mask.slices] |= mask.box
            kept.append(candidate)
    return kept


def attempt(
    candidate: Candidate,
    decoder: Decoder,
    encoded: EncodedImage,
    parse: Parse,
    prior: IntensityPrior,
    *,
    generator: torch.Generator,
) -> Tried | None:
    """The candidate as an added entity of its most likely name; None where the prior knows no name for it."""
    shares = name_shares(candidate, parse, encoded.image, prior, decoder.vocabulary)
    if not shares:
        return None
    name = max(shares, key=lambda n: shares[n])
    added = Entity(id=parse.free_id("missing"), name=name)
    relations = [] if candidate.host is None else [Relation(type="located_in", subject=added.id, object=candidate.host)]
    denied = [e.id for e in parse.entities if e.name == name and e.presence is Presence.absent]
    with_it = parse.without(*denied).with_entity(added, candidate.mask, relations=relations)
    (contrast,) = decoder.contrast(encoded, with_it, [parse], candidate.mask, draws=1, generator=generator)
    contrast = on_grid(contrast, encoded.image.shape)
    evidence = entity_features(contrast, prior, encoded.image, with_it, added.id)
    return Tried(candidate, name, site_in(parse, candidate), shares, evidence, contrast, candidate.features(parse))


def name_shares(
    candidate: Candidate, parse: Parse, image: Volume, prior: IntensityPrior, known: frozenset[str]
) -> dict[str, float]:
    """Which names would explain the region's intensities, with their shares of the likelihood, the best five."""
    host = None if candidate.host is None else parse.entity(candidate.host).name
    # An organ that the parse denies may be there after all.
    denied = [e.name for e in parse.entities if e.presence is Presence.absent and e.kind is Kind.organ]
    names = [n for n in (*findings_of(host), *denied) if prior.seen(n) and VOCABULARY.nearest(n, known)]
    if not names:
        names = [n for n in ("lesion", "finding") if prior.knows(n)]
    hu = image.array[candidate.mask.slices][candidate.mask.box]
    # One voxel in eight counts: neighbours at this spacing say the same thing again.
    fit = np.array([prior.likelihood(n, hu) * max(hu.size / 8.0, 1.0) for n in names])
    if not fit.size:
        return {}
    share = np.exp(fit - fit.max())
    share /= share.sum()
    best = np.argsort(-share, kind="stable")[:5]
    return {names[i]: float(share[i]) for i in best}


def _searched(body: Mask) -> Zone:
    """The body less its skin and less the ends of the field of view."""
    inside = ndimage.binary_erosion(np.pad(body.dense(), 1, mode="edge"), iterations=SKIN_VOXELS, border_value=1)
    inside = inside[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        ends = np.moveaxis(inside, axis, 0)
        ends[:BORDER_VOXELS] = False
        ends[-BORDER_VOXELS:] = False
    return inside
