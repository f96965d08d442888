"""The small patient of these tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from synth.parse import Parse
from synth.volume import Volume


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
def scan(patient: Parse) -> Volume:
    """Its CT."""
    made: Volume = load_small_patient().small_scan(patient)
    return made
