"""The verdicts benchmark: what is planted, what is kept of an audit, and how it is counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from synth.benchmark.beta_presence import BetaPresence
from synth.benchmark.faults import WrongReference
from synth.benchmark.remembered import remembering
from synth.benchmark.result import Interval, Row, exact_interval
from synth.benchmark.verdict_confusion import confusion
from synth.benchmark.verdict_faults import PLANS, TRUE, Plan, Planted, plant
from synth.benchmark.verdict_patients import Phantoms, Referenced
from synth.benchmark.verdict_phantoms import draw_truth
from synth.benchmark.verdict_record import AuditLine, SaidEntity, SaidRegion, add_line, read_lines
from synth.benchmark.verdict_scores import rows_of, without
from synth.benchmark.verdict_truth import Truth
from synth.benchmark.verdicts import VerdictOptions, run_verdicts
from synth.decoder import DirectDecoder
from synth.errors import InputError
from synth.phantom.patients import LESIONS_MM
from synth.pipeline.audit import AuditOptions, audit, shipped_model


@pytest.fixture(scope="module")
def truth() -> Truth:
    return draw_truth(95_003)


@pytest.fixture(scope="module")
def planted(truth: Truth) -> dict[str, Planted]:
    made = {plan.key: plant(truth, plan) for plan in (TRUE, *PLANS)}
    return {key: found for key, found in made.items() if found is not None}


def test_the_correct_parse_is_true_but_for_jitter(truth: Truth) -> None:
    assert truth.outlines.geometry == truth.image.geometry
    assert truth.parse.present_ids == truth.outlines.present_ids
    dice = [truth.parse.masks[i].dice(truth.outlines.masks[i]) for i in truth.parse.present_ids]
    assert min(dice) >= 0.85 - 1e-9
    assert np.mean(dice) < 1.0
    assert truth.parse.circumstance.image_sha256 == truth.image.sha256()


def test_the_same_patient_is_the_same_and_an_unseen_one_is_noisier(truth: Truth) -> None:
    again, unseen = draw_truth(95_003), draw_truth(95_003, unseen=True)
    assert again.image.sha256() == truth.image.sha256()
    assert again.parse == truth.parse

    def noise(one: Truth) -> float:
        return float(np.abs(np.diff(one.outlines.masks["liver"].values(one.image.array))).mean())

    assert noise(unseen) > 1.5 * noise(truth)
    assert unseen.parse.circumstance.phase in ("arterial", "delayed")


def test_every_family_is_planted_with_the_verdict_that_it_must_get(planted: dict[str, Planted]) -> None:
    verdicts = {p.family: {e.verdict for e in p.expected} for p in planted.values()}
    assert verdicts["none"] == set()
    assert verdicts["hallucinated_organ"] == verdicts["add_lesion"] == {"hallucinated"}
    moved = {f.said: (f.family, f.expected[0].verdict) for key, f in planted.items() if key.startswith("move/")}
    assert len(moved) == 3
    assert set(moved.values()) <= {("shift", "wrong_extent"), ("moved_away", "hallucinated")}
    assert verdicts["delete"] == verdicts["false_absence"] == {"missing"}
    extent = ("shift", "dilate", "erode", "merge", "split")
    assert all(verdicts[family] == {"wrong_extent"} for family in extent)
    assert verdicts["relabel"] == verdicts["swap_sides"] == {"wrong_label"}
    assert verdicts["attenuation"] == verdicts["steatosis"] == verdicts["attenuation_class"] == {"wrong_attribute"}
    assert verdicts["wrong_relation"] == {"wrong_relation"}
    three = planted["three/all"]
    assert len({e.entity for e in three.expected}) == len(three.said.split("; ")) == 3


def test_every_fault_changes_the_parse_and_stays_in_its_severity(truth: Truth, planted: dict[str, Planted]) -> None:
    for key, found in planted.items():
        assert (found.parse == truth.parse) == (key == TRUE.key)
    for severity, (low, high) in LESIONS_MM.items():
        assert low <= planted[f"add_lesion/{severity}"].size <= high
    assert planted["dilate/8 mm"].size == 8.0
    assert 40 <= planted["attenuation/40-60 HU"].size <= 60


def test_what_was_left_out_must_be_found_where_it_truly_is(truth: Truth, planted: dict[str, Planted]) -> None:
    for severity, id in truth.lesions.items():
        (expected,) = planted[f"delete/{severity}"].expected
        assert expected.place == truth.outlines.masks[id]
        assert id not in planted[f"delete/{severity}"].parse


def test_the_removed_organ_is_not_in_the_image_and_is_claimed_by_one_fault(
    truth: Truth, planted: dict[str, Planted]
) -> None:
    assert truth.removed is not None
    entity, mask = truth.removed
    assert entity.id not in truth.parse.present_ids
    assert planted["hallucinated_organ/all"].parse.masks[entity.id] == mask


def test_an_unknown_family_is_refused_by_name(truth: Truth) -> None:
    with pytest.raises(InputError, match="hallucinated_organ"):
        plant(truth, Plan("no_such_thing"))
    with pytest.raises(InputError, match="no_such_thing"):
        VerdictOptions(families=("no_such_thing",))


def test_the_beta_presence_test_tells_lung_from_liver_and_says_nothing_of_the_unknown(truth: Truth) -> None:
    fitted = BetaPresence.fit([(truth.image, truth.outlines)])
    liver = truth.outlines.masks["liver"].values(truth.image.array)
    assert fitted.score("liver", liver) > -0.3
    assert fitted.score("lung_lower_lobe_right", liver) < -0.5
    assert math.isnan(fitted.score("prostate", liver))


def test_a_decoder_with_a_memory_answers_the_same_bit_for_bit_and_only_once(truth: Truth) -> None:
    plain = DirectDecoder.from_pretrained()
    memory = remembering(plain)
    encoded = plain.encode(truth.image)
    near, far = "gallbladder", "spleen"
    organ = near if near in truth.parse.present_ids else "adrenal_gland_right"

    def ask(decoder: object, parse: object, id: str) -> np.ndarray:
        draw = torch.Generator().manual_seed(0)
        (said,) = decoder.contrast(encoded, parse, [parse.without(id)], parse.masks[id], generator=draw)  # type: ignore[attr-defined]
        return said.ratio

    first = ask(memory, truth.parse, organ)
    assert np.array_equal(first, ask(plain, truth.parse, organ))
    assert ask(memory, truth.parse, organ) is first
    changed = truth.parse.without(far)  # its box lies within that of the question, or not: either way the same as plain
    assert np.array_equal(ask(memory, changed, organ), ask(plain, changed, organ))
    other = truth.parse.replace(attributes=())
    assert np.array_equal(ask(memory, other, "liver"), ask(plain, other, "liver"))


def _line(patient: object, family: str, expected: str, verdict: str, *, score: float = -1.0) -> AuditLine:
    wrong = SaidEntity("x", "liver", False, verdict, expected, 1 if verdict != "supported" else 9, {"presence": score})
    return AuditLine(str(patient), f"{family}/all", family, "all", entities=(wrong,), others=3)


def _true(patient: object, *verdicts: str, score: float = 2.0) -> AuditLine:
    said = tuple(SaidEntity(f"e{k}", "liver", False, v, scores={"presence": score}) for k, v in enumerate(verdicts))
    return AuditLine(str(patient), "none/all", "none", "all", entities=said, searched=True, seconds=2.0)


def _value(rows: list[Row], metric: str, method: str = "ours", **group: str) -> float:
    alike = [r for r in rows if r.metric == metric and r.method == method and group.items() <= r.group.items()]
    (found,) = [r for r in alike if r.group.get("task") == group.get("task")]
    return found.value


def test_power_detection_and_false_alarms_of_a_case_counted_by_hand() -> None:
    lines = [
        _true(1, "supported", "supported", "supported", "hallucinated"),
        _true(2, "supported", "supported", "supported", "supported"),
        _line(1, "add_lesion", "hallucinated", "hallucinated"),
        _line(2, "add_lesion", "hallucinated", "wrong_relation", score=3.0),
        _line(1, "merge", "wrong_extent", "supported"),
    ]
    rows = rows_of(lines)
    assert _value(rows, "power", family="add_lesion") == 0.5
    assert _value(rows, "detected", family="add_lesion") == 1.0
    assert _value(rows, "power", family="merge") == _value(rows, "detected", family="merge") == 0.0
    assert _value(rows, "power", family="all") == pytest.approx(1 / 3)
    assert _value(rows, "false_alarms", parses="correct", verdict="all") == 1 / 8
    assert _value(rows, "false_alarms", parses="correct", verdict="wrong_label") == 0.0
    assert _value(rows, "parses_flagged") == 0.5
    assert _value(rows, "fdr", parses="correct", verdict="hallucinated") == 0.5
    assert _value(rows, "fdr", parses="faulty", verdict="all") == 0.0
    assert _value(rows, "auroc", family="add_lesion") == 0.5  # one below all true entities, one above all
    assert _value(rows, "aupr", family="add_lesion") == pytest.approx(0.5 + 0.5 * 0.05)  # at the second all are flagged
    assert _value(rows, "share", expected="wrong_extent", verdict="supported") == 1.0
    assert _value(rows, "f1", verdict="hallucinated") == pytest.approx(0.5)  # one right, one missed, one false alarm
    assert _value(rows, "macro_f1") == pytest.approx(0.25)
    assert _value(rows, "seconds") == 2.0


def test_an_alarm_about_a_true_entity_of_a_faulty_parse_is_a_false_discovery() -> None:
    alarm = SaidEntity("y", "spleen", False, "hallucinated")
    line = _line(1, "add_lesion", "hallucinated", "hallucinated")
    rows = rows_of([_true(1, "supported"), replace(line, entities=(*line.entities, alarm))])
    assert _value(rows, "fdr", parses="faulty", verdict="hallucinated") == 0.5


def test_what_was_left_out_is_found_by_a_region_on_its_place_alone() -> None:
    hit = SaidRegion(True, True, {"presence": 4.0, "l1": 1.0})
    weak = SaidRegion(False, True, {"presence": 0.5, "l1": 1.0})
    elsewhere = SaidRegion(True, False, {"presence": 9.0, "l1": 2.0})
    common = {"key": "delete/all", "family": "delete", "severity": "all", "place": True, "searched": True}
    complete = AuditLine("1", "none/all", "none", "all", searched=True, regions=(replace(weak, hit=False),))
    lines = [complete] + [AuditLine(str(k), regions=(r,), **common) for k, r in enumerate((hit, weak, elsewhere), 1)]  # type: ignore[arg-type]
    rows = rows_of(lines)
    assert _value(rows, "power", family="delete") == pytest.approx(1 / 3)
    assert _value(rows, "detected", family="delete") == pytest.approx(2 / 3)
    assert _value(rows, "false_findings") == 0.0
    assert _value(rows, "auroc", family="delete") == pytest.approx((1 + 0.5 + 0) / 3)
    assert _value(rows, "auroc", family="delete", task="scan") == pytest.approx((1 + 0.5 + 1) / 3)
    assert confusion(lines)["missing"] == {"missing": 1, "none": 2}


def test_a_torn_last_line_is_made_again_and_any_other_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "phantom.jsonl"
    for k in range(2):
        add_line(path, _line(k, "merge", "wrong_extent", "supported"))
    whole = path.read_text()
    path.write_text(whole + '{"patient": "3", "ke')
    assert [line.patient for line in read_lines(path)] == ["0", "1"]
    assert path.read_text() == whole
    assert read_lines(path)[0] == _line(0, "merge", "wrong_extent", "supported")
    path.write_text('{"patient": "3"}\n' + whole)
    with pytest.raises(InputError, match="line of JSON"):
        read_lines(path)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_and_refuses_other_settings(tmp_path: Path) -> None:
    decoder, model = DirectDecoder.from_pretrained(), shipped_model()
    options = VerdictOptions(families=("swap_sides",), fitted=1)
    lines = run_verdicts(tmp_path / "run", Phantoms(1), options, decoder, model)
    assert [line.key for line in lines] == ["none/all", "swap_sides/all"]
    assert len(lines[0].entities) > 20
    assert lines[0].searched
    assert {e.verdict for e in lines[1].planted} == {"wrong_label"}
    path = tmp_path / "run" / "phantom-95000.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(json.dumps({**json.loads(first), "seconds": 123.0}) + "\n" + second[:40])
    again = run_verdicts(tmp_path / "run", Phantoms(1), options, decoder, model)
    assert again[0].seconds == 123.0  # kept, not made again
    assert replace(again[1], seconds=0.0) == replace(lines[1], seconds=0.0)
    with pytest.raises(InputError, match="settings"):
        run_verdicts(tmp_path / "run", Phantoms(1), replace(options, seed=5), decoder, model)
    truth = draw_truth(95_000)
    plain = audit(truth.image, truth.parse, AuditOptions("direct", (1,), search=False), decoder=decoder, model=model)
    said = {e.id: e.scores["presence"] for e in lines[0].entities}
    assert said == {e.id: round(e.score, 5) for e in plain.findings.entities if e.score is not None}


def test_what_is_said_of_a_wrong_reference_is_left_out(tmp_path: Path) -> None:
    wrong = [WrongReference("1", "x", "drawn in air"), WrongReference("2", "e0", "drawn in air")]
    lines = [
        _true("1", "supported"),
        _true("2", "hallucinated", "supported"),
        _line("1", "merge", "wrong_extent", "supported"),
        _line("2", "merge", "wrong_extent", "wrong_extent"),
    ]
    assert [(line.patient, len(line.entities)) for line in without(lines, wrong)] == [("1", 1), ("2", 1), ("2", 1)]
    rows = rows_of(lines, errors=wrong)
    assert _value([r for r in rows if "reference" not in r.group], "false_alarms", verdict="all") == pytest.approx(
        1 / 3
    )
    assert _value(rows, "false_alarms", verdict="all", reference="checked") == 0.0
    assert _value(rows, "power", family="merge", reference="checked") == 1.0


def test_real_patients_are_jittered_anew_each_time_and_planted_in(shared_data: Path) -> None:
    patients = Referenced(shared_data / "openkbp" / "validation", count=1)
    assert (patients.arena, patients.about, patients.names) == ("openkbp", "openkbp validation", ["pt_201"])
    first, again, other = (patients.truth(0, 4.0, drawn=k) for k in (0, 0, 1))
    assert first.parse == again.parse != other.parse
    assert first.outlines == other.outlines
    assert all(other.parse.masks[i].dice(m) >= 0.85 - 1e-9 for i, m in first.outlines.masks.items())
    moved = [plant(t, Plan("move", "32-56 mm")) for t in (first, other)]
    assert [p is not None and p.family in ("shift", "moved_away") for p in moved] == [True, True]
    assert plant(first, Plan("hallucinated_organ")) is None  # nothing was removed from a real patient
    with pytest.raises(InputError, match="limit"):
        Referenced(shared_data / "openkbp" / "validation", count=0)


def _scored(patient: int, family: str, said: dict[str, float] | None, verdict: str = "supported") -> AuditLine:
    """One mask whose outline is wrong, or of a correct parse."""
    expected = "" if family == "none" else "wrong_extent"
    entity = SaidEntity("x", "liver", False, verdict, expected, scores=said or {})
    return AuditLine(str(patient), f"{family}/all", family, "all", entities=(entity,), searched=family == "none")


def test_what_was_named_before_its_extent_was_asked_ranks_below_all_extents() -> None:
    lines = [
        _scored(1, "none", {"presence": 3.0, "extent": 1.0}),
        _scored(2, "none", {"presence": -4.0}, "hallucinated"),
        _scored(1, "dilate", {"presence": 3.0, "extent": 0.5}),
        _scored(2, "dilate", {"presence": -5.0}, "wrong_extent"),
        _scored(3, "dilate", {"presence": -3.0}, "hallucinated"),
        _scored(3, "dilate", None, "not_checkable"),
    ]
    rows = rows_of(lines)
    (ours,) = (r for r in rows if (r.metric, r.method) == ("auroc", "ours"))
    assert ours.n == 3
    assert ours.value == pytest.approx((1 + 2 + 1) / 6)  # 0.5 below 1; -5 below both; -3 below the one with an extent
    assert _value(rows, "auroc", "presence", family="dilate") == pytest.approx((0.5 + 2 + 1) / 6)
    # the surest first: -5, -4 (true, an error), -3, 1, 0.5 (an error)
    assert _value(rows, "aurc", family="dilate") == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert _value(rows, "augrc", family="dilate") == pytest.approx((0 + 1 + 1 + 1 + 2) / 25)


def test_what_is_not_defined_has_no_row() -> None:
    lines = [_scored(1, "none", {"presence": 3.0}), _scored(1, "dilate", {"presence": 3.0, "extent": 0.5})]
    assert not [r for r in rows_of(lines) if r.method == "ours" and r.metric in ("auroc", "aupr", "fpr95", "aurc")]


def test_none_and_all_have_exact_bounds_over_patients_or_over_entities() -> None:
    lines = [_true(p, *["supported"] * 5) for p in range(4)]
    lines += [_line(p, "merge", "wrong_extent", "wrong_extent") for p in (0, 0, 1, 2)]
    rows = {r.metric: r for r in rows_of(lines) if {"merge", "all"} & {r.group.get("family"), r.group.get("verdict")}}
    power, flagged, alarms = rows["power"], rows["parses_flagged"], rows["false_alarms"]
    assert (power.value, power.n, power.low, power.high) == (1.0, 4, pytest.approx(_exact(3, 3).low), 1.0)
    assert (flagged.value, flagged.low, flagged.high) == (0.0, 0.0, pytest.approx(_exact(0, 4).high))
    assert (alarms.value, alarms.n, alarms.high) == (0.0, 20, pytest.approx(_exact(0, 20).high))
    with pytest.raises(ValueError, match="0 or 1"):
        exact_interval(0.5, 4)


def _exact(count: int, n: int) -> Interval:
    found = binomtest(count, n).proportion_ci(0.95, "exact")
    return Interval(found.low, found.high)
