"""Lesions: where they lie, their shape and margin, and how each enhances; all of it known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.phantom.grid import Real, Window
from synth.phantom.scene import Scene
from synth.phantom.sdf import Field, ellipsoid, occupancy
from synth.phantom.spec import LesionSpec

Curve = tuple[float, float, float, float]  # HU unenhanced, arterial, portal venous, delayed


@dataclass(frozen=True)
class Behaviour:
    """How lesions of one name look: core and rim HU by phase (None: no rim), margins to draw from, clinical reading."""

    core: Curve
    rim: Curve | None
    rim_share: float
    margins: tuple[str, ...]
    pattern: str


_CYST = (6.0, 7.0, 8.0, 8.0)
BEHAVIOUR: dict[str, Behaviour] = {
    "liver_cyst": Behaviour(_CYST, None, 0, ("circumscribed", "lobulated"), "none"),
    "kidney_cyst_left": Behaviour(_CYST, None, 0, ("circumscribed",), "none"),
    "kidney_cyst_right": Behaviour(_CYST, None, 0, ("circumscribed",), "none"),
    "metastasis": Behaviour((38, 46, 55, 62), (42, 92, 84, 84), 0.22, ("indistinct", "lobulated", "irregular"), "rim"),
    "hepatocellular_carcinoma": Behaviour(
        (48, 122, 88, 74),
        (50, 80, 122, 120),
        0.1,
        ("circumscribed", "lobulated"),
        "arterial_hyperenhancement_and_washout",
    ),
    "liver_hemangioma": Behaviour(
        (42, 55, 82, 118), (44, 205, 160, 122), 0.3, ("lobulated", "circumscribed"), "peripheral_nodular"
    ),
    "kidney_stone": Behaviour((750, 750, 750, 750), None, 0, ("irregular", "circumscribed"), "none"),
    "gallstone": Behaviour((140, 140, 140, 140), (420, 420, 420, 420), 0.25, ("circumscribed",), "none"),
    "lung_nodule": Behaviour((32, 60, 78, 72), None, 0, ("circumscribed", "spiculated", "lobulated"), "homogeneous"),
}
# Roughness of the surface (share of the radius, knot in radii) and width of the transition (mm) by margin.
_MARGIN = {
    "circumscribed": (0.04, 1.2, 0.0),
    "lobulated": (0.2, 0.9, 0.0),
    "irregular": (0.26, 0.55, 1.0),
    "indistinct": (0.12, 0.9, 5.0),
    "spiculated": (0.3, 0.4, 1.5),
}


@dataclass(frozen=True)
class Lesion:
    """One placed lesion; `centre` (3,) mm."""

    id: str
    name: str
    organ: str
    centre: NDArray[np.float64]
    radii_mm: tuple[float, float, float]
    margin: str
    shift_hu: float

    @property
    def behaviour(self) -> Behaviour:
        return BEHAVIOUR[self.name]


def place_lesions(plan: Scene) -> tuple[Lesion, ...]:
    """Find each lesion of the spec a place in its organ on the coarse plan; one that has none is left out."""
    out: list[Lesion] = []
    for number, wanted in enumerate(plan.patient.spec.lesions, start=1):
        rng = plan.patient.stream(f"lesion {number}")
        centre = _site(plan, wanted, rng, out)
        if centre is not None:
            base = wanted.diameter_mm / 2
            stretch = np.exp(rng.normal(0, 0.12, 3))
            radii = base * stretch / stretch.max()
            behaviour = BEHAVIOUR[wanted.name]
            hard = wanted.name in ("kidney_stone", "gallstone")
            out.append(
                Lesion(
                    f"{wanted.name}_{number}",
                    wanted.name,
                    wanted.organ,
                    centre,
                    (float(radii[0]), float(radii[1]), float(radii[2])),
                    str(rng.choice(behaviour.margins)),
                    float(rng.normal(0, 120 if hard else 5)),
                )
            )
    return tuple(out)


def _site(
    plan: Scene, wanted: LesionSpec, rng: np.random.Generator, placed: list[Lesion]
) -> NDArray[np.float64] | None:
    inside = plan.dense(wanted.organ)
    if not inside.any():
        return None
    depth = ndimage.distance_transform_edt(inside, sampling=plan.grid.spacing_mm)
    radius = wanted.diameter_mm / 2
    fits = depth >= min(radius * (0.55 if "kidney_cyst" in wanted.name else 0.95), 0.8 * float(depth.max()))
    if wanted.name == "kidney_stone":
        fits = depth >= 0.75 * float(depth.max())
    if wanted.name == "gallstone":
        fits = inside & (depth >= 0.5 * float(depth.max()))
    spots = np.argwhere(fits) * np.array(plan.grid.spacing_mm) + np.array(plan.grid.origin_mm)
    spots = spots + rng.uniform(-3.0, 3.0, spots.shape)
    for other in placed:
        apart = radius + max(other.radii_mm) + 4.0
        spots = spots[np.linalg.norm(spots - other.centre, axis=1) > apart] if len(spots) else spots
    return spots[int(rng.integers(len(spots)))] if len(spots) else None


def draw_lesions(scene: Scene, organ: str, since: int) -> None:
    """Put the lesions of `organ` into it; `since` is the number of layers before the organ was drawn."""
    for lesion in scene.lesions:
        if lesion.organ == organ:
            _draw(scene, lesion, since)


def _draw(scene: Scene, lesion: Lesion, since: int) -> None:
    reach = max(lesion.radii_mm) * 1.5 + 6.0
    w = scene.grid.around(lesion.centre[None], reach)
    if 0 in w.shape:
        return
    shape, share = _shape(scene, lesion, w)
    took = scene.implant(w, share, since, _parts(scene, lesion, w, shape))
    if "kidney_cyst" in lesion.name:  # a cyst may stand out of the kidney
        outer = scene.claim(lesion.id, Field(w, shape), f"lesion/{lesion.id}/core", gap=0.3, halo=1.0)
        took = took + occupancy(outer.d, scene.grid.voxel_mm) * (took < 0.5)
    inside = took >= 0.5
    if not inside.any() and took.max() > 0.1:
        inside = took >= took.max() * 0.999
    scene.add_mask(lesion.id, w.slices, inside)


def _shape(scene: Scene, lesion: Lesion, w: Window) -> tuple[Real, Real]:
    """Distance, and share of each voxel: a soft edge where the margin is indistinct."""
    rough, knot, blur = _MARGIN[lesion.margin]
    radius = float(np.mean(lesion.radii_mm))
    turn = np.linalg.qr(scene.patient.stream("turn " + lesion.id).standard_normal((3, 3)))[0]
    d = ellipsoid(w, lesion.centre, lesion.radii_mm, turn)
    d = d + scene.rough(lesion.id, w, min(rough * radius, 5.0), max(5.0, round(knot * radius)))
    return d, occupancy(d, scene.grid.voxel_mm + blur)


def _parts(scene: Scene, lesion: Lesion, w: Window, d: Real) -> list[tuple[str, Real]]:
    behaviour = lesion.behaviour
    core = f"lesion/{lesion.id}/core"
    if behaviour.rim is None:
        return [(core, np.ones_like(d))]
    thick = max(behaviour.rim_share * float(np.mean(lesion.radii_mm)), 1.5)
    inner = occupancy(d + thick, scene.grid.voxel_mm)
    if lesion.name == "liver_hemangioma":  # the rim is broken into nodules
        inner = np.maximum(inner, np.clip(0.5 + scene.rough("nodular " + lesion.id, w, 1.0, 8.0), 0, 1))
    return [(core, inner), (f"lesion/{lesion.id}/rim", 1 - inner)]


def lesion_hu(lesion: Lesion, part: str, phase_index: int) -> float:
    """Mean HU of a lesion's core or rim in a phase."""
    behaviour = lesion.behaviour
    curve = behaviour.rim if part == "rim" and behaviour.rim is not None else behaviour.core
    return float(curve[phase_index]) + lesion.shift_hu
