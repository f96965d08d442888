"""Entities that the parse does not claim: the image may point one way or the other, and nothing is a verdict."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from synth.parse import Entity, Parse, Presence
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.residual.findings import EntityFinding, Findings, Leaning, Verdict
from synth.volume import Mask, Volume


def _audit(world: ModuleType, image: Volume, parse: Parse, **options: Any) -> AuditReport:
    model, options = world.model(), AuditOptions(search=False, **options)
    return audit(image, parse, options, decoder=world.decoder(), model=model)


def _of(report: AuditReport, id: str) -> EntityFinding:
    return next(e for e in report.entities if e.id == id)


@pytest.fixture(scope="module")
def doubted(world: ModuleType) -> AuditReport:
    """A patient without a right kidney: the parse is uncertain of that kidney and of the spleen, which is there."""
    toy = world.toy_patient(200, lesion=True, removed="kidney_right")
    kidney = Entity(id="kidney_right", name="kidney_right", presence=Presence.uncertain)
    parse = toy.parse.without("kidney_right").with_entity(kidney, toy.places["kidney_right"])
    return _audit(world, toy.image, parse.with_presence("spleen", Presence.uncertain))


def test_the_image_speaks_against_an_uncertain_entity_that_is_not_there(doubted: AuditReport) -> None:
    kidney = _of(doubted, "kidney_right")
    assert kidney.leaning is Leaning.speaks_against
    assert kidney.score is not None
    assert kidney.score < 0
    assert "the image speaks against it" in kidney.reason


def test_the_image_speaks_for_an_uncertain_entity_that_is_there(doubted: AuditReport) -> None:
    spleen = _of(doubted, "spleen")
    assert spleen.leaning is Leaning.speaks_for
    assert "the image speaks for it" in spleen.reason


def test_nothing_uncertain_is_a_verdict_a_rank_or_a_checked_claim(doubted: AuditReport) -> None:
    found = doubted.findings
    assert [e.id for e in found.uncertain] == ["spleen", "kidney_right"]
    assert all(e.verdict is None and e.suspicion_rank is None for e in found.uncertain)
    assert not {e.id for e in found.flagged} & {"kidney_right", "spleen"}
    assert found.calibration["checked"] == len(found.checked) == len(found.entities) - 2
    assert doubted.renders("kidney_right") is not None


def test_what_is_uncertain_is_asked_as_if_it_were_claimed(world: ModuleType) -> None:
    toy = world.toy_patient(210)
    claimed = _audit(world, toy.image, toy.parse)
    doubted = _audit(world, toy.image, toy.parse.with_presence("spleen", Presence.uncertain))
    assert _of(doubted, "spleen").score == _of(claimed, "spleen").score
    assert _of(doubted, "spleen").evidence == _of(claimed, "spleen").evidence


def test_an_uncertain_entity_that_cannot_be_asked_about_is_not_decided(world: ModuleType) -> None:
    toy = world.toy_patient(220)
    tiny = Mask.from_box(toy.parse.geometry.shape, (20, 20, 20), [[[True]]])
    doubt = Entity(id="dot", name="metastasis", presence=Presence.uncertain)
    found = _of(_audit(world, toy.image, toy.parse.with_entity(doubt, tiny)), "dot")
    assert (found.verdict, found.leaning, found.score) == (None, Leaning.does_not_decide, None)
    assert "does not decide: too small" in found.reason


@pytest.mark.parametrize("presence", [Presence.uncertain, Presence.not_assessed, Presence.absent])
def test_without_a_mask_nothing_is_judged_and_the_reason_says_so(world: ModuleType, presence: Presence) -> None:
    toy = world.toy_patient(230)
    parse = toy.parse.without("spleen").with_entity(Entity(id="spleen", name="spleen", presence=presence))
    found = _of(_audit(world, toy.image, parse), "spleen")
    assert (found.verdict, found.leaning, found.score, found.p_value) == (None, None, None, None)
    assert ("not assessed" if presence is Presence.not_assessed else "declared") in found.reason


def test_an_uncertain_entity_changes_no_verdict_p_value_or_drift_of_the_others(world: ModuleType) -> None:
    toy = world.toy_patient(240)
    extra = Entity(id="doubt", name="metastasis", presence=Presence.uncertain)
    place = toy.places["kidney_left"]
    alone, beside = (_audit(world, toy.image, p) for p in (toy.parse, toy.parse.with_entity(extra, place)))
    others = [e for e in beside.entities if e.id != "doubt"]
    told = [(e.id, e.verdict, e.calibration) for e in alone.entities]
    assert told == [(e.id, e.verdict, e.calibration) for e in others]
    assert Findings.model_validate(beside.to_json()) == beside.findings
    assert Verdict.hallucinated not in {e.verdict for e in others}
