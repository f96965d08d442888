"""Hip bones as lofted plates and bars, and the femurs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.phantom.grid import Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import FAR, Field, curve, ellipsoid, plates, tube
from synth.phantom.spine import bony, merge

_CREST = [(112, 54, -8), (128, 32, 30), (126, 2, 48), (102, -38, 44), (62, -66, 18), (46, -76, -16)]
_BRIM = [(100, 42, -46), (98, 24, -62), (88, 0, -68), (74, -26, -62), (56, -46, -54), (46, -64, -46)]
_BARS = [  # lower half of the hip bone: (from, to, radius)
    ((74, 20, -84), (44, 44, -100), 7.5),
    ((44, 44, -100), (14, 58, -112), 7.0),
    ((12, 57, -112), (11, 52, -134), 8.0),
    ((13, 50, -138), (36, 16, -160), 5.5),
    ((82, -22, -106), (70, -34, -134), 11.0),
    ((70, -34, -134), (58, -30, -164), 12.0),
    ((56, -26, -168), (36, 14, -160), 6.5),
    ((88, 2, -70), (76, -24, -104), 10.0),
    ((88, 4, -68), (76, 18, -84), 9.0),
    ((50, -58, -30), (60, -48, -52), 8.0),
    ((112, 54, -8), (102, 42, -46), 4.5),
]


def draw_pelvis(scene: Scene) -> None:
    """Both hip bones and femurs."""
    if scene.grid.z[0] > 70:
        return
    for side, word in ((1, "right"), (-1, "left")):
        _femur(scene, side, word)
        _hip(scene, side, word)


def _sided(points: object, side: int) -> NDArray[np.float64]:
    return np.asarray(points, float) * np.array([side, 1, 1])


def joint(scene: Scene, side: int) -> NDArray[np.float64]:
    """Centre (3,) of the femur's head."""
    return scene.patient.place(_sided((89, 2, -96), side))


def _hip(scene: Scene, side: int, word: str) -> None:
    p = scene.patient
    crest, brim = p.place(_sided(_CREST, side)), p.place(_sided(_BRIM, side))
    middle = (crest + brim) / 2 + p.place(_sided((0, 0, 0), side)) * 0 + np.array([side * 5.0, 0, 0])
    triangles = []
    for upper, lower in ((crest, middle), (middle, brim)):
        for i in range(len(crest) - 1):
            triangles += [(upper[i], upper[i + 1], lower[i]), (upper[i + 1], lower[i + 1], lower[i])]
    w = scene.grid.around(np.concatenate([crest, brim, p.place(_sided([b[1] for b in _BARS], side))]), 30.0)
    if 0 in w.shape:
        return
    d = np.full(w.shape, FAR, np.float32)
    merge(w, d, plates(scene.grid, np.array(triangles), 4.4))
    rim, radii = curve(crest, np.array([7.0, 6.5, 6.0, 6.0, 8.0, 9.0]), 9.0)
    merge(w, d, tube(scene.grid, rim, radii))
    for start, end, radius in _BARS:
        line = p.place(_sided([start, end], side))
        merge(w, d, tube(scene.grid, line, np.array([radius, radius]) * 1.12))
    d = np.minimum(d, _socket(scene, w, side))
    d = d + scene.rough(f"hip_{word}", w, 0.8, 16.0)
    scene.claim(f"hip_{word}", Field(w, d), bony(scene, d, 0.8, "pelvic_marrow"), gap=1.5, halo=0.5)


def _socket(scene: Scene, w: Window, side: int) -> np.ndarray:
    """The acetabulum: a shell around the head of the femur, open outwards, forwards and down."""
    c = joint(scene, side)
    ball = ellipsoid(w, c, (33.0, 33.0, 33.0))
    hollow = 25.5 - np.sqrt((w.x - float(c[0])) ** 2 + (w.y - float(c[1])) ** 2 + (w.z - float(c[2])) ** 2)
    mouth = (w.x - float(c[0])) * side * 0.72 + (w.y - float(c[1])) * 0.3 - (w.z - float(c[2])) * 0.62 - 4
    return np.maximum(np.maximum(ball, hollow), np.broadcast_to(mouth, w.shape)).astype(np.float32)


def _femur(scene: Scene, side: int, word: str) -> None:
    p = scene.patient
    c = joint(scene, side)
    neck = p.place(_sided([(127, -6, -120), (133, -14, -112), (126, -6, -150), (114, 4, -260), (104, 6, -420)], side))
    w = scene.grid.window((np.minimum(c, neck.min(0)) - 45).tolist(), (np.maximum(c, neck.max(0)) + 45).tolist())
    if 0 in w.shape:
        return
    d = ellipsoid(w, c, (23.5, 23.5, 23.5))
    merge(w, d, tube(scene.grid, np.stack([c, neck[0]]), np.array([15.0, 14.0])))
    merge(w, d, tube(scene.grid, np.stack([neck[1], neck[2]]), np.array([13.0, 15.0])))
    shaft, radii = curve(np.stack([neck[0], neck[2], neck[3], neck[4]]), np.array([15.0, 15.0, 13.5, 14.0]), 12.0)
    merge(w, d, tube(scene.grid, shaft, radii))
    low = np.clip((-(w.z / p.spec.height) - 125) / 40, 0, 1)
    d = d + scene.rough(f"femur_{word}", w, 0.6, 16.0)
    bone, marrow = bony(scene, d, 2.0)[0][1], bony(scene, d, 6.0)[0][1]
    soft = np.broadcast_to(low, w.shape) * marrow
    dense = np.clip(1 - bone, 0, 1) * (1 - low) + np.clip(1 - marrow, 0, 1) * low
    scene.claim(
        f"femur_{word}",
        Field(w, d),
        [("cortical", dense), ("fat_marrow", soft), ("femoral_marrow", np.clip(1 - dense - soft, 0, 1))],
        halo=1.5,
    )
