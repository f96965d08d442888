"""Colon along its frame, and small bowel as loops that walk through whatever room is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.phantom.grid import Grid, Real
from synth.phantom.hollow import lumen_parts
from synth.phantom.scene import Scene
from synth.phantom.sdf import Field, curve, tube

_FRAME = [  # landmark, radius, how freely it varies
    ((0, -18, -134), 11, 1),
    ((2, -40, -104), 15, 2),
    ((-4, -44, -72), 17, 4),
    ((10, -30, -44), 15, 8),
    ((26, 8, -34), 15, 14),
    ((-6, 36, -26), 15, 14),
    ((-44, 22, -34), 14, 10),
    ((-76, 18, -12), 14, 6),
    ((-93, 8, 26), 15, 3),
    ((-97, -8, 80), 16, 3),
    ((-98, -22, 140), 16, 3),
    ((-97, -14, 188), 18, 4),
    ((-80, 26, 196), 19, 6),
    ((-56, 60, 158), 21, 9),
    ((-22, 72, 122), 21, 12),
    ((22, 72, 116), 21, 12),
    ((60, 54, 128), 20, 8),
    ((84, 28, 144), 21, 5),
    ((92, 0, 122), 22, 4),
    ((93, -10, 80), 24, 4),
    ((88, 4, 38), 26, 4),
    ((80, 18, 8), 25, 4),
    ((74, 24, -6), 18, 4),
]


def draw_colon(scene: Scene) -> None:
    """Rectum to caecum: a tube with haustra, wall, stool and gas."""
    p = scene.patient
    rng = p.stream("colon")
    loose = np.array([f[2] for f in _FRAME], float)[:, None]
    points = np.array([f[0] for f in _FRAME], float) + rng.standard_normal((len(_FRAME), 3)) * loose * [0.8, 0.5, 1.0]
    sag = float(rng.gamma(2.0, 14.0))  # a transverse colon may hang far down
    points[13:17, 2] -= sag * np.array([0.6, 1.0, 1.0, 0.6])
    size = float(rng.uniform(0.74, 1.06))
    radii = np.array([f[1] for f in _FRAME], float) * size * rng.uniform(0.8, 1.15, len(_FRAME))
    line, r = curve(p.place(points), radii, 7.0)
    steps = np.cumsum(np.concatenate([[0], np.linalg.norm(np.diff(line, axis=0), axis=1)]))
    r = r * (1 + 0.16 * np.sin(2 * np.pi * steps / 27.0 + np.cumsum(rng.normal(0, 0.25, len(r)))))
    shape = tube(scene.grid, line, r)
    w = shape.window
    if 0 in w.shape or shape.along is None:
        return
    d = shape.d + scene.rough("colon", w, 2.2, 16.0)
    d = np.maximum(d, scene.surfaces["cavity"][w.slices] + 2.5)
    gas, fluid = _content(scene, shape, line, r, rng)
    scene.claim("colon", Field(w, d), lumen_parts(scene, w, d, 1.8, fluid, gas), gap=0.7, halo=1.4)


def _content(
    scene: Scene, shape: Field, line: NDArray[np.float64], radii: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Real, Real]:
    """Gas above a level that varies along the colon, bubbles in the stool below it; the left colon's is dry."""
    assert shape.along is not None
    w, h = shape.window, scene.grid.voxel_mm
    usual = [0.2, 0.6, 0.3, 0.2, 0.9, 1.0, 0.9, 0.2, -0.3, -0.4, -0.2, 0.4, 0.8, 0.7, 0.5]
    level = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, 15), usual + rng.normal(0, 0.6, 15))
    height = line[:, 1] + radii * level
    place = np.clip(shape.along * (len(line) - 1), 0, len(line) - 1).astype(np.int32)
    surface = height.astype(np.float32)[place] + scene.rough("stool top", w, 2.0, 16.0)
    above = np.clip(0.5 + (w.y - surface) / h, 0, 1)
    clumps = scene.rough("stool gas", w, 1.0, 8.0) + 0.7 * scene.rough("stool", w, 1.0, 14.0)
    bubbles = np.clip(clumps - 0.55, 0, 1) * float(rng.uniform(0.25, 0.75))
    wet: Real = np.interp(np.linspace(0, 1, len(line)), [0, 0.5, 0.8, 1], [0.1, 0.15, 0.4, 0.5]).astype(np.float32)[
        place
    ]
    return np.maximum(above, bubbles).astype(np.float32), wet


