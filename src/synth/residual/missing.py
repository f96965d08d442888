"""Regions that the parse does not explain: found in the held-out residual, outlined, named and tried as added entities.

1. smooth the standardised residual and keep what stands out               (candidates)
2. outline each: voxels of its host that are nearer to the anomaly than to the host
3. name it: which finding of that host, or which organ, has such intensities
4. contrast(parse + candidate, parse): is the image better explained with it?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from synth.contracts import Contrast, Decoder, EncodedImage
from synth.parse import VOCABULARY, Entity, Kind, Parse, Presence, Relation
from synth.residual.evidence import EntityEvidence, entity_features
from synth.residual.held_out import HeldOut, unexplained
from synth.residual.hosts import ANYWHERE, findings_of
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.on_grid import on_grid
from synth.volume import Mask, Slices3, Volume

Map = NDArray[np.float32]
Zone = NDArray[np.bool_]

SIGMAS = (1.0, 1.8)  # voxels: small lesions and larger ones
THRESHOLD = 1.2  # of the smoothed residual, in units of the decoder's spread
MIN_VOXELS = 4
MOST = 10  # candidates tried with the decoder
BORDER_VOXELS = 2  # of the field of view, where the decoder sees one side only
SKIN_VOXELS = 2
GROW_VOXELS = 3
MIN_STEP_HU = 12.0  # between host and anomaly, for an outline to mean anything
HOST_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Candidate:
    """An unexplained region.

    Attributes:
        mask: its outline; peak: the smoothed residual at its strongest voxel, `focus`; host: id of what holds it.
        step_hu: its mean against its host's, or against what was rendered where it has none.
        residual: mean of the map that it was found in; depth: share of it that lies off its host's border;
        compactness: share of its bounding box that it fills.
    """

    mask: Mask
    peak: float
    focus: tuple[int, int, int]
    host: str | None
    mean_hu: float
    step_hu: float
    residual: float
    depth: float
    compactness: float


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate, named and contrasted."""

    candidate: Candidate
    name: str
    shares: Mapping[str, float]
    evidence: EntityEvidence
    contrast: Contrast

    @property
    def features(self) -> dict[str, float]:
        """What a fusion reads: the entity's evidence and the residual's."""
        found = self.candidate
        return {
            **self.evidence.features,
            "residual_peak": abs(found.peak),
            "residual_mean": abs(found.residual),
            "step": float(np.log1p(abs(found.step_hu))),
            "hosted": float(found.host is not None),
            "host_has_findings": float(found.host is not None and self.name not in ANYWHERE),
            "depth": found.depth,
            "compactness": found.compactness,
        }


def find(
    image: Volume, parse: Parse, held_out: HeldOut, prior: IntensityPrior, *, most: int = MOST
) -> tuple[Candidate, ...]:
    """Unexplained regions, the strongest first, none of them overlapping a stronger one."""
    z = unexplained(image.array, held_out, parse, prior)
    allowed = _searched(held_out.body)
    hosts = _host_map(parse)
    taken = np.zeros(image.shape, bool)
    found: list[Candidate] = []
    for seed in _seeds(z, allowed):
        if len(found) == most:
            break
        candidate = _outlined(seed, image, parse, held_out, hosts, z)
        if candidate is None or taken[candidate.mask.slices][candidate.mask.box].mean() > 0.3:
            continue
        taken[candidate.mask.slices] |= candidate.mask.box
        found.append(candidate)
    return tuple(found)


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
    added = Entity(id=free_id(parse), name=name)
    relations = [] if candidate.host is None else [Relation(type="located_in", subject=added.id, object=candidate.host)]
    denied = [e.id for e in parse.entities if e.name == name and e.presence is Presence.absent]
    with_it = parse.without(*denied).with_entity(added, candidate.mask, relations=relations)
    (contrast,) = decoder.contrast(encoded, with_it, [parse], candidate.mask, draws=1, generator=generator)
    contrast = on_grid(contrast, encoded.image.shape)
    evidence = entity_features(contrast, prior, encoded.image, with_it, added.id)
    return Tried(candidate, name, shares, evidence, contrast)


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


def free_id(parse: Parse) -> str:
    """An id that the parse does not use: missing_1, missing_2, ..."""
    number = 1
    while f"missing_{number}" in parse:
        number += 1
    return f"missing_{number}"


@dataclass(frozen=True)
class _Seed:
    voxels: Zone
    box: Slices3
    focus: tuple[int, int, int]
    peak: float


