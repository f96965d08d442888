"""Names by place: what lies where another organ would lie is called wrong, true names never."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synth.fault import FaultSpec, inject, jitter
from synth.parse import Parse, Presence
from synth.phantom import make, sample_spec
from synth.pipeline.audit import AuditOptions, audit
from synth.population import Population
from synth.residual.findings import Verdict
from synth.residual.labels import FAR_MM, misnamed


@pytest.fixture(scope="module")
def truth() -> Parse:
    made = make(98_100, spacing_mm=(5.0, 5.0, 5.0)).parse
    rng = np.random.default_rng(0)
    return made.replace(masks={i: jitter(m, made.geometry, rng) for i, m in made.masks.items()})


def renamed(parse: Parse, **names: str) -> Parse:
    return parse.replace(entities=[e.changed(name=names[e.id]) if e.id in names else e for e in parse.entities])


def said(parse: Parse) -> dict[str, str]:
    return {m.entity.id: m.proposed for m in misnamed(parse, Population.load())}


def test_true_names_are_left_alone(truth: Parse) -> None:
    assert said(truth) == {}


def test_traded_names_are_traded_back(truth: Parse) -> None:
    traded = renamed(truth, spleen="pancreas", pancreas="spleen")
    assert said(traded) == {"spleen": "spleen", "pancreas": "pancreas"}


def test_of_two_with_one_name_the_one_elsewhere_is_wrong(truth: Parse) -> None:
    (found,) = misnamed(renamed(truth, kidney_left="stomach"), Population.load())
    assert (found.entity.id, found.proposed) == ("kidney_left", "kidney_left")
    assert "left kidney" in found.reason
    assert found.proposed_mm < found.own_mm / 2


def test_an_organ_moved_to_where_none_lies_keeps_its_name(truth: Parse) -> None:
    moved = inject(truth, FaultSpec(family="move", entity="spleen", severity_mm=(60.0, 70.0)), np.random.default_rng(1))
    assert "spleen" not in said(moved.parse)
    assert FAR_MM < 60


def test_what_is_not_claimed_is_not_asked(truth: Parse) -> None:
    traded = renamed(truth, spleen="pancreas", pancreas="spleen")
    assert "spleen" not in said(traded.with_presence("spleen", Presence.absent))
    few = traded.without(*[e.id for e in traded.entities if e.id not in ("spleen", "pancreas", "liver")])
    assert said(few) == {}


def test_the_audit_gives_the_verdict_and_the_name() -> None:
    spec = replace(sample_spec(98_101), field_of_view="chest_abdomen", absent=())
    made = make(98_101, spec=spec, spacing_mm=(4.0, 4.0, 4.0))
    kept = ("liver", "stomach", "spleen", "kidney_right", "kidney_left", "aorta", "gallbladder", "adrenal_gland_left")
    parse = made.parse.without(*[e.id for e in made.parse.entities if e.id not in kept])
    traded = renamed(parse, spleen="kidney_left", kidney_left="spleen")
    report = audit(made.image, traded, AuditOptions(decoder="direct", search=False))
    found = {e.id: (e.verdict, e.proposed_name) for e in report.entities if e.verdict is Verdict.wrong_label}
    assert found == {
        "spleen": (Verdict.wrong_label, "spleen"),
        "kidney_left": (Verdict.wrong_label, "kidney_left"),
    }