def draw_small_bowel(scene: Scene, centre_lines: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    """The planned loops: wall with folds, fluid, a little gas."""
    for i, (line, radii) in enumerate(centre_lines):
        shape = tube(scene.grid, line, radii)
        w = shape.window
        if 0 in w.shape:
            continue
        d = shape.d + scene.rough(f"small bowel {i}", w, 1.2, 16.0)
        d = np.maximum(d, scene.surfaces["cavity"][w.slices] + 2.5)
        chance = scene.rough(f"small gas {i}", w, 1.0, 24.0) + 0.5 * scene.rough("small gas", w, 1.0, 11.0)
        gas = np.clip(2.0 * (chance - 1.75), 0, 1)
        folds = 2.2 + 1.5 * np.clip(scene.rough("jejunum", w, 1.0, 8.0), -0.5, 1.5)
        scene.claim("small_bowel", Field(w, d), lumen_parts(scene, w, d, folds, 1.0, gas), gap=0.5, halo=0.9)


def plan_small_bowel(scene: Scene) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Centre lines (points, radii) of the loops: walks towards the nearest room not yet visited, with inertia.

    `scene` is a coarse drawing of this patient without small bowel, so that the loops do not depend on the image grid.
    """
    rng = scene.patient.stream("small bowel")
    spec = scene.patient.spec
    room = np.minimum(-scene.surfaces["cavity"] - 4.0, scene.crowd - 1.0)
    room = np.minimum(room, -scene.surfaces["diaphragm"] - 6.0)
    room = np.minimum(room, _reach(scene))
    grid = scene.grid
    r0 = float(rng.uniform(10.5, 14.5))
    spread = 1.85 * r0 + 6.0 * spec.belly
    seeds = np.argwhere(room > r0 * 0.55)
    if len(seeds) == 0:
        return []
    targets = seeds @ np.diag(grid.spacing_mm) + np.array(grid.origin_mm)
    targets = targets[rng.permutation(len(targets))]
    start = scene.patient.place((-34, 30, 118))
    path = _walk(targets, start, spread, rng)
    out = []
    for piece in path:
        if len(piece) < 3:
            continue
        radii = r0 * rng.uniform(0.75, 1.2, len(piece))
        out.append(curve(piece, radii, 6.0))
    return out


def _reach(scene: Scene) -> Real:
    """The mesentery holds the loops in front of the spine and between the colon's sides, below the stomach."""
    w = scene.grid.full()
    p = scene.patient
    z = p.standard_z(w.z)
    spine = np.asarray(p.spine_y(p.standard_z(scene.grid.z)), np.float32)[None, None, :]
    front = (w.y / p.spec.depth - spine) - 26.0 * (z > -10)
    return np.minimum(np.minimum(front, 196.0 - z), z + 100.0)


def _walk(
    targets: NDArray[np.float64], start: NDArray[np.float64], spread: float, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Visit all targets: each step goes to a free place about `spread` away, keeping its way, or starts anew."""
    free = np.ones(len(targets), bool)
    here, way = start, np.array([0.0, 0.3, -1.0])
    pieces, piece = [], [start]
    while free.any():
        live = targets[free]
        step = live - here
        far = np.linalg.norm(step, axis=1)
        near = far < spread * 2.0
        if not near.any():
            pieces.append(np.array(piece))
            here = live[int(np.argmin(far))]
            way, piece = rng.standard_normal(3), [here]
            free &= np.linalg.norm(targets - here, axis=1) > spread * 0.8
            continue
        score = (
            -np.abs(far - spread * 1.05) / spread + 0.55 * (step @ way) / (far + 1e-6) + rng.uniform(0, 0.5, len(far))
        )
        here_next = live[int(np.argmax(np.where(near, score, -9)))]
        way = here_next - here
        way /= np.linalg.norm(way) + 1e-6
        free &= _distance(targets, here, here_next) > spread * 0.9
        here = here_next
        piece.append(here)
    pieces.append(np.array(piece))
    return pieces


def _distance(points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    e = b - a
    share = np.clip(((points - a) @ e) / (e @ e + 1e-9), 0, 1)
    return np.linalg.norm(points - a - share[:, None] * e, axis=1)


def coarse_grid() -> Grid:
    """The fixed lattice on which loops and lesions are planned, whatever the image's grid."""
    return Grid((50, 40, 82), (8.0, 8.0, 8.0), (-196.0, -150.0, -150.0))
