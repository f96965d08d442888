"""The decision benchmark on cases whose score is known by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.benchmark.decision import (
    Counts,
    MatchThresholds,
    binding_gap,
    joint_f1,
    match_entities,
    primitive_f1,
    run,
    score_case,
)
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.cli.app import app
from synth.errors import InputError
from synth.parse import Attribute, Entity, Parse, Relation, save_bundle
from synth.parse.match import rename
from synth.volume import Geometry, Mask

SHAPE = (40, 20, 20)
GRID = Geometry.regular(SHAPE, 2.0)


def block(*origin: int, size: int = 6) -> Mask:
    return Mask.from_box(SHAPE, (origin[0], origin[1], origin[2]), np.ones((size,) * 3, bool))


def lesion_attributes(irregular: str, circumscribed: str) -> list[Attribute]:
    return [
        Attribute(entity=irregular, type="margin", value="irregular"),
        Attribute(entity=circumscribed, type="margin", value="circumscribed"),
    ]


@pytest.fixture
def gold() -> Parse:
    """Five facts: two margins, two places, one absence."""
    return Parse(
        [
            Entity(id="liver", name="liver"),
            Entity(id="a", name="metastasis"),
            Entity(id="b", name="metastasis"),
            Entity(id="spleen", name="spleen", presence="absent"),
        ],
        lesion_attributes("a", "b"),
        [Relation(type="located_in", subject=id, object="liver") for id in ("a", "b")],
        geometry=GRID,
        masks={"liver": block(2, 2, 2, size=16), "a": block(3, 3, 3, size=4), "b": block(10, 10, 10, size=4)},
    )


def test_the_truth_scores_one_under_any_ids(gold: Parse) -> None:
    renamed = rename(gold, {"a": "x", "b": "a", "liver": "organ-1"})
    score = score_case("case", gold, renamed)
    assert score.joint == Counts(5, 0, 0)
    assert joint_f1([score]) == 1.0
    assert binding_gap([score]) == 0.0


def test_values_bound_to_the_wrong_lesions_cost_the_joint_score_only(gold: Parse) -> None:
    """Entities 4/4, values 2/2, relation types 2/2, but of five facts two are wrong: joint 2*3 / (2*3 + 2 + 2)."""
    swapped = gold.replace(attributes=lesion_attributes("b", "a"))
    score = score_case("case", gold, swapped)
    assert score.facts["attribute"] == Counts(0, 2, 2)
    assert [primitive_f1([score], each) for each in ("entity", "attribute", "relation")] == [1.0, 1.0, 1.0]
    assert joint_f1([score]) == pytest.approx(0.6)
    assert binding_gap([score]) == pytest.approx(0.4)


def test_a_missed_lesion_takes_its_facts_with_it(gold: Parse) -> None:
    """Of five facts, b's margin and b's place are missed: joint 2*3 / (2*3 + 2)."""
    score = score_case("case", gold, gold.without("b"))
    assert score.joint == Counts(3, 0, 2)
    assert joint_f1([score]) == pytest.approx(0.75)
    assert score.primitives["entity"] == Counts(3, 0, 1)


def test_a_hallucinated_lesion_adds_its_facts(gold: Parse) -> None:
    extra = gold.with_entity(
        Entity(id="c", name="metastasis"),
        block(20, 2, 2, size=4),
        [Attribute(entity="c", type="margin", value="irregular")],
        [Relation(type="located_in", subject="c", object="liver")],
    )
    score = score_case("case", gold, extra)
    assert score.joint == Counts(5, 2, 0)
    assert score.primitives["entity"] == Counts(4, 1, 0)


def test_a_false_absence_is_wrong_and_a_missed_one_is_missed(gold: Parse) -> None:
    """The claimed kidney is no fact of the truth, and the spleen that is gone is not reported."""
    kidney = Entity(id="k", name="kidney_left", presence="absent")
    wrong = gold.with_presence("spleen", "not_assessed").with_entity(kidney)
    score = score_case("case", gold, wrong)
    assert score.facts["absence"] == Counts(0, 1, 1)
    assert score.facts["attribute"] == Counts(2, 0, 0)


def test_a_relation_counts_under_either_of_its_two_spellings(gold: Parse) -> None:
    entity = Entity(id="aorta", name="aorta")
    relation = Relation(type="left_of", subject="aorta", object="liver")
    truth = gold.with_entity(entity, block(30, 2, 2), (), [relation])
    same = gold.with_entity(entity, block(30, 2, 2), (), [Relation(type="right_of", subject="liver", object="aorta")])
    reverse = gold.with_entity(
        entity, block(30, 2, 2), (), [Relation(type="right_of", subject="aorta", object="liver")]
    )
    assert score_case("case", truth, same).facts["relation"] == Counts(3, 0, 0)
    assert score_case("case", truth, reverse).facts["relation"] == Counts(2, 1, 1)


@pytest.mark.parametrize(("value", "hits"), [(55.0, 1), (64.9, 1), (44.9, 0), (66.0, 0)])
def test_numbers_agree_within_the_tolerance_of_their_type(gold: Parse, value: float, hits: int) -> None:
    def with_mean(mean: float) -> Parse:
        return gold.replace(attributes=[Attribute(entity="liver", type="mean_attenuation", value=mean)])

    score = score_case("case", with_mean(55.0), with_mean(value))
    assert score.facts["attribute"] == Counts(hits, 1 - hits, 1 - hits)
    assert score.primitives["attribute"] == Counts(hits, 1 - hits, 1 - hits)


def one(name: str, mask: Mask | None) -> Parse:
    return Parse([Entity(id=name, name=name)], geometry=GRID, masks={} if mask is None else {name: mask})


@pytest.mark.parametrize(
    ("name", "truth", "ours", "matched"),
    [
        ("liver", block(2, 2, 2, size=10), block(5, 2, 2, size=10), True),  # Dice 0.7
        ("liver", block(2, 2, 2, size=10), block(8, 2, 2, size=10), False),  # Dice 0.4
        ("metastasis", block(2, 2, 2, size=10), block(8, 2, 2, size=10), True),  # a finding needs 0.1
        ("metastasis", block(2, 2, 2, size=10), block(13, 2, 2, size=6), False),  # beside it
        ("metastasis", block(2, 2, 2, size=16), block(8, 8, 8, size=2), True),  # Dice 0.004, but its centre is inside
        ("liver", None, None, True),
        ("liver", block(2, 2, 2), None, False),
    ],
)
def test_entities_match_by_dice_and_findings_by_a_lower_bar(
    name: str, truth: Mask | None, ours: Mask | None, matched: bool
) -> None:
    assert bool(match_entities(one(name, truth), one(name, ours), MatchThresholds())) is matched


def test_names_must_be_equal_to_match() -> None:
    mask = block(2, 2, 2)
    assert not match_entities(one("kidney_left", mask), one("kidney_right", mask), MatchThresholds())


def test_a_prediction_on_another_grid_is_compared_in_the_same_place(gold: Parse) -> None:
    assert joint_f1([score_case("case", gold, gold.resampled(GRID.with_spacing(1.0)))]) == 1.0


def value(result: BenchmarkResult, metric: str, **group: str) -> float:
    wanted = {"family": "all", **group}
    (row,) = [row for row in result.rows if row.metric == metric and wanted.items() <= dict(row.group).items()]
    return row.value


@pytest.fixture
def folders(gold: Parse, tmp_path: Path) -> tuple[Path, Path]:
    """Four cases of five facts: right, two values swapped, broken, and not predicted."""
    swapped = gold.replace(attributes=lesion_attributes("b", "a"))
    for name, prediction in (("right", gold), ("swapped", swapped), ("broken", gold), ("none", None)):
        save_bundle(gold, tmp_path / "gold" / name)
        if prediction is not None:
            save_bundle(prediction, tmp_path / "pred" / name)
    file = tmp_path / "pred" / "broken" / "parse.json"
    data = json.loads(file.read_text())
    data["relations"][0]["object"] = "nowhere"
    file.write_text(json.dumps(data))
    return tmp_path / "pred", tmp_path / "gold"


def test_a_broken_prediction_is_a_violation_and_misses_everything(folders: tuple[Path, Path]) -> None:
    """Hits 5 + 3, extra 2, missed 2 + 5 + 5: micro 16 / 30; macro the mean of 1, 0.6, 0 and 0."""
    notes: list[str] = []
    result = run(*folders, note=notes.append)
    assert value(result, "joint_f1", average="micro") == pytest.approx(16 / 30)
    assert value(result, "joint_f1", average="macro") == pytest.approx(0.4)
    assert value(result, "joint_f1", family="attribute") == pytest.approx(2 * 2 / (2 * 2 + 2 + 6))
    assert value(result, "joint_f1", family="absence") == pytest.approx(2 * 2 / (2 * 2 + 2))
    assert value(result, "closure_violations") == 1
    mean = (2 * 8 / (2 * 8 + 8) + 2 * 4 / (2 * 4 + 4) + 2 * 4 / (2 * 4 + 4)) / 3
    assert value(result, "binding_gap") == pytest.approx(mean - 16 / 30)
    assert any("relations[0].object" in note for note in notes)
    assert any(note.startswith("none: no prediction") for note in notes)


def test_the_truth_itself_must_be_sound(folders: tuple[Path, Path]) -> None:
    pred, gold = folders
    with pytest.raises(InputError, match=r"relations\[0\]\.object"):
        run(gold, pred)
    with pytest.raises(InputError, match="bundles in it"):
        run(pred, gold / "right")


def test_declared_facts_can_be_scored_alone(gold: Parse, tmp_path: Path) -> None:
    measured = Attribute(entity="liver", type="mean_attenuation", value=55, derived=True)
    save_bundle(gold.replace(attributes=(*gold.attributes, measured)), tmp_path / "gold" / "case")
    save_bundle(gold, tmp_path / "pred" / "case")
    assert value(run(tmp_path / "pred", tmp_path / "gold"), "joint_f1", average="micro") == pytest.approx(10 / 11)
    alone = run(tmp_path / "pred", tmp_path / "gold", declared_only=True)
    assert value(alone, "joint_f1", average="micro") == 1.0


def test_the_command_prints_the_one_object(folders: tuple[Path, Path]) -> None:
    pred, gold = folders
    words = ["benchmark", "decision", "--pred", str(pred), "--gold", str(gold), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert set(printed) == {"benchmark", "command", "weights", "seconds", "rows"}
    assert printed["benchmark"] == "decision"
    assert set(printed["rows"][0]) == {"group", "method", "metric", "value", "low", "high", "n"}
    assert printed["rows"][0]["value"] == pytest.approx(16 / 30)
    assert printed["rows"][0]["low"] <= printed["rows"][0]["value"] <= printed["rows"][0]["high"]
    assert "broken" in result.stderr
    assert CliRunner().invoke(app, words).stdout.split('"rows"')[1] == result.stdout.split('"rows"')[1]


def test_a_folder_that_is_not_there_is_exit_code_two(tmp_path: Path) -> None:
    words = ["benchmark", "decision", "--pred", str(tmp_path / "none"), "--gold", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "a folder of bundles" in result.stderr


def test_nothing_to_say_and_nothing_said_is_undefined_rather_than_perfect() -> None:
    empty = Parse([], geometry=GRID)
    score = score_case("case", empty, empty)
    assert math.isnan(joint_f1([score]))
    row = Row({"family": "all"}, "ours", "joint_f1", joint_f1([score]), math.nan, math.nan, 1)
    assert row.to_json()["value"] is None


def test_the_interval_holds_the_mean_and_narrows_with_the_cases() -> None:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    rng = np.random.default_rng(0)
    values = rng.normal(10.0, 2.0, size=400).tolist()
    few, many = (bootstrap_interval(values[:n], mean, rng=rng) for n in (20, 400))
    assert few.low < 10.0 < few.high
    assert many.low < 10.0 < many.high
    assert many.high - many.low == pytest.approx(4 * 1.96 / math.sqrt(400) * 1.0, rel=0.25)
    assert few.high - few.low > 2 * (many.high - many.low)
    assert math.isnan(bootstrap_interval([], mean, rng=rng).low)
