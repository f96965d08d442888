"""Heart with its chambers, lungs with lobes and their vessels, the thyroid."""

from __future__ import annotations

import numpy as np

from synth.phantom.grid import Real, Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import Field, ellipsoid, occupancy, smooth_max, smooth_min, tube
from synth.phantom.vessels import vessel

# Chamber: centre, radii of the blood pool, wall (mm), material.
_CHAMBERS = {
    "left_ventricle": ((-46, 20, 284), (38, 23, 24), 10.0, "left_heart_blood"),
    "right_ventricle": ((-18, 46, 284), (44, 22, 30), 4.0, "right_heart_blood"),
    "right_atrium": ((26, 24, 298), (23, 28, 32), 3.0, "right_heart_blood"),
    "left_atrium": ((0, -6, 316), (34, 20, 24), 3.0, "left_heart_blood"),
    "outflow": ((-12, 32, 330), (18, 18, 26), 2.5, "right_heart_blood"),
}


def draw_heart(scene: Scene) -> None:
    """Chambers with blood, the myocardium around them, and the vessels of the hila."""
    if scene.grid.z[-1] < 230:
        return
    p = scene.patient
    shift = np.array([0.0, 0.0, -0.6 * p.spec.breath_mm])
    size = float(p.stream("heart").normal(1.0, 0.06))
    c0 = p.place(np.array((-14, 22, 302)) + shift)
    w = scene.grid.window((c0 - 110).tolist(), (c0 + 110).tolist())
    if 0 in w.shape:
        return
    turn = np.array([[0.80, -0.50, 0.33], [0.53, 0.85, 0.0], [-0.28, 0.17, 0.94]])
    outer: Real | None = None
    pools: dict[str, Real] = {}
    for name, (centre, radii, wall, material) in _CHAMBERS.items():
        c = p.wander(name, np.array([centre]) + shift, 2.0)[0]
        r = tuple(v * size * s for v, s in zip(radii, (p.spec.width, p.spec.depth, p.spec.height), strict=True))
        axes = turn if "ventricle" in name else None
        pool = ellipsoid(w, c, (r[0], r[1], r[2]), axes) + scene.rough(name, w, 1.5)
        outer = pool - wall if outer is None else smooth_min(outer, pool - wall, 16.0)
        pools[material] = np.minimum(pools.get(material, pool), pool)
    assert outer is not None  # five chambers above
    outer = np.maximum(outer, 1.5 - scene.surfaces["diaphragm"][w.slices])
    outer = np.maximum(outer, scene.surfaces["cavity"][w.slices] + 3.0)
    h = scene.grid.voxel_mm
    parts = {m: occupancy(d, h) for m, d in pools.items()}
    total = np.maximum(sum(parts.values()), 1.0)
    split = [(m, s / total) for m, s in parts.items()]
    split.append(("myocardium", np.clip(1 - sum(s for _, s in split), 0, 1)))
    scene.claim("heart", Field(w, outer), split, gap=0.5, halo=2.5)
    vessel(
        scene,
        None,
        [(-14, 34, 340), (-18, 16, 356), (-14, -2, 364)],
        [13, 13, 11],
        "right_heart_blood",
        stream="pulmonary trunk",
    )
    for side in (1, -1):
        hub = (-14, -2, 362)
        vessel(
            scene,
            None,
            [hub, (side * 24, -8, 358), (side * 46, -14, 350)],
            [10, 9, 7],
            "right_heart_blood",
            stream=f"pulmonary artery {side}",
            gap=0.0,
        )
        vessel(
            scene,
            "pulmonary_vein",
            [(side * 20, -10, 322), (side * 38, -14, 328), (side * 54, -20, 334)],
            [7, 6, 5],
            "left_heart_blood",
            stream=f"pulmonary vein {side}",
            gap=0.0,
        )


def draw_thyroid(scene: Scene) -> None:
    """Two lobes beside the trachea."""
    if scene.grid.z[-1] < 440:
        return
    for side in (1, -1):
        c = scene.patient.wander(f"thyroid {side}", [(side * 18, 10, 486)], 1.0)[0]
        w = scene.grid.window((c - 40).tolist(), (c + 40).tolist())
        scene.claim("thyroid_gland", Field(w, ellipsoid(w, c, (9, 9, 24))), "thyroid", gap=0.3)


