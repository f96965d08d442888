"""Named muscles, then the rest of the muscle envelope with the fat planes between its parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synth.phantom.ribs import arm_surface
from synth.phantom.scene import Scene
from synth.phantom.sdf import FAR, Field, curve, smooth_min, strip, tube
from synth.phantom.spine import merge


def draw_named_muscles(scene: Scene) -> None:
    """The muscles that have names of their own, on both sides."""
    for side, word in ((1, "right"), (-1, "left")):
        _erector(scene, side, word)
        _iliopsoas(scene, side, word)
        _gluteals(scene, side, word)


def _line(scene: Scene, name: str, points: Sequence[tuple[float, float, float]], side: int) -> np.ndarray:
    flipped = np.array(points, float) * np.array([side, 1, 1])
    return scene.patient.wander(name, flipped, 1.5)


def _bulk(scene: Scene) -> float:
    return float(np.sqrt(scene.patient.spec.muscle))


def _erector(scene: Scene, side: int, word: str) -> None:
    z = [-60.0, -10.0, 40.0, 90.0, 140.0, 200.0, 280.0, 360.0, 440.0, 500.0]
    out = [16.0, 28.0, 34.0, 35.0, 34.0, 30.0, 25.0, 23.0, 24.0, 22.0]
    behind = [26.0, 34.0, 43.0, 45.0, 43.0, 37.0, 33.0, 33.0, 32.0, 28.0]
    half = np.array(
        [(10, 8), (22, 15), (30, 19), (31, 20), (30, 19), (26, 16), (20, 13), (18, 12), (18, 12), (16, 10)], float
    )
    y = scene.patient.spine_y(z)
    points = [(a, float(b) - c, h) for a, b, c, h in zip(out, y, behind, z, strict=True)]
    line, sizes = curve(_line(scene, f"autochthon_{word}", points, side), half * _bulk(scene), 12.0)
    shape = strip(scene.grid, line, sizes, np.array([1.0, 0.0, 0.0]))
    scene.claim(f"autochthon_{word}", shape, _meat(scene, shape, 1.5), gap=0.2, halo=0.8)


def _iliopsoas(scene: Scene, side: int, word: str) -> None:
    psoas = [(27, -12, 165), (36, -8, 110), (45, 0, 60), (56, 10, 10), (72, 28, -40), (90, 34, -86), (106, 8, -145)]
    line, radii = curve(
        _line(scene, f"psoas_{word}", psoas, side), np.array([7, 15, 20, 21, 18, 15, 8]) * _bulk(scene), 9.0
    )
    psoas_shape = tube(scene.grid, line, radii)
    iliac = [(106, -8, 30), (98, 8, -4), (88, 26, -40), (90, 34, -80)]
    line, half = curve(
        _line(scene, f"iliacus_{word}", iliac, side), np.array([(32, 12), (34, 13), (22, 13), (12, 10)], float), 9.0
    )
    iliacus = strip(scene.grid, line, half, np.array([0.0, 0.94, 0.34]))
    low = np.minimum([s.start for s in psoas_shape.window.slices], [s.start for s in iliacus.window.slices])
    high = np.maximum([s.stop for s in psoas_shape.window.slices], [s.stop for s in iliacus.window.slices])
    window = type(psoas_shape.window)(scene.grid, tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))  # type: ignore[arg-type]  # always three
    d = np.full(window.shape, FAR, np.float32)
    merge(window, d, psoas_shape)
    merge(window, d, iliacus)
    scene.claim(f"iliopsoas_{word}", Field(window, d), _meat(scene, Field(window, d), 0.5), gap=0.4, halo=1.5)


def _gluteals(scene: Scene, side: int, word: str) -> None:
    if scene.grid.z[0] > 60:
        return
    across = np.array([0.0, 1.0, 0.0])
    sheets = {
        "gluteus_minimus": ([(118, -8, 10), (121, -4, -45), (134, -4, -100)], [(28, 9), (30, 13), (10, 9)], across),
        "gluteus_medius": (
            [(128, -22, 40), (138, -18, -20), (142, -14, -70), (142, -14, -106)],
            [(46, 18), (52, 32), (38, 30), (16, 16)],
            across,
        ),
        "gluteus_maximus": (
            [(52, -84, -12), (84, -86, -60), (108, -70, -105), (128, -40, -150), (126, -24, -190)],
            [(26, 16), (56, 34), (62, 38), (44, 30), (16, 12)],
            np.array([side * 0.75, 0.45, 0.48]),
        ),
    }
    for name, (points, half, lateral) in sheets.items():
        marbled = 1.6 if name == "gluteus_maximus" else 1.0
        line, sizes = curve(_line(scene, f"{name}_{word}", points, side), np.array(half, float) * _bulk(scene), 10.0)
        shape = strip(scene.grid, line, sizes, lateral)
        scene.claim(
            f"{name}_{word}", shape, _meat(scene, shape, marbled), gap=0.5, halo=0.9, within=scene.surfaces["envelope"]
        )


def draw_wall(scene: Scene) -> None:
    """Everything between the envelope and the cavity that nothing took: wall, chest, hip and thigh muscle."""
    full = scene.grid.full()
    envelope = scene.surfaces["envelope"]
    if scene.grid.z[-1] > 330:
        for side in (1, -1):
            arm = arm_surface(scene, side)
            near = envelope[arm.window.slices]
            envelope[arm.window.slices] = smooth_min(near, arm.d, 12.0)
    hollow = -scene.surfaces["cavity"] - _recess(scene)
    d = np.maximum(np.maximum(envelope, hollow), _planes(scene))
    wall = Field(full, d.astype(np.float32))
    scene.claim("skeletal_muscle", wall, _meat(scene, wall, 0.8), gap=0.8)


def _recess(scene: Scene) -> np.ndarray:
    """Fat of the groin, the seat and beside the rectum, where there is no muscle (positive inside)."""
    w, p = scene.grid.full(), scene.patient
    out = np.zeros(w.shape, np.float32)
    for side in (1, -1):
        for spot, size in (
            ((side * 34, -52, -142), 24.0),
            ((side * 52, 66, -92), 20.0),
            ((side * 58, -22, -128), 12.0),
        ):
            c = p.place(spot)
            r = np.sqrt((w.x - float(c[0])) ** 2 + (w.y - float(c[1])) ** 2 + ((w.z - float(c[2])) * 0.7) ** 2)
            out = np.maximum(out, np.clip(size - r, 0, 8))
    return out


def _planes(scene: Scene) -> np.ndarray:
    """Distance (positive inside) of the fatty planes: zero sheets of smooth fields, wide in thigh and seat; the
    layers of the flank; the white line of the belly."""
    w = scene.grid.full()
    z = scene.patient.standard_z(w.z)
    low = 1.0 / (1.0 + np.exp((z + 20) / 18))
    width = (0.2 + 1.4 * low + 0.8 * scene.noise("width", 40.0)) / float(np.clip(scene.patient.spec.muscle, 0.7, 1.3))
    seam = np.maximum(
        width - np.abs(scene.noise("seam", 44.0)) * 30.0, width - 0.9 - np.abs(scene.noise("seam2", 32.0)) * 22.0
    )
    depth = -scene.surfaces["envelope"]
    thick = np.maximum(depth + np.maximum(scene.surfaces["cavity"], 0), 1.0)
    layer = (
        0.9 * np.clip(scene.noise("seam", 44.0), 0, 1)
        - 0.9
        - np.minimum(np.abs(depth / thick - 0.36), np.abs(depth / thick - 0.66)) * thick * 0.8
    )
    flank = (np.abs(w.x) > 70) & (z > 0) & (z < 420)
    white = np.where((w.y > 30) & (z < 270) & (z > -90), 0.9 - np.abs(w.x), -20.0)
    planes = np.maximum(np.where(depth > 3.0, seam, -20.0), np.where(flank, layer, -20.0))
    return np.asarray(np.maximum(planes, white), np.float32)


def _meat(scene: Scene, shape: Field, marbled: float) -> list[tuple[str, np.ndarray]]:
    """Muscle with the fat inside it: streaks, and a marbling that differs between patients and muscles."""
    s = shape.window.slices
    spec = scene.patient.spec
    usual = min(float(scene.patient.stream("marbling").gamma(2.0, 0.05)) / spec.muscle, 0.2)
    streak = np.clip((0.9 - np.abs(scene.noise("streak", 14.0)[s]) * 9.0) / scene.grid.voxel_mm, 0, 1)
    spread = 1.0 + 0.3 * scene.noise("marbling", 8.0)[s]
    fat = np.clip(usual * marbled * np.clip(spread, 0, 3) + 0.5 * streak * min(marbled, 1.0), 0.0, 0.6).astype(
        np.float32
    )
    return [("muscle", 1 - fat), ("fat", fat)]
