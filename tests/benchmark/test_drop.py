"""The drop of the AUROC from known to unseen phantoms."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def drop(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("drop")


def _row(family: str, severity: str, value: float, low: float, high: float, **more: str) -> dict[str, Any]:
    group = {"family": family, "severity": severity, **more}
    return {"group": group, "method": "ours", "metric": "auroc", "value": value, "low": low, "high": high, "n": 4}


def test_the_interval_of_a_difference_squares_and_adds_the_sides_that_pull_it_there(drop: ModuleType) -> None:
    known, unseen = _row("shift", "all", 0.9, 0.86, 0.94), _row("shift", "all", 0.8, 0.68, 0.83)
    value, interval = drop.difference(known, unseen)
    assert value == pytest.approx(0.1)
    assert interval.low == pytest.approx(0.1 - 0.05)  # 0.04 below the known, 0.03 above the unseen
    assert interval.high == pytest.approx(0.1 + (0.04**2 + 0.12**2) ** 0.5)


def test_families_are_compared_whole_where_both_settings_have_them_and_tasks_by_themselves(drop: ModuleType) -> None:
    known = [_row("shift", "8-12 mm", 0.1, 0, 1), _row("shift", "all", 0.9, 0.8, 1), _row("split", "all", 0.7, 0, 1)]
    unseen = [_row("shift", "16-24 mm", 0.2, 0, 1), _row("shift", "all", 0.7, 0.6, 0.8)]
    scan = _row("shift", "all", 0.5, 0.4, 0.6, task="scan")
    rows = list(drop.drops(drop.by_family([*known, scan]), drop.by_family([*unseen, scan])))
    assert [(dict(r.group), pytest.approx(r.value), r.n) for r in rows] == [
        ({"family": "shift"}, 0.2, 4),
        ({"family": "shift", "task": "scan"}, 0.0, 4),
        ({"family": "all"}, 0.2, 1),
    ]
