"""The parser's confidence orders what the audit found, and does nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from synth.errors import InputError
from synth.parse import Entity, Parse
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.report.page import report_html
from synth.residual.findings import Verdict
from synth.volume import Volume


def _audit(world: ModuleType, image: Volume, parse: Parse, **options: Any) -> AuditReport:
    model, options = world.model(), AuditOptions(search=False, **options)
    return audit(image, parse, options, decoder=world.decoder(), model=model)


def _sure(parse: Parse, confidences: Mapping[str, float]) -> Parse:
    entities = [e.changed(confidence=confidences[e.id]) if e.id in confidences else e for e in parse.entities]
    return parse.replace(entities=entities)


@pytest.fixture(scope="module")
def wrong(world: ModuleType) -> tuple[Volume, Parse]:
    toy = world.toy_patient(200, lesion=True, removed="kidney_right")
    kidney = Entity(id="kidney_right", name="kidney_right")
    return toy.image, toy.parse.without("kidney_right").with_entity(kidney, toy.places["kidney_right"])


@pytest.fixture(scope="module")
def plain(world: ModuleType, wrong: tuple[Volume, Parse]) -> AuditReport:
    return _audit(world, *wrong)


def test_a_parse_without_confidences_is_ranked_as_before(plain: AuditReport) -> None:
    assert all(e.fused is None for e in plain.entities)
    assert plain.findings.calibration["parser_confidences"] == 0


def test_the_same_confidence_everywhere_keeps_the_audits_order(
    world: ModuleType, wrong: tuple[Volume, Parse], plain: AuditReport
) -> None:
    image, parse = wrong
    found = _audit(world, image, _sure(parse, dict.fromkeys(parse.ids, 0.8)))
    assert [e.id for e in found.findings.ranked] == [e.id for e in plain.findings.ranked]
    assert all(e.fused is None or e.fused.audit_rank == e.suspicion_rank for e in found.entities)


def test_a_sure_parser_hides_nothing_and_a_doubtful_one_flags_nothing(
    world: ModuleType, wrong: tuple[Volume, Parse], plain: AuditReport
) -> None:
    image, parse = wrong
    flattered = dict.fromkeys(parse.ids, 0.01) | {"kidney_right": 1.0}
    found = _audit(world, image, _sure(parse, flattered), parser_weight=4.0)
    same = ("verdict", "score", "p_value", "reason")
    for before, after in zip(plain.entities, found.entities, strict=True):
        assert [getattr(before, k) for k in same] == [getattr(after, k) for k in same]
    first = found.findings.ranked[0]
    assert (first.id, first.verdict, first.suspicion_rank) == ("kidney_right", Verdict.hallucinated, 1)
    assert first.fused is not None
    assert first.fused.total_nats == max(e.fused.total_nats for e in found.entities if e.fused)


def test_a_doubtful_parser_moves_its_entity_up_among_what_is_not_flagged(
    world: ModuleType, wrong: tuple[Volume, Parse], plain: AuditReport
) -> None:
    image, parse = wrong
    last = plain.findings.checked[-1].id
    found = _audit(world, image, _sure(parse, {last: 0.01}))
    moved = next(e for e in found.entities if e.id == last)
    assert moved.fused is not None
    assert moved.suspicion_rank == 2 < moved.fused.audit_rank
    assert moved.fused.total_nats == pytest.approx(moved.fused.audit_nats + moved.fused.parser_nats, abs=1e-3)
    other = next(e for e in found.entities if e.id == "kidney_right")
    assert other.fused is not None
    assert other.fused.parser_nats is None
    assert sorted(e.suspicion_rank for e in found.findings.checked) == list(range(1, len(found.findings.checked) + 1))


def test_the_weight_scales_what_the_parser_says(world: ModuleType, wrong: tuple[Volume, Parse]) -> None:
    image, parse = wrong
    said = []
    for weight in (0.5, 1.0):
        found = _audit(world, image, _sure(parse, {"spleen": 0.9}), parser_weight=weight)
        said.append(next(e.fused.parser_nats for e in found.entities if e.id == "spleen" and e.fused))
    assert said[1] == pytest.approx(2 * said[0], abs=1e-3)


@pytest.mark.parametrize("weight", [-0.1, 4.1, float("nan")])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="parser weight"):
        AuditOptions(parser_weight=weight)


def test_the_report_has_what_each_side_says_only_where_the_parser_says_something(
    world: ModuleType, wrong: tuple[Volume, Parse], plain: AuditReport
) -> None:
    image, parse = wrong
    told = report_html(_audit(world, image, _sure(parse, {"spleen": 0.9})))
    assert ">parser</button>" in told
    assert "+1.1" in told  # 0.5 ln 9
    assert ">parser</button>" not in report_html(plain)
