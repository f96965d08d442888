"""Scores and intervals of the faults benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from synth.benchmark.faults import (
    Claim,
    WrongReference,
    read_reference_errors,
    rows_of,
)
from synth.benchmark.moved import DISTANCES_MM
from synth.benchmark.separation import aupr, auroc, fpr95
from synth.errors import InputError


def test_auroc_and_fpr95_of_a_case_counted_by_hand() -> None:
    moved = np.array([True, True, False, False, False, False])
    score = np.array([-3.0, 0.5, 0.0, 1.0, 2.0, 3.0])
    assert auroc(moved, score) == pytest.approx(7 / 8)  # one of eight pairs is the wrong way round
    assert fpr95(moved, score) == pytest.approx(1 / 4)  # finding both costs the true mask at 0.0


def test_aupr_weighs_what_is_wrong_as_a_twentieth_of_all() -> None:
    moved = np.array([True, True, False, False, False, False])
    score = np.array([-3.0, 0.5, 0.0, 1.0, 2.0, 3.0])
    second = 0.05 / (0.05 + 0.95 / 4)  # the precision of the second found, which costs the true mask at 0.0
    assert aupr(moved, score) == pytest.approx(0.5 + 0.5 * second)
    weight = np.where(moved, 1.0, 19 * 2 / 4)
    assert aupr(moved, score) == pytest.approx(average_precision_score(moved, -score, sample_weight=weight))
    many = np.repeat([0, 1, 2, 3, 4, 5], [1, 1, 7, 7, 7, 7])
    assert aupr(moved[many], score[many]) == pytest.approx(aupr(moved, score))  # however many there are of a kind


def test_aupr_of_perfect_scores_is_one_and_of_scores_that_tell_nothing_the_prevalence() -> None:
    moved = np.array([True] * 3 + [False] * 40)
    assert aupr(moved, np.where(moved, -1.0, 1.0)) == pytest.approx(1.0)
    assert aupr(moved, np.zeros(43)) == pytest.approx(0.05)
    rng = np.random.default_rng(0)
    assert aupr(np.arange(40_000) % 2 == 0, rng.normal(size=40_000)) == pytest.approx(0.05, abs=0.005)


def test_fpr95_of_tied_scores_takes_the_first_threshold_that_finds_enough() -> None:
    moved = np.array([True] * 100 + [False] * 100)
    score = np.concatenate([np.arange(100.0), np.arange(100.0)])  # each threshold adds one of either
    assert fpr95(moved, score) == pytest.approx(0.95)


def _claims() -> list[Claim]:
    rng = np.random.default_rng(0)
    claims = []
    for patient in range(12):
        for organ in ("mandible", "larynx"):
            for condition, centre in (("true", 2.0), *((d, -2.0) for d in DISTANCES_MM)):
                for surface, less in (("untouched", 0.0), ("jittered", 1.0 if condition == "true" else 0.0)):
                    scores = {"ours": centre - less + rng.normal(), "l1": rng.normal()}
                    claims.append(Claim(f"pt_{patient}", organ, condition, surface, scores))
    return claims


def test_rows_hold_every_method_organ_distance_and_surface_with_their_intervals() -> None:
    rows = rows_of(_claims())
    pooled = [r for r in rows if r.group["organ"] == "all" and r.metric == "auroc" and r.method == "ours"]
    assert len(pooled) == 3 * 3
    primary = [r for r in pooled if "surface" not in r.group]
    assert {r.group["distance"] for r in primary} == set(DISTANCES_MM)
    for row in pooled:
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high
        assert row.value > 0.9
    noise = [r.value for r in rows if r.method == "l1" and r.metric == "auroc" and r.group["organ"] == "all"]
    assert all(0.2 < value < 0.8 for value in noise)


def test_untouched_masks_are_easier_than_jittered_ones_where_jitter_lowers_the_score() -> None:
    rows = [r for r in rows_of(_claims()) if r.method == "ours" and r.metric == "auroc"]
    value = {
        r.group.get("surface"): r.value for r in rows if r.group["organ"] == "all" and r.group["distance"] == "8-12"
    }
    assert value["untouched"] > value[None] > value["jittered"]


def test_wrong_references_are_left_out_in_rows_of_their_own() -> None:
    wrong = [Claim("pt_99", "larynx", "true", s, {"ours": -9.0, "l1": 0.0}) for s in ("untouched", "jittered")]
    rows = rows_of([*_claims(), *wrong], errors=[WrongReference("pt_99", "larynx", "a sketch")])
    best = {
        r.group.get("reference"): r.value
        for r in rows
        if r.method == "ours" and r.metric == "auroc" and r.group["organ"] == "all" and "surface" not in r.group
    }
    clean = [r.value for r in rows_of(_claims()) if r.method == "ours" and r.metric == "auroc"]
    assert best["checked"] in clean
    assert best[None] < best["checked"]


def test_wrong_references_are_read_from_a_table_and_anything_else_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "errors.csv"
    table.write_text("patient,organ,reason\npt_1, larynx ,a sketch\n")
    assert read_reference_errors(table) == [WrongReference("pt_1", "larynx", "a sketch")]
    table.write_text("patient;organ\n1;2\n")
    with pytest.raises(InputError, match="columns patient, organ, reason"):
        read_reference_errors(table)
    with pytest.raises(InputError, match="columns patient, organ, reason"):
        read_reference_errors(tmp_path / "none.csv")


def test_the_auroc_counts_ties_as_half() -> None:
    assert auroc(np.array([True, False, False]), np.array([1.0, 1.0, 2.0])) == pytest.approx(0.75)
