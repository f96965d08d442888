from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """tests/residual/world.py: toy patients, a decoder fitted on them, an audit model calibrated with it."""
    if "synth_tests_world" not in sys.modules:
        found = importlib.util.spec_from_file_location("synth_tests_world", Path(__file__).parent / "world.py")
        assert found is not None
        assert found.loader is not None
        sys.modules["synth_tests_world"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules["synth_tests_world"])
    return sys.modules["synth_tests_world"]
