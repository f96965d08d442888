"""Solid organs of the abdomen: kidneys, adrenals, spleen, pancreas, liver with its segments."""

from __future__ import annotations

import numpy as np

from synth.phantom.grid import Real, Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import FAR, Field, curve, ellipsoid, occupancy, plates, smooth_max, strip, tube
from synth.phantom.spine import merge
from synth.phantom.vessels import liver_vessels


def draw_kidneys(scene: Scene) -> None:
    """Kidneys that are there, and both adrenal glands."""
    for side, word in ((1, "right"), (-1, "left")):
        if f"kidney_{word}" not in scene.patient.spec.absent:
            _kidney(scene, side, word)
        _adrenal(scene, side, word)


def _kidney(scene: Scene, side: int, word: str) -> None:
    """A bean: a bent, flattened tube; cortex and columns outside, pyramids within, fat and pelvis at the hilum."""
    p = scene.patient
    rng = p.stream(f"kidney_{word}")
    size = float(rng.normal(1.0, 0.07)) * (1.0 + 0.16 * (len([n for n in p.spec.absent if "kidney" in n]) > 0))
    drop = float(rng.normal(0, 8)) + (0.0 if side < 0 else -8.0) - 0.35 * p.spec.breath_mm
    push = 1.0 + 0.08 * p.spec.belly
    z = np.array([52.0, 30.0, 0.0, -30.0, -50.0]) * size
    x = np.array([45.0, 56.0, 64.0, 62.0, 55.0]) * push
    y = float(p.spine_y(145.0)) + np.array([-30.0, -22.0, -15.0, -9.0, -3.0])
    points = np.stack([side * x, y, 148 + drop + z], axis=1)
    line, half = curve(
        p.wander(f"kidney_{word}", points, 1.5),
        np.array([(17, 15), (26, 21), (27, 22), (26, 21), (16, 15)]) * size,
        8.0,
    )
    lateral = np.array([side * 0.75, -0.62, 0.2])
    shape = strip(scene.grid, line, half, lateral / np.linalg.norm(lateral), 18.0)
    w = shape.window
    if 0 in w.shape:
        return
    hilum = line[len(line) // 2] + np.array([-side * 24.0 * size, 15.0 * size, 0.0])
    sinus = ellipsoid(w, hilum, (15 * size, 13 * size, 21 * size))
    d = smooth_max(shape.d + scene.rough(f"kidney_{word}", w, 1.0), -sinus, 8.0)
    h = scene.grid.voxel_mm
    cortex_mm = float(rng.uniform(6.0, 9.0))
    pyramid = d + cortex_mm + 3.0 * np.clip(scene.rough(f"columns_{word}", w, 1.0, 11.0), -1, 1)
    core = ellipsoid(w, hilum, (21 * size, 17 * size, 26 * size))
    fat = occupancy(core - 1.0, h)
    pelvis = ellipsoid(w, hilum, (13 * size, 9 * size, 15 * size)) + scene.rough(f"pelvis_{word}", w, 2.0, 16.0)
    urine = np.minimum(occupancy(pelvis, h), fat)
    medulla = occupancy(pyramid, h) * (1 - fat)
    cortex = np.clip(1 - medulla - fat, 0, 1)
    scene.claim(
        f"kidney_{word}",
        Field(w, d),
        [
            ("kidney_cortex", cortex),
            ("kidney_medulla", medulla),
            ("renal_pelvis", urine),
            ("visceral_fat", fat - urine),
        ],
        gap=1.5,
        halo=2.5 + 5.0 * p.spec.belly,
    )


def _adrenal(scene: Scene, side: int, word: str) -> None:
    """A thin inverted Y above the kidney."""
    p = scene.patient
    y = float(p.spine_y(190.0))
    top = (side * 32, y + 10, 206) if side > 0 else (side * 30, y + 14, 200)
    points = [
        top,
        (top[0] + side * 3, top[1] - 4, top[2] - 14),
        (top[0] + side * 12, top[1] - 12, top[2] - 26),
        (top[0] - side * 3, top[1] - 12, top[2] - 26),
    ]
    corners = p.wander(f"adrenal {word}", points, 1.5)
    shape = plates(scene.grid, corners[[[0, 1, 2], [0, 1, 3]]], 2.4)
    scene.claim(f"adrenal_gland_{word}", shape, "adrenal", gap=0.8, halo=2.5, least=0.3)


def draw_spleen(scene: Scene) -> None:
    """A curved wedge between the left dome, the ribs and the stomach."""
    if "spleen" in scene.patient.spec.absent:
        return
    p = scene.patient
    rng = p.stream("spleen")
    size = float(np.clip(rng.normal(1.1, 0.12), 0.8, 1.5)) * (1.22 if p.spec.liver == "cirrhotic" else 1.0)
    points = p.breathed([(-58, -44, 232), (-80, -46, 214), (-92, -28, 195), (-94, -6, 178)], 0.6)
    points = points.mean(0) + (points - points.mean(0)) * size
    line, half = curve(p.wander("spleen", points, 3.0), np.array([(30, 20), (46, 29), (46, 29), (28, 19)]) * size, 9.0)
    shape = strip(scene.grid, line, half, np.array([0.35, 0.3, 0.89]), 16.0)
    w = shape.window
    if 0 in w.shape:
        return
    d = smooth_max(shape.d + scene.rough("spleen", w, 2.5), scene.surfaces["cavity"][w.slices] + 2.2, 6.0)
    d = smooth_max(d, scene.surfaces["diaphragm"][w.slices] + 2.5, 5.0)
    scene.claim("spleen", Field(w, d), "spleen", gap=1.0, halo=1.0)


def draw_pancreas(scene: Scene) -> None:
    """Head to tail, lobulated, with fat between the lobules."""
    p = scene.patient
    rng = p.stream("pancreas")
    y = float(p.spine_y(160.0))
    lift = float(rng.normal(0, 7))
    points = [
        (30, y + 40, 118),
        (28, y + 44, 140),
        (14, y + 58, 156),
        (-12, y + 60, 166),
        (-42, y + 40, 176 + lift),
        (-74, y + 6, 188 + lift),
    ]
    thick = np.array([10.0, 15.0, 10.5, 11.0, 11.0, 9.5]) * float(rng.normal(1.0, 0.12))
    line, radii = curve(p.wander("pancreas", points, 3.0), thick, 6.0)
    shape = strip(scene.grid, line, np.stack([radii * 1.35, radii], 1), np.array([0.0, 0.0, 1.0]))
    w = shape.window
    d = shape.d + scene.rough("pancreas", w, 1.4, 11.0)
    lobules = np.clip(0.12 + 0.12 * scene.rough("lobules", w, 1.0, 11.0) + 0.18 * p.spec.belly, 0, 0.45)
    scene.claim("pancreas", Field(w, d), [("pancreas", 1 - lobules), ("visceral_fat", lobules)], gap=0.6, halo=1.2)


def draw_gallbladder(scene: Scene) -> None:
    """A pear of bile under the liver."""
    if "gallbladder" in scene.patient.spec.absent:
        return
    p = scene.patient
    fill = float(p.stream("gallbladder").uniform(0.65, 1.3))
    points = p.breathed([(40, 26, 186), (50, 40, 170), (60, 56, 150), (64, 64, 138)], 0.5)
    line, radii = curve(p.wander("gallbladder", points, 3.0), np.array([3.0, 8.0, 13.0, 12.0]) * fill**0.5, 6.0)
    shape = tube(scene.grid, line, radii)
    w = shape.window
    d = smooth_max(shape.d + scene.rough("gallbladder", w, 0.8), scene.surfaces["cavity"][w.slices] + 6.0, 4.0)
    inner = occupancy(d + 1.5, scene.grid.voxel_mm)
    whole = np.maximum(occupancy(d, scene.grid.voxel_mm), 1e-3)
    share = np.minimum(inner / whole, 1.0)
    scene.claim("gallbladder", Field(w, d), [("bile", share), ("wall", 1 - share)], gap=0.5, halo=0.4)


def draw_liver(scene: Scene) -> None:
    """Fills the right dome down to a slanted visceral surface; vessels and segments inside."""
    p, w = scene.patient, scene.grid.window((-190, -200, 20), (190, 240, 420))
    if 0 in w.shape:
        return
    rng = p.stream("liver")
    x, z = w.x / p.spec.width, p.standard_z(w.z) + 0.7 * p.spec.breath_mm
    y = w.y / p.spec.depth - np.asarray(p.bulge(p.standard_z(scene.grid.z)), np.float32)[w.slices[2]] * np.clip(
        w.y / 85, 0, 1
    )
    tip, shrunk = float(rng.normal(113, 15)), 12.0 if p.spec.liver == "cirrhotic" else 0.0
    reach = float(rng.normal(-68, 15)) - shrunk
    slope = np.interp(
        scene.grid.x / p.spec.width, [-110, -60, 0, 40, 75, 120], [246, 216, 184, 172, 146 + shrunk, tip + shrunk]
    )
    bottom = slope.astype(np.float32)[w.slices[0], None, None] - 0.28 * np.clip(y, -60, 70) + 4.0
    d = (bottom - z) * 0.82
    d = smooth_max(d, np.broadcast_to((reach - x) * 0.8 + 0.35 * (62 - y) + 0.15 * (z - 235), d.shape), 26.0)
    hollow = np.interp(
        scene.grid.x / p.spec.width, [-100, -30, 0, 14, 26, 60, 110], [22, 18, 18, 10, -14, -90, -120]
    ).astype(np.float32)
    d = smooth_max(d, np.broadcast_to(hollow[w.slices[0], None, None] - y + 0.25 * (z - 230), d.shape), 18.0)
    d = d + scene.rough("liver", w, 3.0, 40.0)
    if p.spec.liver == "cirrhotic":
        d = d + np.abs(scene.rough("nodules", w, 1.8, 14.0))
    d = smooth_max(d, scene.surfaces["cavity"][w.slices] + 2.5, 10.0)
    d = smooth_max(d, scene.surfaces["diaphragm"][w.slices] + 2.5, 8.0)
    shares = _inner_vessels(scene, w)
    parts = [(m, s) for m, s in shares.items()]
    parts.append(("liver", np.clip(1 - sum(shares.values()), 0, 1)))
    drawn = scene.claim("liver", Field(w, d.astype(np.float32)), parts, gap=0.1, halo=0.6)
    del drawn


def _inner_vessels(scene: Scene, w: Window) -> dict[str, Real]:
    out = {"portal_blood": np.zeros(w.shape, np.float32), "hepatic_vein_blood": np.zeros(w.shape, np.float32)}
    field = np.full(w.shape, FAR, np.float32)
    for name, (line, radii) in liver_vessels(scene).items():
        material = "portal_blood" if name.startswith("portal") else "hepatic_vein_blood"
        field[:] = FAR
        merge(w, field, tube(scene.grid, line, radii * 0.9, 4.0))
        out[material] = np.maximum(out[material], occupancy(field, scene.grid.voxel_mm))
    total = np.maximum(out["portal_blood"] + out["hepatic_vein_blood"], 1.0)
    return {k: v / total for k, v in out.items()}


def liver_segments(scene: Scene) -> dict[str, np.ndarray]:
    """Couinaud: the three hepatic veins part the liver upright, the portal plane parts it across; 1 is the caudate."""
    inside = scene.dense("liver")
    lines = {k: v[0] for k, v in liver_vessels(scene).items()}
    g = scene.grid
    x, y, z = np.meshgrid(g.x, g.y, g.z, indexing="ij", sparse=True)
    cava = scene.patient.place((24, 6, 250))

    def right_of(line: np.ndarray) -> np.ndarray:
        """Which side of the upright plane from the cava through the vein's far half a voxel lies on."""
        far = line[len(line) // 2 :].mean(axis=0) - cava
        return np.asarray((x - cava[0]) * far[1] - (y - cava[1]) * far[0] > 0)

    right, middle, left = (right_of(lines[f"vein_{k}"]) for k in ("right", "middle", "left"))
    split_right = float(lines["portal_right"][len(lines["portal_right"]) // 2 :, 2].mean())
    split_left = float(lines["portal_left"][len(lines["portal_left"]) // 2 :, 2].mean())
    above_right, above_left = np.asarray(z > split_right), np.asarray(z > split_left)
    caudate = np.sqrt((x - cava[0] + 14) ** 2 + ((y - cava[1] - 2) * 1.1) ** 2 + ((z - cava[2] + 26) * 0.6) ** 2) < 24
    rest = inside & ~caudate
    out = {"liver_segment_1": inside & caudate}
    cells = {
        "2": ~middle & ~left & above_left,
        "3": ~middle & ~left & ~above_left,
        "4": ~middle & left,
        "5": middle & ~right & ~above_right,
        "8": middle & ~right & above_right,
        "6": middle & right & ~above_right,
        "7": middle & right & above_right,
    }
    for number, cell in cells.items():
        out[f"liver_segment_{number}"] = rest & cell
    return out
