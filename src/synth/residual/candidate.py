"""The outline of a place that stands out, and what speaks for its being a thing of its own, before a decoder is asked.

    step       f(v) = (x(v) - host) / (anomaly - host)        0: like its host, 1: like the anomaly
    outline    voxels around the strongest one with f > 1/2, inside the host

A piece of the outside that a sloppy outline took in goes on beyond its border; a lesion ends. How the layers around a
candidate look (`around`) tells the two apart. Vessels, a renal pelvis and what an outline left of a finding are told by
their form and place (`form`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse import Kind, Parse
from synth.residual.form import Findings, Within, shape_features
from synth.residual.held_out import HeldOut
from synth.residual.hosts import has_findings, hosts_in
from synth.residual.stand_out import MIN_VOXELS, Map, Place, Standing, Zone
from synth.volume import Mask, Slices3, Volume

GROW_VOXELS = 3
MIN_STEP_HU = 12.0  # between host and anomaly, for an outline to mean anything
HOST_SHARE = 0.6
LAYERS = (1, 2)  # voxels off the outline


@dataclass(frozen=True, eq=False)
class Candidate:
    """An unexplained region.

    Attributes:
        mask: its outline; peak: the smoothed residual where it is strongest in it, signed; focus: the voxel that stands
            out most; host: id of what holds it.
        step_hu: its mean against its host's, or against what was rendered where it has none.
        residual: mean of the residual in it; stands_out: most that it differs from its organ, in the organ's spread.
        depth: share of it that lies off its host's border; compactness: share of its bounding box that it fills.
        around: of the layers around it, the shares of voxels that go on like it, are alike, or lie beyond it.
        form: its shape and its place among findings and in its host, see `synth.residual.form`.
    """

    mask: Mask
    peak: float
    focus: tuple[int, int, int]
    host: str | None
    mean_hu: float
    step_hu: float
    residual: float
    stands_out: float
    depth: float
    compactness: float
    around: Mapping[str, float]
    form: Mapping[str, float]

    def features(self, parse: Parse) -> dict[str, float]:
        """What orders the candidates and helps to judge them: numbers that no decoder was asked for."""
        return {
            "residual_peak": abs(self.peak),
            "residual_mean": abs(self.residual),
            "stands_out": float(np.log1p(abs(self.stands_out))),
            "step": float(np.log1p(abs(self.step_hu))),
            "brighter": float(self.step_hu > 0),
            "size": float(np.log(self.mask.voxels * parse.geometry.voxel_ml)),
            "hosted": float(self.host is not None),
            "host_has_findings": float(self.host is not None and has_findings(parse.entity(self.host).name)),
            "depth": self.depth,
            "compactness": self.compactness,
            **self.around,
            **self.form,
        }


@dataclass(frozen=True, eq=False)
class Outliner:
    """Draws outlines in one image.

    Attributes:
        image, parse: on the decoder's grid; held_out: what was rendered of the image.
        z: the residual; standing: the maps that the places come from.
    """

    image: Volume
    parse: Parse
    held_out: HeldOut
    z: Map
    standing: Standing

    @cached_property
    def hosts(self) -> dict[str, Mask]:
        """Organs and findings that can hold something, the smallest first."""
        ids = [*hosts_in(self.parse), *self._of(Kind.finding)]
        return {i: self.parse.masks[i] for i in sorted(ids, key=lambda i: (self.parse.masks[i].voxels, i))}

    @cached_property
    def usual(self) -> dict[str, float]:
        """Median HU of each host."""
        return {id: float(np.median(mask.values(self.image.array))) for id, mask in self.hosts.items()}

    @cached_property
    def _within(self) -> dict[str, Within]:
        return {id: Within(mask, self.image.geometry.spacing_mm) for id, mask in self.hosts.items()}

    @cached_property
    def _findings(self) -> Findings:
        return Findings(self.image.geometry, [self.parse.masks[i] for i in self._of(Kind.finding)])

    def _of(self, *kinds: Kind) -> list[str]:
        return [i for i in self.parse.present_ids if self.parse.entity(i).kind in kinds]

    def outline(self, place: Place) -> Candidate | None:
        """The candidate at a place, None where nothing can be told from its surroundings."""
        host = self._host(place)
        box = _grown(place.box, self.image.shape)
        core = np.zeros(tuple(s.stop - s.start for s in box), bool)
        inner = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(place.box, box, strict=True))
        core[inner] = place.voxels
        hu, expected = self.image.array[box], self.held_out.location[box]
        inside = self.held_out.body.crop(box) if host is None else self.hosts[host].crop(box)
        if host is not None:
            expected = np.full(hu.shape, self.usual[host], np.float32)
        if not (core & inside).any():
            return None
        step = _sharp_centre(hu, core & inside, place, box) - float(np.median(expected[core & inside]))
        if abs(step) < MIN_STEP_HU:
            return None
        share = (hu - expected) / step
        region = _region(share, core, inside, tuple(f - b.start for f, b in zip(place.focus, box, strict=True)))
        return None if region is None else self._candidate(place, host, box, region, inside, step)

    def _candidate(
        self, place: Place, host: str | None, box: Slices3, region: Zone, inside: Zone, step: float
    ) -> Candidate:
        mask = Mask.from_box(self.image.shape, (box[0].start, box[1].start, box[2].start), region)
        mean = float(self.image.array[box][region].mean())
        return Candidate(
            mask=mask,
            peak=_strongest([m[box][region] for m in self.standing.render]),
            focus=place.focus,
            host=host,
            mean_hu=mean,
            step_hu=step,
            residual=float(self.z[box][region].mean()),
            stands_out=_strongest([m[box][region] for m in self.standing.organ]),
            depth=float(ndimage.binary_erosion(inside, border_value=1)[region].mean()),
            compactness=mask.voxels / mask.box.size,
            around=layers_around(self.image.array, mask, mean, step),
            form={
                **shape_features(mask, self.image.geometry.spacing_mm),
                **self._findings.near(mask),
                **({} if host is None else self._within[host].features(mask)),
            },
        )

    def _host(self, place: Place) -> str | None:
        """The smallest entity that holds most of the place."""
        least = HOST_SHARE * place.voxels.sum()
        for id, mask in self.hosts.items():
            if _meet(mask.slices, place.box) and (mask.crop(place.box) & place.voxels).sum() >= least:
                return id
        return None


def _meet(one: Slices3, other: Slices3) -> bool:
    """Whether two boxes share voxels."""
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def _strongest(values: list[NDArray[np.float32]]) -> float:
    """The value furthest from zero."""
    together = np.concatenate(values)
    return float(together[int(np.abs(together).argmax())])


def _grown(box: Slices3, shape: tuple[int, int, int]) -> Slices3:
    x, y, z = (
        slice(max(0, s.start - GROW_VOXELS), min(n, s.stop + GROW_VOXELS)) for s, n in zip(box, shape, strict=True)
    )
    return x, y, z


def layers_around(image: Map, mask: Mask, mean: float, step: float) -> dict[str, float]:
    """Of each layer around the outline, the shares of voxels on the anomaly's side, alike, and beyond it."""
    box = mask.padded_slices(GROW_VOXELS)
    region = mask.crop(box)
    share = 1.0 + (image[box] - mean) / step
    out: dict[str, float] = {}
    for layer in LAYERS:
        wider = ndimage.binary_dilation(region)
        f = share[wider & ~region]
        region = wider
        out[f"goes_on_{layer}"] = float((f > 0.5).mean()) if f.size else 0.0
        out[f"alike_{layer}"] = float((np.abs(f - 1) < 0.5).mean()) if f.size else 0.0
        out[f"beyond_{layer}"] = float((f > 1.5).mean()) if f.size else 0.0
    return out


def _sharp_centre(hu: Map, core: Zone, place: Place, box: Slices3) -> float:
    """HU around the strongest voxel: the mean of the place's voxels next to it."""
    at = tuple(f - b.start for f, b in zip(place.focus, box, strict=True))
    near = np.zeros(core.shape, bool)
    near[tuple(slice(max(0, i - 1), i + 2) for i in at)] = True
    use = near & core if (near & core).any() else near
    return float(hu[use].mean())


def _region(share: Map, core: Zone, inside: Zone, focus: tuple[int, ...]) -> Zone | None:
    """Voxels nearer to the anomaly than to its host, around the core, in one piece; None where too few are."""
    nearer = inside & (share > 0.5)
    reach = ndimage.binary_dilation(core, iterations=GROW_VOXELS)
    grown = ndimage.binary_opening(nearer & reach) | (nearer & core)
    labels, count = ndimage.label(grown)
    if count == 0:
        return None
    here = int(labels[focus])
    if here == 0:
        touched = np.bincount(labels[core], minlength=count + 1)
        touched[0] = 0
        here = int(touched.argmax())
        if touched[here] == 0:
            return None
    region = np.asarray(labels == here)
    return region if region.sum() >= MIN_VOXELS else None
