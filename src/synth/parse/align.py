"""One visit brought onto another by the organs that both parses draw, where there are no two images to register."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from synth.parse.kinds import Kind
from synth.parse.parse import Parse
from synth.volume import Mask, resample_mask

Float64 = NDArray[np.float64]

LEAST_SHARED = 4  # organs, for a rotation to mean anything
MOST_DEGREES = (
    20.0  # a patient on the same table turns by less; beyond, the organs are mixed up and only a shift is used
)
ROUNDS, CLOSE_MM = 10, 5.0  # of reweighting; how far off an organ may be before it counts less


def rigid_by_organs(moving: Parse, fixed: Parse) -> Float64 | None:
    """The rigid motion that brings the organs of one parse onto those of another, None with fewer than four of them.

        min over R, t of  Σ_i w_i |R f_i + t - m_i|²,   w_i = 1 / max(|R f_i + t - m_i|, 5 mm)

    over the centroids of the organs that both draw whole, so that one organ drawn in the wrong place moves little
    (Kabsch 1976, Acta Cryst A32:922, with the weights of a least sum of distances).

    Returns:
        (4, 4), world millimetres of `fixed` -> those of `moving`, as `synth.volume.register.Alignment.matrix`.

    Example:
        >>> from synth.parse import Entity
        >>> from synth.volume import Geometry
        >>> z = Parse([Entity(id="liver", name="liver")], geometry=Geometry.regular((4, 4, 4), 3.0))
        >>> rigid_by_organs(z, z) is None
        True
    """
    there, here = (_centres(parse) for parse in (moving, fixed))
    shared = sorted(there.keys() & here.keys())
    if len(shared) < LEAST_SHARED:
        return None
    m, f = np.array([there[n] for n in shared]), np.array([here[n] for n in shared])
    weight = np.ones(len(shared))
    matrix = np.eye(4)
    for _ in range(ROUNDS):
        matrix = _rigid(f, m, weight)
        off = np.linalg.norm(f @ matrix[:3, :3].T + matrix[:3, 3] - m, axis=1)
        weight = 1.0 / np.maximum(off, CLOSE_MM)
    return matrix


def shared_dice(moving: Parse, fixed: Parse) -> dict[str, float]:
    """Name -> Dice of each organ that both parses draw once; their worlds are one, their grids may differ.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(3, spacing_mm=(12.0, 12.0, 12.0)).parse
        >>> set(shared_dice(truth, truth.without("spleen")).values())
        {1.0}
    """
    there, here = _drawn(moving), _drawn(fixed)
    same = moving.geometry.matches(fixed.geometry)
    found = {}
    for name in sorted(there.keys() & here.keys()):
        mask = there[name] if same else resample_mask(there[name], moving.geometry, fixed.geometry)
        found[name] = mask.dice(here[name])
    return found


def _rigid(source: Float64, target: Float64, weight: Float64) -> Float64:
    """(4, 4) that takes the points of `source` to those of `target`."""
    share = weight / weight.sum()
    from_, to = share @ source, share @ target
    turn, _ = Rotation.align_vectors(target - to, source - from_, weights=share)
    if np.degrees(turn.magnitude()) > MOST_DEGREES:
        turn = Rotation.identity()
    matrix = np.eye(4)
    matrix[:3, :3] = turn.as_matrix()
    matrix[:3, 3] = to - matrix[:3, :3] @ from_
    return matrix


def _drawn(parse: Parse) -> Mapping[str, Mask]:
    """Name -> mask of the organs that are drawn, of each name that only one has."""
    ids: dict[str, list[str]] = {}
    for id in parse.present_ids:
        entity = parse.entity(id)
        if entity.kind is Kind.organ and not parse.masks[id].is_empty:
            ids.setdefault(entity.name, []).append(id)
    return {name: parse.masks[found[0]] for name, found in ids.items() if len(found) == 1}


def _centres(parse: Parse) -> dict[str, Float64]:
    """Name -> centroid (3,) mm of the organs that are drawn whole."""
    return {n: m.centroid_mm(parse.geometry) for n, m in _drawn(parse).items() if not m.touches_border}
