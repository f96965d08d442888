"""The surfaces everything else hangs on: skin, muscle envelope, body cavity, diaphragm."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from synth.phantom.grid import Real, Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import ellipsoid, smooth_max, smooth_min, tube

# Standard height, half width, front, back (mm) of the muscle envelope and of the cavity within.
_ENVELOPE = np.array(
    [
        [-420, 150, 70, -88],
        [-160, 152, 72, -92],
        [-100, 158, 76, -94],
        [-50, 146, 78, -90],
        [0, 134, 83, -78],
        [50, 126, 86, -73],
        [130, 126, 88, -74],
        [200, 135, 92, -88],
        [300, 142, 92, -98],
        [380, 142, 80, -105],
        [430, 150, 60, -105],
        [470, 120, 45, -88],
        [505, 62, 38, -70],
        [620, 56, 38, -66],
    ],
    float,
)
CAVITY = np.array(
    [
        [-420, 42, 30, -55],
        [-145, 38, 22, -52],
        [-110, 52, 46, -62],
        [-60, 66, 68, -62],
        [-20, 96, 75, -36],
        [10, 110, 76, -36],
        [50, 111, 78, -44],
        [130, 111, 80, -52],
        [200, 119, 81, -72],
        [300, 123, 78, -87],
        [380, 118, 62, -90],
        [430, 92, 38, -84],
        [465, 48, 10, -62],
        [480, 34, 0, -50],
        [620, 30, 0, -50],
    ],
    float,
)
PELVIC_FLOOR_Z, LUNG_APEX_Z = -138.0, 478.0


def draw_surfaces(scene: Scene) -> None:
    """Fill `scene.surfaces` with skin, envelope, cavity, diaphragm (distances) and take the air outside."""
    full = scene.grid.full()
    cavity, envelope = _barrel(scene, full, CAVITY, 2.15, 2.75), _barrel(scene, full, _ENVELOPE, 2.2, 2.5)
    z = scene.patient.standard_z(full.z)
    cavity = cavity + scene.rough("cavity", full, 1.5, 40.0)
    ends = np.maximum(z - LUNG_APEX_Z, PELVIC_FLOOR_Z - z)
    scene.surfaces["cavity"] = smooth_max(cavity, np.broadcast_to(ends, full.shape), 20.0)
    envelope = _legs(scene, full, envelope, 74.0 * scene.patient.spec.muscle)
    furrow = 8.0 * np.exp(-((full.x / 16.0) ** 2)) * np.clip(-full.y / 60.0, 0, 1) * np.clip((z + 60) / 60, 0, 1)
    envelope = envelope + scene.rough("envelope", full, 1.5, 40.0) + furrow.astype(np.float32)
    scene.surfaces["envelope"] = envelope
    scene.surfaces["skin"] = _skin(scene, full)
    scene.surfaces["diaphragm"] = _diaphragm(scene, full)
    scene.left *= np.clip(0.5 - scene.surfaces["skin"] / scene.grid.voxel_mm, 0.0, 1.0)


def _barrel(scene: Scene, w: Window, table: Real, belly_power: float, chest_power: float) -> Real:
    """Radial distance to a superellipse that follows `table` along z; it is squarer in the chest."""
    patient, spec = scene.patient, scene.patient.spec
    z = patient.standard_z(scene.grid.z).astype(float)
    wide, front, back = (PchipInterpolator(table[:, 0], table[:, i])(np.clip(z, -420, 620)) for i in (1, 2, 3))
    wide = wide * spec.width + 0.35 * patient.bulge(z)
    front = front * spec.depth + patient.bulge(z)
    back = back * spec.depth
    centre = ((front + back) / 2).astype(np.float32)
    half = ((front - back) / 2).astype(np.float32)
    sway = (patient.sway_mm[0] * np.sin((z + 40) / 130.0)).astype(np.float32)
    x, y = w.x - sway[w.slices[2]] * 0.5, w.y - centre[w.slices[2]]
    u, v = np.abs(x) / wide.astype(np.float32)[w.slices[2]], np.abs(y) / half[w.slices[2]]
    power = (belly_power + (chest_power - belly_power) * np.clip((z - 130) / 80, 0, 1)).astype(np.float32)[w.slices[2]]
    rho = np.maximum((u**power + v**power) ** (1 / power), 1e-2)
    r = np.sqrt(x * x + y * y + 1.0)
    return (r - r / rho).astype(np.float32)


def _legs(scene: Scene, w: Window, torso: Real, radius: float) -> Real:
    """Below the crotch the trunk ends and two thighs go on, joined smoothly."""
    p = scene.patient
    if scene.grid.z[0] > -60:
        return torso
    crotch = -150.0 * p.spec.height
    out = smooth_max(torso, np.broadcast_to(crotch - w.z, w.shape), 30.0)
    for side in (1, -1):
        line = p.place([[side * 82, -6, -120], [side * 88, -8, -220], [side * 86, -10, -460]])
        leg = tube(scene.grid, line, np.array([radius, radius, radius * 0.85]), 40.0)
        near = out[leg.window.slices]
        out[leg.window.slices] = smooth_min(near, leg.d, 18.0)
    return out


def _skin(scene: Scene, w: Window) -> Real:
    """Envelope plus subcutaneous fat, thicker on belly, hips and seat, thin over the upper chest."""
    p, spec = scene.patient, scene.patient.spec
    rng = p.stream("skin")
    z = p.standard_z(w.z)
    base = spec.fat_mm * (0.55 + 0.5 * np.exp(-(((z - 20) / 110) ** 2)) + 0.25 * np.exp(-(((z + 90) / 60) ** 2)))
    angle = np.arctan2(w.y - 5.0, w.x)
    front = float(rng.uniform(-0.1, 0.25))
    around = (
        1 + front * np.sin(angle) + 0.18 * np.cos(2 * angle) * np.exp(-(((z - 40) / 80) ** 2)) - 0.1 * np.sin(angle * 3)
    )
    fat = np.maximum(base * around + scene.rough("skin", w, 0.1 * spec.fat_mm + 0.8, 40.0), 3.0) + 1.5
    skin = scene.surfaces["envelope"] - fat.astype(np.float32)
    if spec.sex == "female":
        size = float(rng.uniform(26, 44) + 0.35 * spec.fat_mm)
        for side in (1, -1):
            breast = ellipsoid(w, p.place((side * 72, 84, 325)), (size * 1.45, size * 0.95, size * 1.3))
            skin = smooth_min(skin, breast, 22.0)
    navel = p.place((0, 85, 50)) + np.array([0.0, spec.fat_mm * (1 + front) + 2, 0.0])
    return smooth_max(
        skin,
        9.0
        - np.sqrt((w.x - float(navel[0])) ** 2 + ((w.y - float(navel[1])) * 0.6) ** 2 + (w.z - float(navel[2])) ** 2),
        6.0,
    )


def _diaphragm(scene: Scene, w: Window) -> Real:
    """Distance below the lung's floor: positive in the chest's side of the domes, negative in the abdomen."""
    p = scene.patient
    rng = p.stream("diaphragm")
    height, x = p.spec.height, w.x / p.spec.width
    right, left = 268 + float(rng.normal(0, 5)), 258 + float(rng.normal(0, 5))
    top = (right + left) / 2 + (right - left) / 2 * np.tanh(x / 30) - 9 * np.exp(-((x / 26) ** 2))
    top = top - 0.0016 * (w.y - 0) ** 2 * (w.y > 0) - p.spec.breath_mm
    depth = np.maximum(-scene.surfaces["cavity"], 0.0)
    drop = np.where(w.y < 20, 76.0, 76.0 - 44.0 * np.clip((w.y - 20) / 60, 0, 1)).astype(np.float32)
    fall = drop * np.exp(-depth / float(rng.uniform(8, 12)))
    floor = (top - fall) * height + scene.rough("diaphragm", w, 2.0, 40.0)
    return ((w.z - floor) / np.sqrt(1 + (fall / 10) ** 2)).astype(np.float32)
