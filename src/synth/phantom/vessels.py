"""Great vessels, airway and oesophagus: tubes along splines that follow the spine of this patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.phantom.scene import Scene
from synth.phantom.sdf import Field, curve, occupancy, tube

Points = list[tuple[float, float, float]]


def along_spine(scene: Scene, heights: list[float], x: list[float], ahead: list[float]) -> Points:
    """Landmarks `ahead` mm in front of the spine's axis at each height."""
    y = scene.patient.spine_y(heights)
    return [(a, float(b) + c, z) for a, b, c, z in zip(x, y, ahead, heights, strict=True)]


def vessel(
    scene: Scene,
    name: str | None,
    points: Points,
    radii: list[float],
    material: str,
    *,
    wander: float = 1.5,
    gap: float = 0.3,
    halo: float = 1.0,
    stream: str | None = None,
    within: np.ndarray | None = None,
) -> Field:
    """Draw one vessel through standard landmarks; its calibre varies by patient."""
    key = stream or name or material
    size = float(scene.patient.stream("calibre " + key).normal(1.0, 0.08))
    line, r = curve(scene.patient.wander(key, points, wander), np.array(radii) * size, 7.0)
    return scene.claim(name, tube(scene.grid, line, r), material, gap=gap, halo=halo, within=within)


def aorta_line(scene: Scene) -> Points:
    """Landmarks of the aorta from its root to its fork."""
    root: Points = [(-2, 14, 322), (10, 26, 350), (16, 22, 378), (4, 4, 400), (-16, -14, 404)]
    heights = [388.0, 350.0, 300.0, 250.0, 200.0, 150.0, 100.0, 58.0]
    x = [-25.0, -27.0, -22.0, -12.0, -6.0, -6.0, -8.0, -6.0]
    ahead = [10.0, 16.0, 24.0, 29.0, 30.0, 31.0, 31.0, 31.0]
    return root + along_spine(scene, heights, x, ahead)


def draw_great_vessels(scene: Scene) -> None:
    """Aorta, cavae, iliac vessels, airway, and the branches of the arch and of the abdominal aorta."""
    aorta = aorta_line(scene)
    wide = float(scene.patient.stream("aorta width").uniform(0.85, 1.2))
    radii = [16, 16.5, 15.5, 14.5, 13.5, 13, 12.5, 12.5, 12, 11.5, 10.5, 9.5, 9]
    vessel(scene, "aorta", aorta, [r * wide for r in radii], "arterial_blood", halo=1.5)
    cava = along_spine(scene, [42, 90, 150, 205], [17, 18, 20, 22], [28, 29, 30, 36])
    vessel(
        scene,
        "inferior_vena_cava",
        [*cava, (25, 8, 245), (24, 14, 275)],
        [11, 11, 12, 13, 14, 14],
        "caval_blood",
        halo=0.0,
    )
    vessel(scene, "superior_vena_cava", [(28, 20, 320), (30, 14, 360), (31, 14, 398)], [10, 10, 9], "venous_blood")
    _airway(scene)
    _arch(scene)
    _iliacs(scene, aorta[-1], cava[0])
    _branches(scene, aorta)


def _airway(scene: Scene) -> None:
    heights = [265.0, 300.0, 350.0, 400.0, 450.0, 500.0]
    line = along_spine(scene, heights, [-8.0, -4.0, -1.0, 3.0, 3.0, 0.0], [30.0, 26.0, 22.0, 18.0, 18.0, 18.0])
    vessel(scene, "esophagus", [(-24, 0, 248), *line], [8, 8, 8, 8, 8, 7.5, 7], "oesophagus", halo=0.8)
    tree = [along_spine(scene, [378.0, 430.0, 500.0], [4.0, 1.0, 0.0], [32.0, 34.0, 32.0])]
    tree.append([tree[0][0], (24, tree[0][0][1] - 4, 364), (42, tree[0][0][1] - 8, 348)])
    tree.append([tree[0][0], (-22, tree[0][0][1] - 4, 364), (-46, tree[0][0][1] - 10, 344)])
    for i, (points, radii) in enumerate(zip(tree, ([9.0, 9, 9], [9.0, 7, 5], [9.0, 6.5, 4.5]), strict=True)):
        size = curve(scene.patient.place(points), np.array(radii), 7.0)
        shape = tube(scene.grid, *size)
        inner = occupancy(shape.d + 1.2, scene.grid.voxel_mm)
        scene.claim("trachea" if i == 0 else None, shape, [("airway", inner), ("wall", 1 - inner)], halo=0.5)


