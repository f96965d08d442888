from __future__ import annotations

from types import ModuleType

import pytest

from synth.parse import Entity
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.report import report_html


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
