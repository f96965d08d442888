"""What the tests of the dynamics share."""

from __future__ import annotations

import pytest

from synth.parse import Parse, Relation


@pytest.fixture(scope="session")
def causal(patient: Parse) -> Parse:
    """The small patient with an edge that the masks say nothing about."""
    edge = Relation(type="drains_from", subject="m1", object="portal_vein_and_splenic_vein")
    return patient.replace(relations=(*patient.relations, edge))
