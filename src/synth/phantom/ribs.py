"""The rib cage and shoulder girdle: twelve ribs a side following the chest wall, cartilages, sternum, scapulae."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synth.phantom.body import CAVITY
from synth.phantom.scene import Scene
from synth.phantom.sdf import Field, curve, plates, strip, tube
from synth.phantom.spine import LEVELS, bony

# Per rib: angle (degrees from straight back, round the side) and standard height of its front end.
_FRONT = {
    1: (150, 430),
    2: (153, 400),
    3: (152, 368),
    4: (150, 338),
    5: (148, 308),
    6: (145, 281),
    7: (138, 254),
    8: (128, 226),
    9: (117, 199),
    10: (105, 174),
    11: (76, 170),
    12: (52, 168),
}


def wall_point(scene: Scene, angle_deg: float, z: float, out_mm: float) -> tuple[float, float, float]:
    """Standard landmark on the chest wall at `angle_deg` from the back (right side), `out_mm` outside the cavity."""
    wide, front, back = (float(np.interp(z, CAVITY[:, 0], CAVITY[:, i])) for i in (1, 2, 3))
    wide, front, back = wide + out_mm, front + out_mm, back - out_mm
    a = np.deg2rad(angle_deg)
    power = 2 / (2.15 + 0.6 * float(np.clip((z - 130) / 80, 0, 1)))
    sx, sy = np.sin(a), -np.cos(a)
    x = wide * np.sign(sx) * abs(sx) ** power
    y = (front + back) / 2 + (front - back) / 2 * np.sign(sy) * abs(sy) ** power
    return float(x), float(y), float(z)


def draw_chest(scene: Scene) -> None:
    """Sternum, ribs, cartilages and shoulder girdle."""
    _sternum(scene)
    for number in range(1, 13):
        for side, word in ((1, "right"), (-1, "left")):
            line = _rib_line(scene, number, side)
            _rib(scene, f"rib_{word}_{number}", number, line)
            if number <= 10:
                _cartilage(scene, number, side, line[-1])
    for side, word in ((1, "right"), (-1, "left")):
        _girdle(scene, side, word)


def _mirror(points: Sequence[tuple[float, float, float]], side: int) -> NDArray[np.float64]:
    return np.array(points, float) * np.array([side, 1, 1])


def _rib_line(scene: Scene, number: int, side: int) -> NDArray[np.float64]:
    level = LEVELS[f"T{number}"]
    z0 = level[0] + 6
    spine = float(scene.patient.spine_y(z0))
    last, z1 = _FRONT[number]
    start = 24.0
    angles = np.linspace(start, last, 9)
    heights = z0 + (z1 - z0) * ((angles - start) / (last - start)) ** 1.1
    points = [(level[2] + 2.0, spine - 12, z0), (33.0, spine - 33, z0 + 1)]
    points += [wall_point(scene, float(a), float(z), 6.0) for a, z in zip(angles, heights, strict=True)]
    points = [points[0], points[1], *[q for q in points[2:] if q[0] > 42 or q[1] > 0]]
    return scene.patient.place(_mirror(points, side))


def _rib(scene: Scene, name: str, number: int, line: NDArray[np.float64]) -> None:
    n = len(line)
    wide = np.full(n, 6.0 if number < 11 else 5.0)
    thick = np.linspace(4.2, 3.4, n)
    points, half = curve(line, np.stack([wide, thick], axis=1), 9.0)
    shape = strip(scene.grid, points, half, np.array([0.0, 0.0, 1.0]), 8.0)
    scene.claim(name, shape, bony(scene, shape.d, 0.6, "rib_marrow"), gap=0.3, halo=0.4)


def _cartilage(scene: Scene, number: int, side: int, start: NDArray[np.float64]) -> None:
    target = {1: 426, 2: 400, 3: 376, 4: 354, 5: 334, 6: 316, 7: 302, 8: 284, 9: 262, 10: 238}[number]
    reach = 20 if number <= 7 else 20 + 14 * (number - 7)
    front = wall_point(scene, 180 - reach / 1.5, target, 5.0)
    end = scene.patient.place((side * reach, front[1], target))
    points, half = curve(np.stack([start, (start + end) / 2 + [0, 3, -3], end]), np.full((3, 2), (5.0, 4.0)), 9.0)
    shape = strip(scene.grid, points, half, np.array([0.0, 0.0, 1.0]), 8.0)
    scene.claim("costal_cartilages", shape, "cartilage", gap=0.0, halo=0.4)


def _sternum(scene: Scene) -> None:
    heights = [436.0, 415.0, 380.0, 340.0, 305.0, 284.0]
    line = scene.patient.place([(0, wall_point(scene, 180, z, 6.0)[1], z) for z in heights])
    half = np.array([(26, 6), (22, 6), (15, 5.5), (17, 5), (14, 4.5), (7, 3.5)], float)
    points, sizes = curve(line, half, 9.0)
    shape = strip(scene.grid, points, sizes, np.array([1.0, 0.0, 0.0]))
    scene.claim("sternum", shape, bony(scene, shape.d, 1.0), halo=0.4)


def _girdle(scene: Scene, side: int, word: str) -> None:
    """Clavicle, scapula and the head of the humerus: only in views that reach the shoulders."""
    if scene.grid.z[-1] < 300:
        return
    p = scene.patient
    raised = p.spec.arms == "raised"
    line = p.place(_mirror([(22, 52, 438), (70, 40, 452), (115, 5, 468), (150, -25, 474)], side))
    points, radii = curve(line, np.array([7.0, 5.5, 5.5, 6.5]))
    shape = tube(scene.grid, points, radii)
    scene.claim(f"clavicula_{word}", shape, bony(scene, shape.d, 2.0), gap=0.5)
    tip, top, socket, back = ((108, -98, 345), (86, -98, 455), (152, -52, 452), (120, -90, 400))
    corners = p.place(_mirror([tip, top, socket, back], side))
    flat = plates(scene.grid, np.stack([corners[[0, 1, 3]], corners[[1, 2, 3]], corners[[0, 3, 2]]]), 2.0)
    d = flat.d
    scene.claim(f"scapula_{word}", Field(flat.window, d), bony(scene, d, 1.2), gap=0.5)
    head = p.place(
        _mirror(
            [
                (172, -40, 455),
                (185, -30, 560) if raised else (190, -25, 360),
                (192, -20, 640) if raised else (200, -5, 170),
            ],
            side,
        )
    )
    points, radii = curve(head, np.array([22.0, 12.0, 12.0]), 10.0)
    arm = tube(scene.grid, points, radii)
    scene.claim(f"humerus_{word}", arm, bony(scene, arm.d, 3.0, "fat_marrow"), gap=0.5)


def arm_surface(scene: Scene, side: int) -> Field:
    """Distance of the arm's muscle envelope (deltoid to elbow), raised or down."""
    p = scene.patient
    down = p.spec.arms == "down"
    line = (
        [(160, -40, 455), (190, -28, 380), (202, -5, 200), (196, 40, 20)]
        if down
        else [(150, -40, 440), (178, -34, 500), (188, -28, 560), (192, -20, 660)]
    )
    points, radii = curve(p.place(_mirror(line, side)), np.array([50.0, 42.0, 38.0, 30.0]) * p.spec.muscle**0.5, 12.0)
    return tube(scene.grid, points, radii, 50.0)
