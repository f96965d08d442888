"""What is there and drawn wrongly is wrong in its extent, not hallucinated; what is not there stays hallucinated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synth.decoder import load_decoder
from synth.fault import FaultSpec, inject
from synth.parse import Entity, Parse
from synth.phantom import Phantom, make, sample_spec
from synth.pipeline.audit import AuditOptions, AuditReport, audit, shipped_model
from synth.pipeline.audit_elsewhere import audit_elsewhere
from synth.pipeline.tiers import tiers_of
from synth.population import Population
from synth.report.folder import save_report
from synth.residual.elsewhere import PLACES, fitted, places, resized
from synth.residual.findings import Verdict
from synth.volume import Mask, dilated, eroded, read_mask

KEPT = ("liver", "stomach", "spleen", "kidney_right", "pancreas", "aorta", "adrenal_gland_left", "colon")


@pytest.fixture(scope="module")
def patient() -> Phantom:
    spec = replace(sample_spec(98_200), absent=("kidney_left",), field_of_view="abdomen", lesions=())
    return make(98_200, spec=spec, spacing_mm=(4.0, 4.0, 4.0))


def audited(patient: Phantom, parse: Parse) -> AuditReport:
    few = parse.without(*[e.id for e in parse.entities if e.id not in (*KEPT, "claimed")])
    return audit(patient.image, few, AuditOptions(decoder="direct", search=False))


def test_a_kidney_drawn_too_large_is_wrong_in_its_extent_and_a_better_outline_is_proposed(
    patient: Phantom, tmp_path: Path
) -> None:
    true = patient.parse.masks["kidney_right"]
    larger = dilated(true, patient.parse.geometry, 9.0)
    report = audited(patient, patient.parse.with_mask("kidney_right", larger))
    said = next(e for e in report.entities if e.id == "kidney_right")
    assert said.verdict is Verdict.wrong_extent
    proposed = report.examined["kidney_right"].proposed
    assert proposed is not None
    assert proposed.dice(true) > larger.dice(true) + 0.1
    findings = save_report(report, tmp_path / "audit")
    name = next(e for e in findings.entities if e.id == "kidney_right").proposed_mask
    assert name is not None
    assert read_mask(tmp_path / "audit" / name)[0] == proposed


def test_an_organ_that_is_not_there_stays_hallucinated(patient: Phantom) -> None:
    mirror = patient.parse.masks["kidney_right"].dense()[::-1]
    for id in patient.parse.present_ids:
        mask = patient.parse.masks[id]
        if patient.parse.entity(id).kind == "organ":
            mirror[mask.slices] &= ~mask.box
    claimed = patient.parse.without("kidney_left").with_entity(
        Entity(id="claimed", name="kidney_left"), Mask.from_dense(mirror)
    )
    report = audited(patient, claimed)
    assert {e.id: e.verdict for e in report.entities}["claimed"] is Verdict.hallucinated


def test_a_mask_moved_away_stays_hallucinated(patient: Phantom) -> None:
    spec = FaultSpec("move", entity="spleen", severity_mm=(70.0, 90.0))
    moved = inject(patient.parse, spec, np.random.default_rng(0), image=patient.image)
    found = {e.id: e for e in audited(patient, moved.parse).entities}
    assert found["spleen"].verdict in (Verdict.hallucinated, Verdict.wrong_label)


def test_other_outlines_are_smaller_larger_or_a_part_and_stay_in_the_image(patient: Phantom) -> None:
    drawn = patient.parse.masks["spleen"]
    tried = list(resized(drawn))
    assert [how for how, _ in tried] == ["smaller", "larger"] * 3
    assert all((mask.voxels < drawn.voxels) == (how == "smaller") for how, mask in tried)
    at_the_edge = Mask.from_box((10, 10, 10), (0, 0, 0), np.ones((4, 4, 4), bool))
    assert all(mask.shape == (10, 10, 10) for _, mask in resized(at_the_edge))


def test_a_mask_is_cut_to_what_looks_like_the_organ_and_grown_over_it(patient: Phantom) -> None:
    prior, parse = shipped_model().prior, patient.parse
    true = parse.masks["kidney_right"]

    def tried(mask: Mask) -> dict[str, float]:
        found = fitted(patient.image, parse.with_mask("kidney_right", mask), "kidney_right", prior)
        return {how: each.dice(true) for how, each in found}

    swollen, shrunk = dilated(true, parse.geometry, 12.0), eroded(true, parse.geometry, 8.0)
    assert tried(swollen)["part"] > swollen.dice(true) + 0.2
    assert tried(shrunk)["larger"] > shrunk.dice(true) + 0.2


@pytest.mark.parametrize("step", [(5, 0, 0), (0, -9, 0), (6, 6, 6)])
def test_a_moved_mask_is_tried_where_it_was(patient: Phantom, step: tuple[int, int, int]) -> None:
    true = patient.parse.masks["kidney_right"]
    moved = patient.parse.with_mask("kidney_right", Mask.from_dense(np.roll(true.dense(), step, (0, 1, 2))))
    tried = [mask for _, mask in places(patient.image, moved, "kidney_right", shipped_model().prior)]
    assert 0 < len(tried) <= PLACES
    assert max(mask.dice(true) for mask in tried) > 0.8


def test_a_mask_moved_half_off_its_organ_is_wrong_in_its_extent(patient: Phantom) -> None:
    true = patient.parse.masks["kidney_right"]
    moved = Mask.from_dense(np.roll(true.dense(), 9, 2))
    assert 0.1 < moved.dice(true) < 0.6
    report = audited(patient, patient.parse.with_mask("kidney_right", moved))
    assert next(e.verdict for e in report.entities if e.id == "kidney_right") is Verdict.wrong_extent
    proposed = report.examined["kidney_right"].proposed
    assert proposed is not None
    assert proposed.dice(true) > 0.8


def test_an_organ_under_another_name_is_named(patient: Phantom) -> None:
    entities = [e.changed(name="gallbladder") if e.id == "stomach" else e for e in patient.parse.entities]
    said = next(e for e in audited(patient, patient.parse.replace(entities=entities)).entities if e.id == "stomach")
    assert (said.verdict, said.proposed_name) == (Verdict.wrong_label, "stomach")
    assert "stomach" in (said.reason or "")


def test_a_claimed_lesion_is_not_looked_for_nearby(patient: Phantom) -> None:
    centre = np.array([round(c) for c in patient.parse.masks["liver"].centroid_voxel()])
    lesion = Mask.from_box(patient.image.shape, tuple(int(c) - 2 for c in centre), np.ones((5, 5, 5), bool))
    claimed = patient.parse.with_entity(Entity(id="claimed", name="metastasis"), lesion)
    shown = {"verdict": Verdict.hallucinated}
    report = audited(patient, claimed)
    each = next(a for a in report.examined.values() if a.finding.id == "claimed")
    flagged = replace(each, finding=each.finding.model_copy(update=shown))
    few = claimed.without(*[e.id for e in claimed.entities if e.id not in (*KEPT, "claimed")]).without_derived()
    model, decoder = shipped_model(), load_decoder("direct")
    (tier,) = tiers_of(decoder, patient.image, model, (1,))
    (after,) = audit_elsewhere(tier, few, [flagged], model, Population.load(), image=patient.image, seed=0)
    assert after.finding.verdict is Verdict.hallucinated
