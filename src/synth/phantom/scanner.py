"""What the scanner adds: the table, reconstruction kernel and noise that grows with the path through the body."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from synth.phantom.grid import Real
from synth.phantom.patient import Patient
from synth.phantom.scene import Scene


def scan(scene: Scene, hu: Real, phase: str) -> Real:
    """Add the table and correlated noise to noise-free HU; float32, whole HU within the scanner's range."""
    patient = scene.patient
    rng = patient.stream("scan " + phase)
    image = np.maximum(hu, _table(scene, patient))
    sigma = [patient.spec.kernel_mm / s for s in scene.grid.spacing_mm]
    noise = _kernel_noise(rng, scene.grid.shape, sigma)
    image = ndimage.gaussian_filter(image, [0.5 * s for s in sigma], mode="nearest")
    return np.rint(np.clip(image + noise * _slice_level(scene), -1024.0, 3071.0)).astype(np.float32)


def _kernel_noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: list[float]) -> Real:
    """Unit-variance noise with a hump-shaped spectrum: smoothed white noise less a share of its own low frequencies."""
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = ndimage.gaussian_filter(white, [max(s, 0.35) for s in sigma])
    coarse = ndimage.gaussian_filter(fine, [2.0, 2.0, 0.5])
    out = fine - 0.6 * coarse
    return (out / out.std()).astype(np.float32)


def _slice_level(scene: Scene) -> Real:
    """Noise (HU) of each slice: it grows with the body's width, damped by the modulation of the tube current."""
    inside = scene.surfaces["skin"] < 0
    width = inside.any(axis=1).sum(axis=0) * scene.grid.spacing_mm[0]
    base = scene.patient.spec.noise_hu * np.exp((np.clip(width, 200, 480) - 330.0) / 420.0)
    finer = (4.0 / scene.grid.voxel_mm) ** 0.75  # smaller voxels average less of the correlated noise
    return (base * finer).astype(np.float32)[None, None, :]


def _table(scene: Scene, patient: Patient) -> Real:
    """A thin curved couch below the patient, with foam in it."""
    w = scene.grid.full()
    rng = patient.stream("table")
    low = scene.surfaces["skin"].min(axis=(0, 2)) if 0 not in scene.grid.shape else np.zeros(1)
    rows = np.flatnonzero(low < 0)
    back = float(scene.grid.y[rows[0]]) if len(rows) else -120.0
    top = back - float(rng.uniform(1, 9)) + (w.x / 400.0) ** 2 * 70.0 * float(rng.uniform(0.2, 1.0))
    depth = top - w.y
    half = float(rng.uniform(200, 235))
    shell = np.clip(0.5 - (np.abs(depth - 2.0) - 1.0) / scene.grid.spacing_mm[1], 0, 1) * 0.5
    under = np.clip(0.5 - (np.abs(depth - 22.0) - 1.0) / scene.grid.spacing_mm[1], 0, 1) * 0.4
    foam = ((depth > 2) & (depth < 22)) * 0.06
    inside = np.abs(w.x) < half
    return np.where(inside, -1000.0 + 900.0 * np.maximum(np.maximum(shell, under), foam), -1000.0) * np.ones(
        w.shape, np.float32
    )