def _arch(scene: Scene) -> None:
    vessel(scene, "brachiocephalic_trunk", [(8, 6, 404), (16, 14, 425), (24, 12, 445)], [7, 6.5, 6], "arterial_blood")
    for word, side, base in (("right", 1, (24, 12, 445)), ("left", -1, (-10, -4, 408))):
        vessel(
            scene,
            f"common_carotid_artery_{word}",
            [base, (side * 24, 10, 465), (side * 26, 8, 540)],
            [4, 4, 4],
            "arterial_blood",
        )
        low = base if side == 1 else (-18, -14, 406)
        vessel(
            scene,
            f"subclavian_artery_{word}",
            [low, (side * 36, -6, 455), (side * 75, 0, 462), (side * 130, -20, 458)],
            [5, 5, 4.5, 4],
            "arterial_blood",
        )
        vessel(
            scene,
            f"brachiocephalic_vein_{word}",
            [(31, 14, 398), (side * 28, 22, 424), (side * 34, 24, 444)],
            [8, 7.5, 7],
            "venous_blood",
        )


def _iliacs(scene: Scene, fork: tuple[float, float, float], caval: tuple[float, float, float]) -> None:
    for word, side in (("left", -1), ("right", 1)):
        artery: Points = [fork, (side * 22, 22, 28), (side * 40, 18, -4), (side * 56, 26, -48), (side * 60, 56, -96)]
        vessel(scene, f"iliac_artery_{word}", artery, [7, 6, 5.5, 5, 4.5], "arterial_blood", wander=3.0)
        vein: Points = [caval, (side * 26 + 3, 12, 16), (side * 42, 6, -14), (side * 52, 16, -52), (side * 50, 54, -98)]
        vessel(scene, f"iliac_vena_{word}", vein, [8.5, 7, 6.5, 6, 5.5], "iliac_venous_blood", wander=3.0)
        thigh: Points = [(side * 62, 60, -105), (side * 68, 52, -150), (side * 76, 36, -260), (side * 76, 20, -380)]
        vessel(scene, None, thigh, [4.5, 4.5, 4, 3.5], "arterial_blood", stream=f"femoral artery {word}", halo=2.0)
        beside: Points = [(x - side * 10, y - 2, z) for x, y, z in thigh]
        vessel(scene, None, beside, [5.5, 5.5, 5, 4], "iliac_venous_blood", stream=f"femoral vein {word}", halo=2.0)


def _branches(scene: Scene, aorta: Points) -> None:
    """Coeliac trunk, mesenteric and renal vessels: unnamed in the vocabulary, drawn as blood."""
    front = {z: np.interp(z, [p[2] for p in aorta[::-1]], [p[1] for p in aorta[::-1]]) for z in (120, 150, 172, 184)}
    y = {z: float(v) for z, v in front.items()}
    vessel(
        scene,
        None,
        [(-6, y[184] + 8, 184), (-4, y[184] + 22, 184), (26, y[184] + 22, 190)],
        [4, 3.5, 2.8],
        "arterial_blood",
        stream="coeliac",
        gap=0.0,
    )
    vessel(
        scene,
        None,
        [(-6, y[172] + 8, 172), (-5, y[172] + 22, 152), (0, y[172] + 34, 105), (14, y[172] + 40, 60)],
        [4, 4, 3.5, 2.8],
        "arterial_blood",
        stream="superior mesenteric",
        gap=0.0,
        halo=4.0,
    )
    for word, side in (("left", -1), ("right", 1)):
        if f"kidney_{word}" in scene.patient.spec.absent:
            continue
        start = (-7 + 9 * side, y[150] - 4, 148)
        vessel(
            scene,
            None,
            [start, (side * 26, -14, 143), (side * 46, -28, 140)],
            [3.2, 3, 2.8],
            "arterial_blood",
            stream=f"renal artery {word}",
            gap=0.0,
        )
        hub = (18, y[150] + 1, 140) if side == 1 else (14, y[150] + 13, 146)
        path: Points = [hub, (side * 30, 2, 140), (side * 46, -24, 136)]
        if side == -1:
            path = [hub, (-6, y[150] + 14, 147), (-30, 0, 142), (-46, -24, 138)]
        vessel(scene, None, path, [4.5, 4.5, 4, 3.5][: len(path)], "caval_blood", stream=f"renal vein {word}", gap=0.0)


