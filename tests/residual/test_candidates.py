"""Places that stand out from the organ around them, their outlines, and how they are told from sloppy borders."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synth.parse import Entity, Parse
from synth.residual.candidate import Outliner
from synth.residual.conformal import Calibration
from synth.residual.held_out import HeldOut
from synth.residual.hosts import holding, hosts_in
from synth.residual.judge import Judge
from synth.residual.missing import find
from synth.residual.searching import COMPLETE, NOTHING_FOUND, CandidateSample, Searched, fit_search, most_suspicious
from synth.residual.stand_out import OF_ORGAN, standing
from synth.volume import Geometry, Mask, Volume, body_mask

SHAPE = (36, 36, 36)


@pytest.fixture(scope="module")
def sloppy():
    """A liver in fat; its outline takes in a piece of the fat, beside a lesion of half the step."""
    rng = np.random.default_rng(0)
    hu = np.full(SHAPE, -100.0)
    liver = np.zeros(SHAPE, bool)
    liver[8:28, 8:28, 8:28] = True
    hu[liver] = 100.0
    lesion = np.zeros(SHAPE, bool)
    lesion[12:16, 12:16, 23:27] = True
    hu[lesion] = 30.0
    outline = liver.copy()
    outline[10:20, 10:20, 28:31] = True  # fat, one voxel of liver away from the lesion
    image = Volume((hu + rng.normal(0, 12, SHAPE)).astype(np.float32), Geometry.regular(SHAPE, 4.0), "CT", "HU")
    parse = Parse(
        (Entity(id="liver", name="liver"),), geometry=image.geometry, masks={"liver": Mask.from_dense(outline)}
    )
    z = np.zeros(SHAPE, np.float32)
    maps = standing(image, parse, z, np.ones(SHAPE, bool))
    held_out = HeldOut(image.array, np.full(SHAPE, 20.0, np.float32), Mask.from_dense(np.ones(SHAPE, bool)))
    outliner = Outliner(image, parse, held_out, z, maps)
    outlined = [c for c in map(outliner.outline, maps.places()) if c is not None]
    return SimpleNamespace(parse=parse, maps=maps, candidates=outlined, lesion=Mask.from_dense(lesion))


def test_a_lesion_beside_a_sloppy_border_is_a_place_of_its_own(sloppy):
    assert max(c.mask.dice(sloppy.lesion) for c in sloppy.candidates) > 0.7


def test_together_with_the_border_it_is_one_part(sloppy):
    # What makes the basins needed: beyond the threshold, the fat and the lesion are connected.
    places = [p for p in sloppy.maps.places() if p.strength < -OF_ORGAN]
    across = [p for p in places if p.box[2].start < 25 and p.box[2].stop > 29]
    assert across


def test_what_goes_on_beyond_its_outline_is_told_from_what_ends(sloppy):
    lesion = max(sloppy.candidates, key=lambda c: c.mask.dice(sloppy.lesion))
    fat = min(sloppy.candidates, key=lambda c: c.mean_hu)
    assert fat.mean_hu < -20
    of_lesion, of_fat = lesion.features(sloppy.parse), fat.features(sloppy.parse)
    assert of_fat["goes_on_2"] > of_lesion["goes_on_2"] + 0.1


def test_candidates_know_their_form_and_their_place(sloppy):
    lesion = max(sloppy.candidates, key=lambda c: c.mask.dice(sloppy.lesion))
    fat = min(sloppy.candidates, key=lambda c: c.mean_hu)
    of_lesion, of_fat = lesion.features(sloppy.parse), fat.features(sloppy.parse)
    assert of_fat["flatness"] > of_lesion["flatness"] + 0.3
    assert of_fat["outside_host"] > of_lesion["outside_host"]
    assert of_fat["depth_in_host"] < of_lesion["depth_in_host"]
    assert of_lesion["near_finding"] == 0.0


def test_an_organ_without_findings_of_its_own_is_not_looked_into(sloppy):
    image = Volume(np.full(SHAPE, 40.0, np.float32), sloppy.parse.geometry, "CT", "HU")
    image.array.flags.writeable = True
    image.array[14:18, 14:18, 14:18] = 300.0
    aorta = Parse((Entity(id="a", name="aorta"),), geometry=image.geometry, masks={"a": sloppy.parse.masks["liver"]})
    zero, everywhere = np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool)
    assert not any(m.any() for m in standing(image, aorta, zero, everywhere).organ)
    assert any(m.any() for m in standing(image, sloppy.parse, zero, everywhere).organ)


def test_a_lesion_that_the_render_foresees_is_tried_all_the_same(world):
    toy = world.toy_patient(70, lesion=True)
    body = body_mask(toy.image)
    perfect = HeldOut(toy.image.array, np.full_like(toy.image.array, 20.0), body)
    found = find(toy.image, toy.parse.without("lesion_1"), perfect, world.prior())
    assert found[0].mask.dice(toy.parse.masks["lesion_1"]) > 0.6
    assert found[0].peak == 0.0


def test_candidates_do_not_lie_on_each_other_and_are_as_many_as_asked_for(world):
    toy = world.toy_patient(70, lesion=True)
    held_out = HeldOut(toy.image.array - 40, np.full_like(toy.image.array, 12.0), body_mask(toy.image))
    found = find(toy.image, toy.parse.without("lesion_1"), held_out, world.prior(), most=2)
    assert len(found) <= 2
    assert all(
        a.mask.overlap(b.mask) <= 0.3 * max(a.mask.voxels, b.mask.voxels) for a in found for b in found if a != b
    )


def test_the_search_is_fitted_on_jittered_outlines(world):
    toy = world.toy_patient(100, lesion=True)
    decoder = world.decoder()
    searched = Searched(
        "toy", decoder, decoder.encode(toy.image), body_mask(toy.image), world.prior(), torch.Generator().manual_seed(0)
    )
    groups = searched.groups(toy.parse, np.random.default_rng(0), 1)
    assert set(groups) == {("toy", COMPLETE), ("toy", 0)}
    assert not any(c.truth for c in groups["toy", COMPLETE])
    assert any(c.truth for c in groups["toy", 0])


def test_regions_are_compared_with_those_of_their_organ():
    # What is dark in the middle is a lesion in a liver and the pelvis of a kidney.
    rng = np.random.default_rng(0)
    groups = {}
    for k in range(20):
        for site, at in (("liver", 0.0), ("kidney_left", 4.0)):
            chance = [CandidateSample(f"c{k}", "cyst", site, False, {"a": float(rng.normal(at))}) for _ in range(4)]
            there = CandidateSample(f"c{k}", "cyst", site, True, {"a": float(rng.normal(at + 3))})
            groups.setdefault((f"c{k}", COMPLETE), []).extend(chance)
            groups.setdefault((f"c{k}", 0), []).append(there)
    fusion, _ = fit_search(groups)
    judge = Judge("", fusion, Calibration(()), missing=fusion)
    in_liver, in_kidney = (judge.missing_score({"a": 3.5}, "cyst", site) for site in ("liver", "kidney_left"))
    assert in_liver > 0 > in_kidney


def test_a_lobe_holds_a_nodule_where_nobody_drew_the_lung():
    grid = Geometry.regular((24, 24, 24), 4.0)
    lobe = Mask.from_box((24, 24, 24), (2, 2, 2), np.ones((20, 20, 20), bool))
    nodule = Mask.from_box((24, 24, 24), (10, 10, 10), np.ones((4, 4, 4), bool))
    hu = np.random.default_rng(0).normal(-800, 10, (24, 24, 24)).astype(np.float32)
    hu[nodule.slices] = 20.0
    lone = Parse([Entity(id="lobe", name="lung_lower_lobe_left")], geometry=grid, masks={"lobe": lobe})
    lung = lone.with_entity(Entity(id="lung", name="lung_left"), lobe)
    assert [hosts_in(p) for p in (lone, lung)] == [["lobe"], ["lung"]]
    assert holding(nodule, lone) == "lobe"
    image, nothing = Volume(hu, grid, "CT", "HU"), np.zeros(hu.shape, np.float32)
    found = standing(image, lone, nothing, np.ones(hu.shape, bool)).places()
    assert nodule.dense()[max(found, key=lambda place: place.strength).focus]


def test_the_most_suspicious_region_of_each_complete_parse_is_kept():
    rng = np.random.default_rng(0)

    def region(case, there):
        return CandidateSample(case, "metastasis", "liver", there, {"a": float(rng.normal(3.0 * there))})

    groups = {}
    for k in range(10):
        groups[f"c{k}", COMPLETE] = [region(f"c{k}", False) for _ in range(5)]
        groups[f"c{k}", 0] = [region(f"c{k}", True), region(f"c{k}", False)]
    fusion, most = fit_search(groups)
    assert len(most) == 10
    assert fusion.score({"a": 3.0}, "liver") > 0 > fusion.score({"a": 0.0}, "liver")
    assert most_suspicious([], lambda c: 1.0) == NOTHING_FOUND
    assert fit_search({("c0", COMPLETE): groups["c0", COMPLETE]}) == (None, ())


def test_what_stands_out_in_bone_is_no_region_of_a_complete_parse():
    found = [CandidateSample("c", "lesion", site, False, {"a": a}) for site, a in (("bone", 9.0), ("liver", 2.0))]
    assert most_suspicious(found, lambda c: c.features["a"]) == 2.0
    assert most_suspicious(found[:1], lambda c: c.features["a"]) == NOTHING_FOUND
