"""The phantoms: closed parses, true masks, the same patient whatever the grid or the phase."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from synth.errors import InputError
from synth.parse import VOCABULARY, Presence
from synth.parse.derive.appearance import measured_appearance
from synth.phantom import LesionSpec, Phantom, PhantomSpec, anatomy, make, sample_spec
from synth.phantom.asked import asked_spec
from synth.phantom.names import LABEL_ORDER

SHAPE = (56, 44, 60)
SPACING = (7.0, 7.0, 7.0)
PLAIN = PhantomSpec(field_of_view="abdomen_pelvis", centre_z_mm=100.0, noise_hu=4.0)


@lru_cache
def phantom(seed: int = 3, spec: PhantomSpec = PLAIN) -> Phantom:
    return make(seed, spec=spec, spacing_mm=SPACING, shape=SHAPE)


def mean_hu(of: Phantom, name: str, phase: str | None = None) -> float:
    image = of.phases[phase or of.spec.phase].array
    inside = of.parse.mask(name).dense()
    core = ndimage.binary_erosion(inside)
    return float(image[core if core.sum() > 10 else inside].mean())


def test_the_same_seed_gives_the_same_voxels_and_the_same_parse() -> None:
    again = make(3, spec=PLAIN, spacing_mm=SPACING, shape=SHAPE)
    assert again.image.sha256() == phantom().image.sha256()
    assert again.parse == phantom().parse


def test_another_seed_gives_another_patient() -> None:
    other = make(4, spec=PLAIN, spacing_mm=SPACING, shape=SHAPE)
    assert other.parse.mask("liver").dice(phantom().parse.mask("liver")) < 0.95


def test_every_major_organ_is_there_and_of_human_size() -> None:
    parse = phantom().parse
    millilitres = {
        "liver": (700, 2600),
        "spleen": (50, 500),
        "kidney_left": (80, 330),
        "kidney_right": (80, 330),
        "pancreas": (20, 180),
        "aorta": (40, 400),
        "vertebrae_L3": (25, 110),
        "colon": (250, 1600),
        "small_bowel": (300, 2200),
        "urinary_bladder": (20, 600),
        "autochthon_left": (200, 900),
    }
    for name, (low, high) in millilitres.items():
        assert low < parse.mask(name).volume_ml(parse.geometry) < high, name


def test_every_entity_is_in_the_vocabulary_and_in_the_label_order_or_covered_by_others() -> None:
    covered = {"body", "bone", "bowel_gas"} | {f"liver_segment_{n}" for n in range(1, 9)}
    for entity in phantom().parse.entities:
        assert entity.name in VOCABULARY
        assert entity.name in LABEL_ORDER or entity.name in covered


def test_organs_exclude_each_other() -> None:
    parse = phantom().parse
    covered = {"body", "bone", "bowel_gas", "skeletal_muscle"}
    total = np.zeros(SHAPE, int)
    for id in parse.masks:
        if id not in covered and not id.startswith("liver_segment"):
            total += parse.mask(id).dense()
    assert total.max() == 1


def test_the_liver_segments_part_the_liver() -> None:
    parse = phantom().parse
    segments = [parse.mask(id) for id in parse.masks if id.startswith("liver_segment")]
    assert len(segments) >= 7
    assert sum(s.voxels for s in segments) == parse.mask("liver").voxels
    assert all(s.overlap(parse.mask("liver")) == s.voxels for s in segments)


def test_tissues_have_the_attenuation_of_their_kind() -> None:
    one = phantom()
    assert -125 < mean_hu(one, "subcutaneous_fat") < -80
    assert 20 < mean_hu(one, "skeletal_muscle") < 80
    assert mean_hu(one, "bone") > 120
    assert mean_hu(one, "bowel_gas") < -600
    assert mean_hu(one, "urinary_bladder") < 40


def test_the_phases_show_one_anatomy_with_the_enhancement_of_each() -> None:
    phases = ("unenhanced", "arterial", "portal_venous")
    one = phantom(5, dataclasses.replace(PLAIN, phase="arterial", phases=phases))
    assert set(one.phases) == set(phases)
    assert mean_hu(one, "aorta", "arterial") > mean_hu(one, "aorta", "portal_venous") + 50
    assert mean_hu(one, "aorta", "portal_venous") > mean_hu(one, "aorta", "unenhanced") + 40
    assert mean_hu(one, "liver", "portal_venous") > mean_hu(one, "liver", "arterial") + 10
    assert abs(mean_hu(one, "subcutaneous_fat", "arterial") - mean_hu(one, "subcutaneous_fat", "unenhanced")) < 5
    assert one.image is one.phases["arterial"]


@pytest.mark.parametrize("name", ["kidney_left", "gallbladder", "spleen"])
def test_a_removed_organ_is_absent_and_its_place_holds_other_tissue(name: str) -> None:
    before, after = phantom(), phantom(3, dataclasses.replace(PLAIN, absent=(name,)))
    entity = after.parse.entity(name)
    assert entity.presence is Presence.absent
    assert name not in after.parse.masks
    place = before.parse.mask(name)
    others = [m for id, m in after.parse.masks.items() if id not in ("body", "bone")]
    assert sum(place.overlap(m) for m in others) > 0.9 * place.voxels


def test_removing_an_organ_leaves_what_is_far_from_it_where_it_was() -> None:
    before, after = phantom(), phantom(3, dataclasses.replace(PLAIN, absent=("kidney_left",)))
    for name in ("vertebrae_L2", "hip_right", "urinary_bladder"):
        assert before.parse.mask(name) == after.parse.mask(name)


def test_the_patient_does_not_depend_on_the_grid() -> None:
    coarse = anatomy(3, spec=PLAIN, spacing_mm=(8.0, 8.0, 8.0), shape=(48, 36, 48))
    fine = anatomy(3, spec=PLAIN, spacing_mm=(4.0, 4.0, 4.0), shape=(96, 72, 96))
    for name in ("liver", "kidney_right", "small_bowel", "colon"):
        a, b = (float(g.masks[name].sum()) * np.prod(g.grid.spacing_mm) for g in (coarse, fine))
        assert abs(a - b) < 0.15 * b, name
        places = [np.argwhere(g.masks[name]).mean(0) * g.grid.spacing_mm + g.grid.origin_mm for g in (coarse, fine)]
        assert np.linalg.norm(places[0] - places[1]) < 8.0, name


LESIONS = (
    LesionSpec("metastasis", "liver", 40.0),
    LesionSpec("liver_cyst", "liver", 30.0),
    LesionSpec("kidney_cyst_right", "kidney_right", 30.0),
    LesionSpec("gallstone", "gallbladder", 12.0),
)


def test_lesions_lie_in_their_organs_with_the_size_and_the_look_asked_for() -> None:
    one = phantom(6, dataclasses.replace(PLAIN, lesions=LESIONS))
    parse = one.parse
    metastasis, cyst = parse.by_name("metastasis")[0], parse.by_name("liver_cyst")[0]
    for lesion, wanted in ((metastasis, 40.0), (cyst, 30.0)):
        mask = parse.mask(lesion.id)
        assert mask.overlap(parse.mask("liver")) == mask.voxels
        diameter = 2 * (mask.volume_ml(parse.geometry) * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
        assert 0.55 * wanted < diameter < 1.25 * wanted
    assert mean_hu(one, cyst.id) < mean_hu(one, "liver") - 40
    assert mean_hu(one, metastasis.id) < mean_hu(one, "liver") - 10
    located = {(r.subject, r.object) for r in parse.relations if r.type == "located_in"}
    assert (metastasis.id, "liver") in located
    assert (parse.by_name("kidney_cyst_right")[0].id, "kidney_right") in located
    readings = {a.type: a.value for a in parse.attributes_of(cyst.id)}
    assert readings["attenuation_class"] == "fluid"
    assert readings["enhancement_pattern"] == "none"


def test_what_is_read_of_a_lesion_is_its_mean_and_not_its_core() -> None:
    """A bright rim is a part of the lesion: declared is what the vocabulary says, the mean over the whole."""
    lesions = (LesionSpec("metastasis", "liver", 40.0), LesionSpec("liver_hemangioma", "liver", 36.0))
    spec = dataclasses.replace(PLAIN, phase="arterial", phases=("unenhanced", "arterial"), lesions=lesions)
    one = phantom(6, spec)
    plain = phantom(6, dataclasses.replace(spec, phase="unenhanced"))
    for name, core_rise in (("metastasis", 8.0), ("liver_hemangioma", 13.0)):
        (lesion,) = one.parse.by_name(name)
        (rise,) = [float(a.value) for a in one.parse.attributes_of(lesion.id) if a.type == "enhancement"]
        seen = [
            measured_appearance(p.parse, lesion, p.phases[phase])["mean_attenuation"]
            for p, phase in ((one, "arterial"), (plain, "unenhanced"))
        ]
        assert rise == pytest.approx(seen[0] - seen[1], abs=3.0)
        assert rise >= core_rise
        assert (rise > core_rise + 10) is (name == "liver_hemangioma")  # its nodules are much of it, a rim is not
    assert not [a for a in plain.parse.attributes if a.type == "enhancement"]


def test_a_lesion_changes_the_image_only_where_it_is() -> None:
    """Same seed and noise, with and without the lesion."""
    plain = phantom(6, PLAIN)
    with_one = phantom(6, dataclasses.replace(PLAIN, lesions=LESIONS[1:2]))
    change = np.abs(plain.image.array - with_one.image.array) > 1.0
    near = ndimage.binary_dilation(with_one.parse.mask("liver_cyst_1").dense(), iterations=2)
    assert change[near].any()
    assert not change[~near].any()


def test_steatosis_darkens_the_liver_by_grade_and_is_declared() -> None:
    spec = dataclasses.replace(PLAIN, phase="unenhanced", phases=("unenhanced",))
    grades = [phantom(3, dataclasses.replace(spec, steatosis=grade)) for grade in ("S0", "S1", "S3")]
    hu = [mean_hu(one, "liver") for one in grades]
    assert hu[0] > hu[1] + 8 > hu[2] + 30
    assert any(a.type == "steatosis_grade" and a.value == "S3" for a in grades[2].parse.attributes_of("liver"))


def test_relations_say_what_drains_what() -> None:
    edges = {r.key for r in phantom().parse.relations}
    assert ("drains_from", "portal_vein_and_splenic_vein", "spleen") in edges
    assert ("drains_from", "inferior_vena_cava", "liver") in edges
    assert ("part_of", "liver_segment_4", "liver") in edges
    assert not phantom(3, dataclasses.replace(PLAIN, absent=("spleen",))).parse.relations_of("spleen")


def test_the_circumstance_names_the_image_and_its_maker() -> None:
    circumstance = phantom().parse.circumstance
    assert circumstance.image_sha256 == phantom().image.sha256()
    assert circumstance.phase == "portal_venous"
    assert "abdomen" in circumstance.field_of_view


def test_an_organ_at_the_border_is_marked_as_cut() -> None:
    parse = phantom().parse
    assert parse.entity("subcutaneous_fat").truncated
    assert not parse.entity("kidney_right").truncated


def test_noise_is_correlated_and_as_strong_as_asked() -> None:
    quiet = phantom(3, dataclasses.replace(PLAIN, noise_hu=1.0))
    loud = phantom(3, dataclasses.replace(PLAIN, noise_hu=20.0))
    difference = loud.image.array - quiet.image.array
    inside = loud.parse.mask("liver").dense()
    assert 5 < difference[inside].std() < 30


def test_sampled_specs_vary_and_are_reproducible() -> None:
    specs = [sample_spec(seed) for seed in range(200)]
    assert specs[:3] == [sample_spec(seed) for seed in range(3)]
    assert {s.phase for s in specs} == {"unenhanced", "arterial", "portal_venous", "delayed"}
    assert any("kidney_left" in s.absent for s in specs)
    assert {s.steatosis for s in specs} == {"S0", "S1", "S2", "S3"}
    assert not any({"kidney_left", "kidney_right"} <= set(s.absent) for s in specs)


@pytest.mark.parametrize(
    ("field", "value"),
    [("phase", "venous"), ("absent", ("liver",)), ("steatosis", "S9"), ("field_of_view", "toe"), ("sex", "x")],
)
def test_a_spec_with_an_unknown_choice_is_refused_with_the_choices(field: str, value: object) -> None:
    with pytest.raises(InputError, match="expected one of"):
        dataclasses.replace(PhantomSpec(), **{field: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "text", ["metastasis", "metastasis:liver:big", "wart:liver:10", "metastasis:toe:10", "metastasis:liver:900"]
)
def test_a_lesion_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="lesion"):
        asked_spec(1, lesions=[text])