def portal_lines(scene: Scene) -> list[tuple[Points, list[float]]]:
    """Superior mesenteric vein to the portal vein's fork, and the splenic vein."""
    y = float(scene.patient.spine_y(150.0))
    join = (10.0, y + 48, 152.0)
    trunk: Points = [(12, y + 62, 70), (11, y + 56, 110), join, (26, y + 44, 176), (38, y + 40, 196)]
    splenic: Points = [join, (-20, y + 46, 164), (-50, y + 18, 178), (-78, y - 4, 192)]
    return [(trunk, [4.5, 5.5, 6.5, 7, 6.5]), (splenic, [5, 4.5, 4, 3.5])]


def draw_portal(scene: Scene) -> None:
    """Portal vein with the superior mesenteric vein, and the splenic vein where there is a spleen."""
    for i, (points, radii) in enumerate(portal_lines(scene)):
        keep = not (i == 1 and "spleen" in scene.patient.spec.absent)
        if keep:
            vessel(
                scene,
                "portal_vein_and_splenic_vein",
                points,
                radii,
                "portal_blood",
                gap=0.0,
                halo=0.8,
                stream=f"portal {i}",
            )


def liver_vessels(scene: Scene) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Curves (points, radii) of the portal branches and hepatic veins inside the liver, placed."""
    hub, vein = (38.0, 28.0, 196.0), (24.0, 6.0, 250.0)
    trees: dict[str, tuple[Points, list[float]]] = {
        "portal_right": ([hub, (62, 10, 204), (84, -6, 214), (98, -20, 226)], [6.5, 5, 3.5, 2]),
        "portal_right_front": ([(62, 10, 204), (82, 30, 208), (96, 42, 212)], [4.5, 3.2, 1.8]),
        "portal_right_low": ([(74, 2, 206), (92, -4, 184), (100, -6, 162)], [4, 2.8, 1.6]),
        "portal_left": ([hub, (16, 36, 214), (2, 52, 222), (-22, 46, 226)], [5.5, 4.5, 3.5, 2]),
        "portal_left_front": ([(4, 50, 220), (8, 66, 206)], [3.5, 2]),
        "vein_right": ([vein, (56, -8, 238), (86, -14, 214), (96, -10, 180)], [5.5, 4.5, 3.2, 1.8]),
        "vein_middle": ([vein, (42, 24, 236), (52, 44, 212), (58, 54, 180)], [5, 4, 3, 1.8]),
        "vein_left": ([vein, (8, 28, 240), (-12, 46, 234), (-34, 50, 226)], [4.5, 3.5, 2.8, 1.6]),
    }
    breath = -scene.patient.spec.breath_mm
    out = {}
    for name, (points, radii) in trees.items():
        moved = np.array(points) + np.array([0, 0, breath * 0.7])
        out[name] = curve(scene.patient.wander("liver " + name, moved, 2.5), np.array(radii), 6.0)
    return out


def draw_crura(scene: Scene) -> None:
    """The crura of the diaphragm, on both sides of the aorta."""
    for side in (1, -1):
        points = along_spine(
            scene,
            [110, 150, 190, 222, 244],
            [side * 10, side * 13, side * 15, side * 12, side * 3],
            [17.0, 20.0, 28.0, 40.0, 50.0],
        )
        line, r = curve(scene.patient.wander(f"crus {side}", points, 1.0), np.array([3.0, 4.5, 5.5, 5.5, 5.0]), 7.0)
        scene.claim("skeletal_muscle", tube(scene.grid, line, r), "muscle", gap=0.3, halo=0.6)


def draw_mesentery(scene: Scene, loops: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    """Fine vessels fanning out from the root to the loops: what makes visceral fat look like mesentery."""
    rng = scene.patient.stream("mesentery")
    if not loops:
        return
    root = scene.patient.place([(12, 40, 110), (14, 44, 70), (20, 44, 30)])
    ends = np.concatenate([line for line, _ in loops])
    for end in ends[rng.permutation(len(ends))[:60]]:
        start = root[int(rng.integers(3))] + rng.normal(0, 5, 3)
        middle = (start + end) / 2 + rng.normal(0, 8, 3)
        line, r = curve(np.stack([start, middle, end]), np.array([2.3, 1.8, 1.4]), 9.0)
        shape = tube(scene.grid, line, r, 5.0)
        fine = np.minimum(2 * 1.6 / scene.grid.voxel_mm, 1.0) * np.ones(shape.window.shape, np.float32)
        scene.claim(None, shape, [("portal_blood", fine), ("visceral_fat", 1 - fine)], gap=None)
