"""The spine: named vertebrae with body, arch and processes, discs between them, the canal with the cord, the sacrum."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from synth.phantom.grid import Real, Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import FAR, Field, curve, occupancy, smooth_max, strip, tube

# Standard height of the middle of each vertebral body, its height, half width and half depth (mm).
LEVELS: dict[str, tuple[float, float, float, float]] = {
    "L5": (17, 28, 26, 17),
    "L4": (54, 29, 25, 17),
    "L3": (91, 29, 24, 17),
    "L2": (127, 28.5, 23, 16.5),
    "L1": (162, 27.5, 22, 16),
    "T12": (196, 26, 21, 15.5),
    "T11": (227, 24.5, 19, 15.5),
    "T10": (256, 23.5, 17, 15),
    "T9": (283, 23, 16, 14.5),
    "T8": (309, 22, 15.5, 14),
    "T7": (334, 21, 15, 13.5),
    "T6": (358, 20, 14.5, 13),
    "T5": (381, 19.5, 14, 12.5),
    "T4": (403, 18.5, 14, 11.5),
    "T3": (424, 18, 14.5, 11),
    "T2": (444, 17.5, 15, 10.5),
    "T1": (463, 17, 16, 10),
    "C7": (481, 14.5, 15, 9),
    "C6": (497, 13, 14, 8.5),
    "C5": (512, 12.5, 13, 8),
    "C4": (527, 12.5, 12.5, 8),
    "C3": (542, 12.5, 12, 8),
}


def bony(scene: Scene, d: Real, shell_mm: float, marrow: str = "trabecular") -> list[tuple[str, Real]]:
    """Split a bone into a cortical shell and its marrow, exact within each voxel."""
    h = scene.grid.voxel_mm
    whole, core = occupancy(d, h), occupancy(d + shell_mm, h)
    inner = np.minimum(core / np.maximum(whole, 1e-3), 1.0)
    return [(marrow, inner), ("cortical", 1 - inner)]


def level_frame(scene: Scene, z: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of the spine's axis at standard height `z` and its unit tangent, in the patient."""
    y = scene.patient.spine_y(np.array([z - 8, z, z + 8]))
    p = scene.patient.place(np.stack([np.zeros(3), y, [z - 8, z, z + 8]], axis=1))
    tangent = p[2] - p[0]
    return p[1], tangent / np.linalg.norm(tangent)


def draw_spine(scene: Scene) -> None:
    """Canal, sacrum, vertebrae and discs."""
    _cord(scene)
    _sacrum(scene)
    for name, (z, height, wide, deep) in LEVELS.items():
        _vertebra(scene, name, z, height, wide, deep)
    names = list(LEVELS)
    for low, high in itertools.pairwise(names):
        _disc(scene, low, high)


def _cord(scene: Scene) -> None:
    """The dural sac with the cord, in its canal from the sacrum up."""
    z = np.arange(-30.0, 560.0, 20.0)
    frames = [level_frame(scene, float(v)) for v in z]
    depth = np.interp(z, [-40, 100, 250, 480], [15.0, 26.0, 24.0, 19.0])
    line = np.array([c + _back(t) * b for (c, t), b in zip(frames, depth, strict=True)])
    radius = np.interp(z, [-40, 100, 300, 470, 560], [5.0, 9.0, 7.5, 8.5, 8.0])
    points, radii = curve(line, radius, 10.0)
    shape = tube(scene.grid, points, radii)
    inner = occupancy(shape.d + 2.5, scene.grid.voxel_mm)
    scene.claim("spinal_cord", shape, [("cord", inner), ("fat", 1 - inner)], halo=0.5)


