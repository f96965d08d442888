"""Hollow organs with walls and content: stomach, duodenum, bladder, and the organs of the lesser pelvis."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synth.phantom.grid import Real, Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import Field, curve, ellipsoid, occupancy, smooth_max, tube


def lumen_parts(
    scene: Scene, w: Window, d: Real, wall_mm: Real | float, fluid: ArrayLike, gas: Real
) -> list[tuple[str, Real]]:
    """Split a hollow organ into wall, gas and content, exact within each voxel; `fluid` is the
    share of fluid in it."""
    h = scene.grid.voxel_mm
    whole = np.maximum(occupancy(d, h), 1e-3)
    inner = np.minimum(occupancy(d + wall_mm, h) / whole, 1.0)
    air = inner * gas
    wet = (inner - air) * np.asarray(fluid, np.float32)
    return [
        ("bowel_wall", 1 - inner),
        ("bowel_gas", air),
        ("bowel_fluid", wet),
        ("stool", np.clip(inner - air - wet, 0, 1)),
    ]


def draw_stomach(scene: Scene) -> None:
    """Fundus to pylorus, with a level between gas and content."""
    p = scene.patient
    rng = p.stream("stomach")
    fill = float(rng.uniform(0.55, 1.15))
    course = [(-50, -18, 244), (-62, -4, 232), (-62, 22, 206), (-50, 46, 178), (-22, 58, 158), (10, 56, 156)]
    points = p.breathed([*course, (28, 46, 162)], 0.6)
    radii = np.array([18, 28, 28, 24, 20, 15, 9]) * fill**0.5 * 1.05
    line, r = curve(p.wander("stomach", points, 4.0), radii, 8.0)
    shape = tube(scene.grid, line, r, 16.0)
    w = shape.window
    if 0 in w.shape:
        return
    d: Real = shape.d + scene.rough("stomach", w, 2.0)
    d = smooth_max(d, scene.surfaces["cavity"][w.slices] + 3.0, 5.0)
    d = smooth_max(d, scene.surfaces["diaphragm"][w.slices] + 3.0, 5.0)
    level = float(np.quantile(line[:, 1], rng.uniform(0.35, 0.8))) + 10
    gas = np.clip(0.5 + (w.y - level) / scene.grid.voxel_mm, 0, 1) * np.ones(w.shape, np.float32)
    food = np.clip(0.75 + 0.6 * scene.rough("food", w, 1.0, 16.0), 0, 1) if rng.random() < 0.5 else 1.0
    folds = 2.4 + 1.2 * np.clip(scene.rough("folds", w, 1.0, 11.0), -1, 2)
    parts = lumen_parts(scene, w, d, folds, food, gas.astype(np.float32))
    scene.claim("stomach", Field(w, d), parts, gap=0.6, halo=1.2)


def draw_duodenum(scene: Scene) -> None:
    """The C around the head of the pancreas, to the jejunum."""
    p = scene.patient
    rng = p.stream("duodenum")
    y = float(p.spine_y(120.0))
    points = [
        (30, 46, 160),
        (44, 34, 162),
        (54, y + 34, 146),
        (55, y + 30, 112),
        (44, y + 36, 90),
        (10, y + 50, 88),
        (-20, y + 44, 102),
        (-32, y + 56, 124),
    ]
    line, r = curve(p.wander("duodenum", points, 2.5), np.array([10, 11, 12, 12, 11.5, 9, 10.5, 10.5]), 7.0)
    shape = tube(scene.grid, line, r * float(rng.normal(1.0, 0.1)))
    w = shape.window
    d = shape.d + scene.rough("duodenum", w, 1.2, 16.0)
    gas = np.clip(scene.rough("duodenal gas", w, 1.0, 16.0) - 1.3, 0, 1) * (w.y > line[:, 1].mean())
    scene.claim("duodenum", Field(w, d), lumen_parts(scene, w, d, 2.5, 1.0, gas.astype(np.float32)), gap=0.5, halo=0.9)


def draw_pelvic_organs(scene: Scene) -> None:
    """Bladder, and prostate or uterus."""
    if scene.grid.z[0] > 20:
        return
    p = scene.patient
    rng = p.stream("bladder")
    fill = float(rng.uniform(0.6, 1.45))
    centre = p.wander("bladder", [(0, 26 + 6 * fill, -102 + 14 * fill)], 2.5)[0]
    w = scene.grid.window((centre - 85).tolist(), (centre + 85).tolist())
    if 0 in w.shape:
        return
    d: Real = ellipsoid(w, centre, (44 * fill**0.6, 32 * fill**0.6, 33 * fill)) + scene.rough("bladder", w, 2.0, 40.0)
    if p.spec.sex == "female":
        _uterus(scene)
    else:
        _prostate(scene)
    d = smooth_max(d, scene.surfaces["cavity"][w.slices] + 2.0, 8.0)
    inner = np.minimum(occupancy(d + 2.5, scene.grid.voxel_mm) / np.maximum(occupancy(d, scene.grid.voxel_mm), 1e-3), 1)
    scene.claim("urinary_bladder", Field(w, d), [("urine", inner), ("wall", 1 - inner)], gap=1.0, halo=2.0)


def _prostate(scene: Scene) -> None:
    p = scene.patient
    size = float(p.stream("prostate").uniform(0.8, 1.35))
    c = p.wander("prostate", [(0, 10, -128)], 2.0)[0]
    w = scene.grid.window((c - 60).tolist(), (c + 60).tolist())
    d = ellipsoid(w, c, (24 * size, 18 * size, 18 * size)) + scene.rough("prostate", w, 1.0)
    scene.claim("prostate", Field(w, d), "prostate", gap=0.5, halo=1.5)


def _uterus(scene: Scene) -> None:
    """Drawn as tissue: the vocabulary of parsers here has no class for it."""
    p = scene.patient
    tilt = float(p.stream("uterus").uniform(-0.3, 1.0))
    points = [(0, -8, -118), (2, -10, -92), (4, 2 + 16 * tilt, -68 - 4 * tilt), (4, 8 + 24 * tilt, -58)]
    line, r = curve(
        p.wander("uterus", points, 4.0), np.array([11, 14, 23, 18]) * float(p.stream("uterus size").uniform(0.75, 1.1))
    )
    shape = tube(scene.grid, line, r)
    scene.claim(None, shape, "uterus", gap=1.0, halo=1.5)
