"""The whole patient, drawn in order, on any grid: the array-level generator under `make`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synth.phantom.body import draw_surfaces
from synth.phantom.bowel import coarse_grid, draw_colon, draw_small_bowel, plan_small_bowel
from synth.phantom.chest import draw_heart, draw_lungs, draw_thyroid
from synth.phantom.grid import Grid, Real
from synth.phantom.hollow import draw_duodenum, draw_pelvic_organs, draw_stomach
from synth.phantom.intensity import render
from synth.phantom.lesions import Lesion, draw_lesions, place_lesions
from synth.phantom.muscles import draw_named_muscles, draw_wall
from synth.phantom.patient import Patient
from synth.phantom.pelvis import draw_pelvis
from synth.phantom.ribs import draw_chest
from synth.phantom.scanner import scan
from synth.phantom.scene import Scene
from synth.phantom.sdf import Field
from synth.phantom.solid import draw_gallbladder, draw_kidneys, draw_liver, draw_pancreas, draw_spleen, liver_segments
from synth.phantom.spec import LOBES, UNENHANCED, PhantomSpec, sample_spec
from synth.phantom.spine import draw_spine
from synth.phantom.vessels import draw_crura, draw_great_vessels, draw_mesentery, draw_portal


@dataclass(frozen=True)
class Anatomy:
    """Images (HU, by phase) and masks by entity id on one grid; one mask may lie inside another.

    `noise_free` is what was scanned for the primary phase and without contrast medium, before kernel, noise and table.
    """

    grid: Grid
    images: Mapping[str, Real]
    noise_free: Mapping[str, Real]
    masks: Mapping[str, np.ndarray]
    spec: PhantomSpec
    seed: int
    lesions: tuple[Lesion, ...] = ()

    @property
    def image(self) -> Real:
        return self.images[self.spec.phase]


def anatomy(
    seed: int,
    *,
    spec: PhantomSpec | None = None,
    spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0),
    shape: tuple[int, int, int] | None = None,
) -> Anatomy:
    """Draw patient `seed` and scan it."""
    spec = spec or sample_spec(seed)
    patient = Patient(seed, spec)
    grid = field_of_view(patient, spacing_mm, shape)
    scene = draw(patient, grid)
    noise_free = {phase: render(scene, phase) for phase in {*spec.phases, UNENHANCED}}
    images = {phase: scan(scene, noise_free[phase], phase) for phase in spec.phases}
    kept = {phase: noise_free[phase] for phase in (spec.phase, UNENHANCED)}
    return Anatomy(grid, images, kept, _masks(scene), spec, seed, scene.lesions)


_VIEW_Z = {
    "torso": (-170.0, 500.0),
    "abdomen_pelvis": (-150.0, 270.0),
    "abdomen": (-10.0, 280.0),
    "chest_abdomen": (40.0, 480.0),
}


def field_of_view(patient: Patient, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int] | None) -> Grid:
    """The grid of the scan: the view of the spec, or `shape` voxels about a place drawn from the seed."""
    rng = patient.stream("view")
    low, high = (v * patient.spec.height for v in _VIEW_Z[patient.spec.field_of_view])
    middle = np.array([rng.normal(0, 6), rng.normal(2 + 18 * patient.spec.belly, 6), (low + high) / 2])
    if shape is None:
        extent = np.array([rng.uniform(340, 430), rng.uniform(290, 340), high - low])
        shape = tuple(int(np.ceil(e / s)) for e, s in zip(extent, spacing_mm, strict=True))  # type: ignore[assignment]  # always three
    else:
        half = shape[2] * spacing_mm[2] / 2
        if high - low > 2 * half:
            middle[2] = rng.uniform(low + half, high - half)
    if patient.spec.centre_z_mm is not None:
        middle[2] = patient.spec.centre_z_mm
    assert shape is not None
    origin = middle - (np.array(shape) - 1) * np.array(spacing_mm) / 2
    return Grid(shape, spacing_mm, tuple(np.round(origin, 1).tolist()))


def draw(patient: Patient, grid: Grid) -> Scene:
    """Everything in its order of precedence: bone, vessels, organs, bowel, muscle, lungs, fat."""
    plan = _draw_without_loops(Scene(patient, coarse_grid()), plan=True)
    loops = plan_small_bowel(plan)
    draw_lungs(plan)
    scene = _draw_without_loops(Scene(patient, grid, lesions=place_lesions(plan)))
    draw_small_bowel(scene, loops)
    draw_mesentery(scene, loops)
    draw_wall(scene)
    since = len(scene.layers)
    draw_lungs(scene)
    for name in LOBES:
        draw_lesions(scene, name, since)
    _fat(scene)
    return scene


def _draw_without_loops(scene: Scene, *, plan: bool = False) -> Scene:
    draw_surfaces(scene)
    draw_spine(scene)
    if not plan:
        draw_chest(scene)
    draw_pelvis(scene)
    draw_great_vessels(scene)
    draw_crura(scene)
    draw_named_muscles(scene)
    since = len(scene.layers)
    draw_kidneys(scene)
    for organ in ("kidney_right", "kidney_left"):
        draw_lesions(scene, organ, since)
    draw_spleen(scene)
    draw_portal(scene)
    draw_heart(scene)
    draw_thyroid(scene)
    since = len(scene.layers)
    draw_gallbladder(scene)
    draw_lesions(scene, "gallbladder", since)
    draw_pancreas(scene)
    draw_duodenum(scene)
    draw_stomach(scene)
    since = len(scene.layers)
    draw_liver(scene)
    draw_lesions(scene, "liver", since)
    draw_pelvic_organs(scene)
    draw_colon(scene)
    return scene


def _fat(scene: Scene) -> None:
    """Skin, then fat in all that is left: visceral inside the cavity, subcutaneous outside."""
    full = scene.grid.full()
    rim = np.maximum(-scene.surfaces["skin"] - 2.0, -30.0)
    scene.claim(None, Field(full, rim), "skin", gap=None)
    cavity = scene.surfaces["cavity"]
    scene.claim("visceral_fat", Field(full, cavity), "visceral_fat", gap=None)
    scene.claim("subcutaneous_fat", Field(full, np.full(scene.grid.shape, -50.0, np.float32)), "fat", gap=None)


def _masks(scene: Scene) -> dict[str, np.ndarray]:
    out = {name: scene.dense(name) for name in scene.masks}
    muscles = [n for n in out if n.startswith(("autochthon", "iliopsoas", "gluteus"))]
    for name in muscles:
        out["skeletal_muscle"] |= out[name]
    out["body"] = scene.surfaces["skin"] < 0
    out["bowel_gas"] = scene.amount("bowel_gas") >= 0.5
    out["bone"] = (
        scene.amount(
            "cortical", "trabecular", "rib_marrow", "sacral_marrow", "pelvic_marrow", "femoral_marrow", "fat_marrow"
        )
        >= 0.5
    )
    if "liver" in out:
        out |= liver_segments(scene)
    return {name: mask for name, mask in out.items() if mask.any()}
