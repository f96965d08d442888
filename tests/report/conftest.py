from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from synth.parse import Entity
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.report import report_html


def _world() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "residual" / "world.py"
    if "synth_tests_world" not in sys.modules:
        found = importlib.util.spec_from_file_location("synth_tests_world", path)
        assert found is not None
        assert found.loader is not None
        sys.modules["synth_tests_world"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules["synth_tests_world"])
    return sys.modules["synth_tests_world"]


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """tests/residual/world.py: toy patients, a decoder fitted on them, an audit model calibrated with it."""
    return _world()


@pytest.fixture(scope="session")
def report(world: ModuleType) -> AuditReport:
    """A right kidney that was removed, and a lesion that is not reported."""
    toy = world.toy_patient(200, lesion=True, removed="kidney_right")
    claimed = toy.parse.without("kidney_right", "lesion_1").with_entity(
        Entity(id="kidney_right", name="kidney_right"), toy.places["kidney_right"]
    )
    return audit(toy.image, claimed, AuditOptions(), decoder=world.decoder(), model=world.model())


@pytest.fixture(scope="session")
def page(report: AuditReport) -> str:
    """Its report, viewer and all."""
    return report_html(report)
