"""From the standard adult to one patient: every landmark, in mm, passes through `Patient.place`.

Landmarks are given for a standard adult: the origin lies in the lumbar spine's axis at the height of the L5/S1 disc;
x to the right, y forward, z up. A patient scales them, bends the spine, pushes the belly out and displaces all by a
smooth random field, so neighbours move together and nothing stays on a template.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from synth.phantom.noise import waves
from synth.phantom.spec import PhantomSpec

# Height (mm) and forward offset of the spine's axis, pelvis to neck.
_SPINE_Z = np.array([-40.0, 0.0, 50.0, 100.0, 160.0, 220.0, 290.0, 350.0, 420.0, 480.0, 540.0])
_SPINE_Y = np.array([-40.0, -14.0, -1.0, 0.0, -9.0, -24.0, -38.0, -42.0, -34.0, -18.0, -8.0])


@dataclass(frozen=True)
class Patient:
    """One patient's shape; `stream(name)` gives a structure its own random numbers, so that none shifts another."""

    seed: int
    spec: PhantomSpec

    def stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, 2, zlib.crc32(name.encode())])

    @cached_property
    def sway_mm(self) -> tuple[float, float, float]:
        """Scoliosis, kyphosis and lordosis added to the standard spine."""
        rng = self.stream("sway")
        return float(rng.normal(0, 5)), float(rng.normal(0, 7)), float(rng.normal(0, 5))

    def standard_z(self, z: NDArray[np.floating]) -> NDArray[np.floating]:
        return z / self.spec.height

    def bulge(self, z: ArrayLike) -> NDArray[np.float64]:
        """How far the belly's front is pushed out (mm) at standard height `z`."""
        return self.spec.belly * 62.0 * np.exp(-(((np.asarray(z, float) - 78.0) / 95.0) ** 2))

    def spine_y(self, z: ArrayLike) -> NDArray[np.float64]:
        """Forward offset of the spine's axis at standard height `z`, before scaling."""
        z = np.asarray(z, float)
        _, kyphosis, lordosis = self.sway_mm
        bend = kyphosis * np.exp(-(((z - 320) / 90) ** 2)) - lordosis * np.exp(-(((z - 75) / 60) ** 2))
        return PchipInterpolator(_SPINE_Z, _SPINE_Y)(np.clip(z, -40, 540)) - bend

    def breathed(self, points: ArrayLike, share: float) -> NDArray[np.float64]:
        """Landmarks (N, 3) that follow `share` of the diaphragm's way."""
        return np.asarray(points, float) - np.array([0.0, 0.0, share * self.spec.breath_mm])

    def place(self, points: ArrayLike) -> NDArray[np.float64]:
        """Standard landmarks (N, 3) or (3,) to this patient's millimetres."""
        p = np.atleast_2d(np.asarray(points, float)).copy()
        z = p[:, 2].copy()
        forward = np.clip(p[:, 1] / 85.0, 0.0, 1.2)
        p[:, 0] += self.sway_mm[0] * np.sin((z + 40) / 130.0)
        p[:, 1] = p[:, 1] * self.spec.depth + self.bulge(z) * forward
        p[:, 0] *= self.spec.width
        p[:, 2] *= self.spec.height
        p += waves(p, self.stream("place"), 3.0, 220.0)
        return p if np.ndim(points) == 2 else p[0]

    def wander(self, name: str, points: ArrayLike, sd_mm: float) -> NDArray[np.float64]:
        """Landmarks of structure `name`, each moved by its own normal of `sd_mm`, placed."""
        p = np.asarray(points, float)
        return self.place(p + self.stream("wander " + name).standard_normal(p.shape) * sd_mm)