def _back(tangent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector to the back, across the spine."""
    out = np.array([0.0, -tangent[2], tangent[1]])
    return out / np.linalg.norm(out)


def _frame_coordinates(w: Window, centre: NDArray[np.float64], tangent: NDArray[np.float64]) -> tuple[Real, Real, Real]:
    back = _back(tangent)
    x, y, z = w.x - float(centre[0]), w.y - float(centre[1]), w.z - float(centre[2])
    up = x * float(tangent[0]) + y * float(tangent[1]) + z * float(tangent[2])
    return x, -(y * float(back[1]) + z * float(back[2])), up


def _body(
    w: Window, centre: NDArray[np.float64], tangent: NDArray[np.float64], half: tuple[float, float, float]
) -> Real:
    """A drum with a waist, flat ends and a hollow back, half = (wide, deep, high)."""
    x, y, up = _frame_coordinates(w, centre, tangent)
    wide, deep, high = half
    waist = 0.9 + 0.1 * np.clip(np.abs(up) / high, 0, 1.2) ** 2
    rho = np.sqrt((x / (wide * waist)) ** 2 + (y / (deep * waist)) ** 2 + 1e-6)
    side = (rho - 1) * deep
    return smooth_max(side, np.abs(up) - high, 3.0)


def _vertebra(scene: Scene, name: str, z: float, height: float, wide: float, deep: float) -> None:
    centre, tangent = level_frame(scene, z)
    s = scene.patient.spec
    back, right = _back(tangent), np.array([1.0, 0.0, 0.0])
    wide, deep, high = wide * s.width, deep * s.depth, height * s.height / 2
    reach = np.array([70.0, 85.0, 45.0])
    w = scene.grid.window((centre - reach).tolist(), (centre + reach).tolist())
    if 0 in w.shape:
        return
    d = _body(w, centre, tangent, (wide, deep, high))
    lumbar, neck = name[0] == "L", name[0] == "C"

    def at(x: float, y: float, up: float) -> NDArray[np.float64]:
        return centre + right * x * s.width + back * y * s.depth + tangent * up * s.height

    canal = 26.0 if lumbar else 22.0
    end = at(0, canal + 36, -4) if lumbar else at(0, canal + 30, 0 if neck else -22)
    bars = [(np.array([at(0, canal + 9, -1), end]), (3.6, 4.2), 9.5 if lumbar else 4.5)]
    for side in (1.0, -1.0):
        bars.append((np.array([at(side * wide * 0.62, deep * 0.8, 6), at(side * 15, canal + 1, 3)]), (6.5, 5.5), 0.0))
        bars.append((np.array([at(side * 15, canal + 1, 1), at(side * 2, canal + 11, -2)]), (4.8, 4.2), 6.0))
        tip = at(side * 42, canal + 3, 1) if lumbar else at(side * (22 if neck else 31), canal + (0 if neck else 13), 4)
        bars.append((np.array([at(side * 15, canal, 2), tip]), (4.8, 4.0), 0.0))
        bars.append(
            (
                np.array([at(side * 17, canal + 3, high * 1.1), at(side * 17, canal + 5, -high * 1.15)]),
                (6.5 if lumbar else 4.2,) * 2,
                0.0,
            )
        )
    for line, (a, b), extra in bars:
        part = strip(scene.grid, line, np.array([[a + extra, a], [b + extra, b]]), tangent if extra else None)
        merge(w, d, part)
    d = d + scene.rough(name, w, 0.5, 16.0)
    shell = 0.75 if lumbar else 0.65
    scene.claim(f"vertebrae_{name}", Field(w, d), bony(scene, d, shell), gap=0.0, halo=0.7)


def merge(w: Window, d: Real, part: Field) -> None:
    """Union `part` into `d`, both cut to the voxels they share."""
    a = tuple(
        slice(max(p.start, q.start), max(min(p.stop, q.stop), max(p.start, q.start)))
        for p, q in zip(w.slices, part.window.slices, strict=True)
    )
    mine = tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(a, w.slices, strict=True))
    theirs = tuple(slice(c.start - q.start, c.stop - q.start) for c, q in zip(a, part.window.slices, strict=True))
    d[mine] = np.minimum(d[mine], part.d[theirs])


def _disc(scene: Scene, low: str, high: str) -> None:
    (z0, h0, w0, d0), (z1, h1, w1, d1) = LEVELS[low], LEVELS[high]
    middle = ((z0 + h0 / 2) + (z1 - h1 / 2)) / 2
    thick = (z1 - h1 / 2) - (z0 + h0 / 2)
    centre, tangent = level_frame(scene, middle)
    s = scene.patient.spec
    w = scene.grid.window((centre - 45).tolist(), (centre + 45).tolist())
    half = ((w0 + w1) / 2 * s.width * 1.02, (d0 + d1) / 2 * s.depth * 1.02, thick * s.height / 2 + 1.0)
    scene.claim(None, Field(w, _body(w, centre, tangent, half)), "disc", halo=0.5)


def _sacrum(scene: Scene) -> None:
    """A curved wedge with its wings; its upper third is vertebrae_S1, the rest sacrum, coccyx included."""
    p = scene.patient
    line = p.wander(
        "sacrum", [(0, -24, -8), (0, -42, -32), (0, -60, -60), (0, -68, -85), (0, -66, -108), (0, -56, -126)], 1.5
    )
    half = np.array([(56, 19), (54, 18), (40, 14), (28, 10), (16, 6), (6, 4)], float)
    half[:, 0] *= p.spec.width
    points, sizes = curve(line, half, 8.0)
    shape = strip(scene.grid, points, sizes, np.array([1.0, 0.0, 0.0]))
    w = shape.window
    if 0 in w.shape:
        return
    top = float(line[0, 2])
    tilt = (w.z - top - 5) * 0.86 + (w.y - float(line[0, 1])) * 0.5  # the endplate faces up and forward
    d: Real = smooth_max(shape.d, np.broadcast_to(tilt, w.shape), 4.0) + scene.rough("sacrum", w, 1.5, 16.0)
    part = tilt > -27.0 * p.spec.height
    for x, y, z in ((20, -36, -24), (21, -52, -50), (18, -64, -74), (14, -70, -94)):
        for side in (1, -1):
            hole = p.place([(side * x, y + 22, z + 6), (side * x, y - 26, z - 8)])
            bore = tube(scene.grid, hole, np.array([4.5, 4.0]), 20.0)
            cut = np.full(w.shape, FAR, np.float32)
            merge(w, cut, bore)
            d = smooth_max(d, -cut, 2.0)
    for name, keep in (("vertebrae_S1", part), ("sacrum", ~part)):
        own = np.where(
            keep, d, np.maximum(d, np.where(part, -tilt - 27.0 * p.spec.height, tilt + 27.0 * p.spec.height) * -1)
        )
        scene.claim(name, Field(w, own.astype(np.float32)), bony(scene, d, 0.6, "sacral_marrow"), halo=0.7)