def draw_lungs(scene: Scene) -> None:
    """What the diaphragm, the chest wall and the mediastinum leave, cut by the fissures into five lobes."""
    if scene.grid.z[-1] < 160:
        return
    w, p = scene.grid.full(), scene.patient
    z = p.standard_z(w.z)
    x = (w.x - float(p.place((0, 0, 340))[0])) / p.spec.width
    middle = 6.0 + 26.0 * np.exp(-(((w.y + 4) / 30.0) ** 2)) * (0.7 + 0.4 * np.exp(-(((z - 380) / 50) ** 2)))
    middle = middle + scene.rough("mediastinum", w, 2.0) + 16 * np.clip((z - 425) / 40, 0, 1)
    chest = smooth_max(-scene.surfaces["diaphragm"] + 1.5, scene.surfaces["cavity"] + 1.2, 3.0)
    breath = p.spec.breath_mm
    oblique = (z - 338 + 0.5 * breath) + (w.y / p.spec.depth) * 1.05 + scene.rough("oblique", w, 4.0, 40.0)
    level = (z - 336 + 0.4 * breath) + scene.rough("horizontal", w, 4.0, 40.0)
    trees = _bronchial(scene)
    for word, side in (("right", 1.0), ("left", -1.0)):
        lung = np.maximum(smooth_max(chest, middle - side * x, 6.0), 1.0 - scene.crowd)
        lobes = {"lower": oblique, "upper": -oblique}
        if side > 0:
            lobes = {"lower": oblique, "middle": np.maximum(-oblique, level), "upper": np.maximum(-oblique, -level)}
        crease = np.abs(oblique) if side < 0 else np.minimum(np.abs(oblique), np.where(oblique > 0, np.abs(level), 99))
        _fill_lung(scene, w, word, lung, lobes, crease, trees[word])


def _fill_lung(
    scene: Scene, w: Window, word: str, lung: Real, lobes: dict[str, Real], crease: Real, tree: Real
) -> None:
    h = scene.grid.voxel_mm
    vessels = np.maximum(tree, 0.22 * np.clip(1 - crease / h, 0, 1))
    depth = np.clip(-lung / 12, 0, 1)
    vessels = vessels * depth
    d = lung.astype(np.float32)
    before = scene.left.copy()
    scene.claim(
        None, Field(w, d), [("lung_vessel", vessels.astype(np.float32)), ("lung", (1 - vessels).astype(np.float32))]
    )
    took = (before - scene.left >= 0.5) & ~scene.taken
    scene.taken |= took
    box = w.slices
    for lobe, cut in lobes.items():
        scene.add_mask(f"lung_{lobe}_lobe_{word}", box, took & (np.broadcast_to(cut, w.shape) < 0))


def _bronchial(scene: Scene) -> dict[str, Real]:
    """Share of vessel per voxel of a random branching tree from each hilum, one per side."""
    out = {}
    for word, side in (("right", 1), ("left", -1)):
        share = np.zeros(scene.grid.shape, np.float32)
        for a, b, radius in branches(scene, word, side):
            shape = tube(scene.grid, np.stack([a, b]), np.array([radius, radius * 0.85]), 4.0)
            s = shape.window.slices
            share[s] = np.maximum(share[s], occupancy(shape.d, scene.grid.voxel_mm))
        out[word] = share
    return out


def branches(scene: Scene, word: str, side: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Segments (from, to, radius) of the vessel tree of one lung, growing from the hilum outwards."""
    p = scene.patient
    rng = p.stream(f"lung vessels {word}")
    hub = p.place((side * 42, -14, 346))
    tips = [(hub, d / np.linalg.norm(d), 5.0) for d in rng.standard_normal((9, 3)) * [0.5, 1, 1.3] + [side * 0.9, 0, 0]]
    out = []
    for generation in range(5):
        grown = []
        for start, way, radius in tips:
            end = start + way * rng.uniform(15, 26) * (1 - 0.07 * generation)
            out.append((start, end, radius))
            for _ in range(2):
                turn = way + rng.standard_normal(3) * 0.5
                turn[0] += side * 0.15
                grown.append((end, turn / np.linalg.norm(turn), radius * rng.uniform(0.66, 0.82)))
        tips = grown
    return out
