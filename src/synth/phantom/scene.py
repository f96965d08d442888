"""Drawing order made exact: what is drawn first keeps its place, later structures fill what is left of each voxel.

Each claim takes a share of every voxel (its occupancy by the structure), so the image is a true mixture at the edges
and the masks never contradict it. A claim may ask for fat around it: others then stay that far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from synth.phantom.grid import Grid, Real, Slices, Window
from synth.phantom.noise import smooth_field
from synth.phantom.patient import Patient
from synth.phantom.sdf import FAR, Field, occupancy

if TYPE_CHECKING:
    from synth.phantom.lesions import Lesion


@dataclass(frozen=True)
class Layer:
    """A share of voxels filled by one material; the intensity model turns it into HU for any phase."""

    slices: Slices
    share: Real
    material: str


@dataclass
class Scene:
    """The canvas: what is drawn so far, how much of each voxel is left, and how far away anything drawn is."""

    patient: Patient
    grid: Grid
    layers: list[Layer] = field(default_factory=list)
    masks: dict[str, tuple[Slices, np.ndarray]] = field(default_factory=dict)
    left: Real = field(init=False)
    crowd: Real = field(init=False)
    taken: np.ndarray = field(init=False)
    surfaces: dict[str, Real] = field(default_factory=dict)
    lesions: tuple[Lesion, ...] = ()
    _noise: dict[str, Real] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = np.ones(self.grid.shape, np.float32)
        self.taken = np.zeros(self.grid.shape, bool)
        self.crowd = np.full(self.grid.shape, FAR, np.float32)

    def noise(self, name: str, knot_mm: float) -> Real:
        """The patient's smooth field `name` on this grid, made once."""
        if name not in self._noise:
            self._noise[name] = smooth_field(self.grid, self.patient.stream("noise " + name), knot_mm)
        return self._noise[name]

    def rough(self, name: str, window: Window, amplitude_mm: float, knot_mm: float = 24.0) -> Real:
        """Surface displacement of structure `name`: its own mix of two shared fields."""
        angle = float(self.patient.stream("rough " + name).uniform(0, 2 * np.pi))
        a = self.noise(f"a{knot_mm:g}", knot_mm)[window.slices]
        b = self.noise(f"b{knot_mm:g}", knot_mm)[window.slices]
        return (a * np.cos(angle) + b * np.sin(angle)) * amplitude_mm

    def claim(
        self,
        name: str | None,
        shape: Field,
        material: str | Sequence[tuple[str, Real]],
        *,
        gap: float | None = 0.0,
        halo: float = 0.0,
        within: Real | None = None,
        least: float = 0.5,
    ) -> Field:
        """Draw `shape` where there is room; `material` may be split into parts whose fractions sum to one.

        `gap` keeps it that far from what is there (None: it fills up to it), `halo` keeps later ones that far from
        it, `within` (a distance on the whole grid) is a surface it may not cross. The mask holds the voxels filled to
        `least`. Returns the distance of what was drawn.
        """
        s = shape.window.slices
        if 0 in shape.window.shape:
            return shape
        d = shape.d if gap is None else np.maximum(shape.d, gap - self.crowd[s])
        if within is not None:
            d = np.maximum(d, within[s])
        share = np.minimum(occupancy(d, self.grid.voxel_mm), self.left[s])
        self.left[s] -= share
        self.crowd[s] = np.minimum(self.crowd[s], d - halo)
        if name is not None:
            own = (share >= least) & ~self.taken[s]
            self.taken[s] |= own
            self.add_mask(name, s, own)
        parts = [(material, None)] if isinstance(material, str) else material
        for part, fraction in parts:
            self.layers.append(Layer(s, share.copy() if fraction is None else share * fraction, part))
        return Field(shape.window, d, shape.along)

    def implant(self, window: Window, share: Real, since: int, parts: Sequence[tuple[str, Real]]) -> Real:
        """Replace `share` of what layers `since` onwards put in `window` by `parts`; returns the share replaced."""
        took = np.zeros(window.shape, np.float32)
        for i in range(since, len(self.layers)):
            layer = self.layers[i]
            common = tuple(
                slice(max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(layer.slices, window.slices, strict=True)
            )
            if any(c.start >= c.stop for c in common):
                continue
            there = tuple(slice(c.start - b.start, c.stop - b.start) for c, b in zip(common, layer.slices, strict=True))
            here = tuple(slice(c.start - b.start, c.stop - b.start) for c, b in zip(common, window.slices, strict=True))
            gone = layer.share[there] * share[here]
            took[here] += gone
            layer.share[there] = layer.share[there] - gone
        for material, fraction in parts:
            self.layers.append(Layer(window.slices, took * fraction, material))
        return took

    def add_mask(self, name: str, slices: Slices, inside: np.ndarray) -> None:
        """Add `inside` (on `slices`) to the mask of `name`, growing its box where needed."""
        if name not in self.masks:
            self.masks[name] = (slices, inside)
            return
        old_slices, old = self.masks[name]
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(old_slices, slices, strict=True))
        merged = np.zeros([b.stop - b.start for b in box], bool)
        for part_slices, part in ((old_slices, old), (slices, inside)):
            merged[
                tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part_slices, box, strict=True))
            ] |= part
        self.masks[name] = ((box[0], box[1], box[2]), merged)

    def amount(self, *materials: str) -> Real:
        """Share of each voxel that these materials fill."""
        out = np.zeros(self.grid.shape, np.float32)
        for layer in self.layers:
            if layer.material in materials:
                out[layer.slices] += layer.share
        return out

    def dense(self, name: str) -> np.ndarray:
        """The mask of `name` on the whole grid, all false where it was never drawn."""
        out = np.zeros(self.grid.shape, bool)
        if name in self.masks:
            slices, inside = self.masks[name]
            out[slices] = inside
        return out
