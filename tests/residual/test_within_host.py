from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from synth.parse import Entity, Relation
from synth.residual import AuditModel
from synth.residual.calibration import Plan, weigh
from synth.residual.conformal import Calibration
from synth.residual.evidence import entity_features
from synth.residual.within_host import host_features
from synth.volume import Mask

OF_HOST = {"host_step", "host_z", "host_rank"}
OF_RING = {"ring_step", "ring_z"}


def _with_another(world, toy, centre):
    """The parse with a second lesion of the liver drawn as a ball around `centre`, where there is none."""
    added = Entity(id="invented", name="metastasis")
    held = [Relation(type="located_in", subject="invented", object="liver")]
    return toy.parse.with_entity(added, world.ball(centre, 2.6), relations=held)


def _away(toy):
    """A place within the liver, on the other side of its centre than its lesion."""
    lesion, liver = (np.array(toy.parse.masks[i].centroid_voxel()) for i in ("lesion_1", "liver"))
    return liver - 3.9 * (lesion - liver) / np.linalg.norm(lesion - liver)


@pytest.fixture(scope="module")
def pairs(world):
    """Twelve patients with a faint lesion, 12 HU off its liver under 12 HU of noise, and another one claimed."""
    out = []
    for seed in range(12):
        toy = world.toy_patient(700 + seed, lesion=True)
        liver, lesion = toy.parse.masks["liver"], toy.parse.masks["lesion_1"]
        usual = float(np.median(liver.values(toy.image.array)))
        hu = toy.image.array.copy()
        hu[lesion.slices][lesion.box] += usual - 12.0 - 35.0
        out.append((toy.image.with_array(hu), _with_another(world, toy, _away(toy))))
    return out


def test_a_faint_lesion_stands_out_from_its_own_organ_and_an_invented_one_does_not(pairs):
    rows = [(host_features(*pair, id), id == "lesion_1") for pair in pairs for id in ("lesion_1", "invented")]
    truth = [there for _, there in rows]
    for key in sorted(OF_HOST | OF_RING):
        assert roc_auc_score(truth, [found[key] for found, _ in rows]) > 0.95, key


def test_a_brighter_image_of_the_same_patient_says_the_same(pairs):
    image, parse = pairs[0]
    plain, brighter = (host_features(i, parse, "lesion_1") for i in (image, image.with_array(image.array + 40.0)))
    assert plain == pytest.approx(brighter, abs=1e-3)


def test_a_drawn_lesion_does_not_speak_for_another_one(world):
    toy = world.toy_patient(711, lesion=True)
    lesion = toy.parse.masks["lesion_1"]
    over = _with_another(world, toy, np.array(lesion.centroid_voxel()) + np.array((2.5, 0.0, 0.0)))
    alone = over.without("lesion_1")
    shared, own = (host_features(toy.image, parse, "invented")["host_z"] for parse in (over, alone))
    assert shared < 1.0 < own


def test_without_an_organ_around_only_the_surroundings_are_asked(world):
    toy = world.toy_patient(712, lesion=True)
    held = host_features(toy.image, toy.parse, "lesion_1")
    bare = host_features(toy.image, toy.parse.without("liver"), "lesion_1")
    assert held.keys() >= OF_HOST | OF_RING
    assert bare.keys() == OF_RING


def test_an_organ_that_a_finding_fills_has_nothing_to_compare_with(world):
    toy = world.toy_patient(713, lesion=True)
    core = toy.parse.masks["lesion_1"]
    small = toy.parse.with_mask("liver", Mask.from_dense(core.dense()))
    assert not host_features(toy.image, small, "lesion_1").keys() & OF_HOST


def test_organs_are_not_asked(world):
    toy = world.toy_patient(714, lesion=True)
    of = {i: entity_features(None, world.prior(), toy.image, toy.parse, i).features for i in ("liver", "lesion_1")}
    assert of["lesion_1"].keys() - of["liver"].keys() >= OF_HOST | OF_RING
    assert not of["liver"].keys() & (OF_HOST | OF_RING)


@pytest.fixture(scope="module")
def weighed(world):
    """Findings of sixteen toy patients, weighed by themselves."""
    samples = world.claims_of_findings(range(800, 816), Plan(jitters=2, moves=1, hallucinations=2))
    return samples, weigh(samples)


def test_claims_are_of_findings_alone_and_invented_ones_are_as_rough_as_true_ones(weighed):
    samples, found = weighed
    assert {s.origin for s in samples} == {"untouched", "jittered", "moved", "hallucinated"}
    assert all("lesion_1" not in s.name and s.name != "liver" for s in samples)
    assert len(found.calibration.scores) == 16 * 3 == sum(s.truth for s in samples)
    assert weigh([s for s in samples if s.truth]) is None


def test_a_judge_weighs_findings_by_themselves_and_organs_as_before(world, weighed, tmp_path):
    _, findings = weighed
    before = world.model().judge("gaussian")
    judge = replace(before, findings=findings)
    bare = {name: 0.3 for name in before.presence.names if name != "host_step"}
    features = {**bare, "host_step": 1.0}
    assert judge.score(features, "liver") == before.score(features, "liver")
    assert judge.score(bare, "metastasis") == before.score(bare, "metastasis")  # no organ holds it
    assert judge.score(features, "metastasis") == findings.fusion.score(features, "metastasis")
    assert judge.weighing(features, "liver").calibration is before.calibration
    assert judge.weighing(bare, "metastasis").calibration is before.calibration
    assert judge.weighing(features, "metastasis").calibration is findings.calibration
    AuditModel(world.prior(), {"gaussian": judge}).save(tmp_path / "audit")
    again = AuditModel.load(tmp_path / "audit").judge("gaussian")
    assert again.score(features, "metastasis") == pytest.approx(judge.score(features, "metastasis"), abs=1e-3)
    assert again.findings.calibration.scores == Calibration.from_json(findings.calibration.to_json()).scores
    assert before.to_json()["findings"] is None


def test_an_audit_compares_a_lesion_with_lesions(world, weighed):
    from synth.pipeline.audit import AuditOptions, audit

    judges = {"gaussian": replace(world.model().judge("gaussian"), findings=weighed[1])}
    toy = world.toy_patient(820, lesion=True)
    model = replace(world.model(), judges=judges)
    parse = _with_another(world, toy, _away(toy))
    found = audit(toy.image, parse, AuditOptions(search=False), decoder=world.decoder(), model=model)
    said = {e.id: e for e in found.findings.entities}
    assert said["lesion_1"].verdict == "supported"
    assert said["invented"].verdict == "hallucinated"
    assert said["invented"].calibration.scores <= len(weighed[1].calibration.scores)
    assert {e.id for e in found.findings.flagged} == {"invented"}