def _searched(body: Mask) -> Zone:
    """The body less its skin and less the ends of the field of view."""
    inside = ndimage.binary_erosion(np.pad(body.dense(), 1, mode="edge"), iterations=SKIN_VOXELS, border_value=1)
    inside = inside[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        ends = np.moveaxis(inside, axis, 0)
        ends[:BORDER_VOXELS] = False
        ends[-BORDER_VOXELS:] = False
    return inside


def _seeds(z: Map, allowed: Zone) -> list[_Seed]:
    """Connected parts of the smoothed residual beyond the threshold, at each scale and sign, strongest first."""
    seeds = []
    bounded = np.clip(z, -4.0, 4.0)  # one voxel of metal is not a lesion
    for sigma in SIGMAS:
        smooth = np.where(allowed, ndimage.gaussian_filter(bounded, sigma), 0.0)
        for sign in (1.0, -1.0):
            labels, _ = ndimage.label(sign * smooth > THRESHOLD)
            for number, box in enumerate(ndimage.find_objects(labels), start=1):
                voxels = labels[box] == number
                if voxels.sum() < MIN_VOXELS:
                    continue
                strength = np.where(voxels, sign * smooth[box], 0.0)
                peak = np.unravel_index(int(strength.argmax()), strength.shape)
                focus = tuple(int(i) + s.start for i, s in zip(peak, box, strict=True))
                # A wide, weaker region can be as surprising as a narrow, strong one.
                seeds.append(_Seed(voxels, box, focus, float(sign * strength.max() * (sigma / SIGMAS[0]) ** 0.5)))
    return sorted(seeds, key=lambda s: (-abs(s.peak), s.focus))


def _host_map(parse: Parse) -> dict[str, Mask]:
    """Organs and findings that can hold something, the smallest first."""
    ids = [i for i in parse.present_ids if parse.entity(i).kind in (Kind.organ, Kind.finding)]
    return {i: parse.masks[i] for i in sorted(ids, key=lambda i: (parse.masks[i].voxels, i))}


def _outlined(
    seed: _Seed, image: Volume, parse: Parse, held_out: HeldOut, hosts: Mapping[str, Mask], z: Map
) -> Candidate | None:
    host = _host_of(seed, hosts)
    box = _grown(seed.box, image.shape)
    core = np.zeros(tuple(s.stop - s.start for s in box), bool)
    core[tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(seed.box, box, strict=True))] = seed.voxels
    hu, expected = image.array[box], held_out.location[box]
    inside = held_out.body.crop(box) if host is None else hosts[host].crop(box)
    if host is not None:
        expected = np.full(hu.shape, _typical(image, hosts[host]), np.float32)
    centre = _sharp_centre(hu, core & inside, seed, box)
    step = centre - float(np.median(expected[core & inside])) if (core & inside).any() else 0.0
    if abs(step) < MIN_STEP_HU:
        return None
    nearer = inside & ((hu - expected) / step > 0.5)
    reach = ndimage.binary_dilation(core, iterations=GROW_VOXELS)
    grown = ndimage.binary_opening(nearer & reach) | (nearer & core)
    region = _connected_to(grown, tuple(f - b.start for f, b in zip(seed.focus, box, strict=True)), core)
    if region is None or region.sum() < MIN_VOXELS:
        return None
    mask = Mask.from_box(image.shape, (box[0].start, box[1].start, box[2].start), region)
    return Candidate(
        mask=mask,
        peak=seed.peak,
        focus=seed.focus,
        host=host,
        mean_hu=float(hu[region].mean()),
        step_hu=step,
        residual=float(z[box][region].mean()),
        depth=float(ndimage.binary_erosion(inside, border_value=1)[region].mean()),
        compactness=mask.voxels / mask.box.size,
    )


def _grown(box: Slices3, shape: tuple[int, int, int]) -> Slices3:
    x, y, z = (
        slice(max(0, s.start - GROW_VOXELS), min(n, s.stop + GROW_VOXELS)) for s, n in zip(box, shape, strict=True)
    )
    return x, y, z


def _host_of(seed: _Seed, hosts: Mapping[str, Mask]) -> str | None:
    """The smallest entity that holds most of the seed."""
    for candidate, mask in hosts.items():
        if (mask.crop(seed.box) & seed.voxels).sum() >= HOST_SHARE * seed.voxels.sum():
            return candidate
    return None


def _typical(image: Volume, mask: Mask) -> float:
    return float(np.median(image.array[mask.slices][mask.box]))


def _sharp_centre(hu: Map, core: Zone, seed: _Seed, box: Slices3) -> float:
    """HU around the strongest voxel: the mean of the seed's voxels next to it."""
    at = tuple(f - b.start for f, b in zip(seed.focus, box, strict=True))
    near = np.zeros(core.shape, bool)
    near[tuple(slice(max(0, i - 1), i + 2) for i in at)] = True
    use = near & core if (near & core).any() else near
    return float(hu[use].mean())


def _connected_to(region: Zone, focus: tuple[int, ...], core: Zone) -> Zone | None:
    labels, count = ndimage.label(region)
    if count == 0:
        return None
    here = int(labels[focus])
    if here == 0:
        touched = np.bincount(labels[core], minlength=count + 1)
        touched[0] = 0
        here = int(touched.argmax())
        if touched[here] == 0:
            return None
    return np.asarray(labels == here)
