"""The small patient of these tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from synth.parse import Parse, Relation


def load_small_patient() -> ModuleType:
    """tests/dynamics/small_patient.py; the test folders are no packages."""
    path = Path(__file__).resolve().parents[1] / "dynamics" / "small_patient.py"
    found = importlib.util.spec_from_file_location("synth_tests_small_patient", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def patient() -> Parse:
    made: Parse = load_small_patient().small_patient()
    return made


@pytest.fixture(scope="session")
def causal(patient: Parse) -> Parse:
    """The same with an edge that the masks say nothing about."""
    edge = Relation(type="drains_from", subject="m1", object="portal_vein_and_splenic_vein")
    return patient.replace(relations=(*patient.relations, edge))
