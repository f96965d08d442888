"""An outline is judged where the entity is there, before what is declared of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from synth.decoder.checkpoint import weights_folder
from synth.fault import FaultSpec, inject
from synth.parse import Attribute, Parse
from synth.phantom import Phantom, make
from synth.pipeline.audit_declared import audit_declared
from synth.pipeline.audit_entities import AuditedEntity
from synth.pipeline.audit_extent import audit_extents
from synth.population import Population
from synth.residual.conformal import Calibration
from synth.residual.extent import ExtentJudge
from synth.residual.findings import EntityFinding, Verdict
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import PRIOR, AuditModel

ORGANS = ("liver", "spleen", "kidney_left")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make(91_002)


@pytest.fixture(scope="module")
def population() -> IntensityPrior:
    return IntensityPrior.load(weights_folder("audit") / PRIOR)


def _audited(parse: Parse, verdict: Verdict = Verdict.supported) -> list[AuditedEntity]:
    ids = [i for i in parse.present_ids if i.split(".")[0] in ORGANS]
    entities = [parse.entity(i) for i in ids]
    return [
        AuditedEntity(
            EntityFinding(
                id=e.id, name=e.name, kind="organ", presence="present", verdict=verdict, reason="it was asked"
            )
        )
        for e in entities
    ]


def _extents(phantom: Phantom, parse: Parse, audited: Sequence[AuditedEntity], prior: IntensityPrior):
    model = AuditModel(prior, {})
    found = audit_extents(phantom.image, parse, parse, audited, model, Population.load(), alpha=0.1)
    return {a.finding.id: a.finding for a in found}


@pytest.fixture(scope="module")
def grown(phantom: Phantom) -> Parse:
    """The spleen reaches far beyond itself."""
    parse = phantom.parse.without_derived()
    spec = FaultSpec("dilate", entity="spleen", severity_mm=(14, 14))
    return inject(parse, spec, np.random.default_rng(0), image=phantom.image).parse


def test_an_outline_that_is_wrong_gets_the_verdict_and_the_others_keep_theirs(
    phantom: Phantom, grown: Parse, population: IntensityPrior
) -> None:
    found = _extents(phantom, grown, _audited(grown), population)
    assert found["spleen"].verdict is Verdict.wrong_extent
    assert found["spleen"].extent.wrong
    assert "outline" in found["spleen"].reason
    assert found["kidney_left"].verdict is Verdict.supported
    assert found["kidney_left"].extent.p_value > 0.01


def test_outlines_of_a_calibration_of_its_own_are_compared_with_that(
    phantom: Phantom, grown: Parse, population: IntensityPrior
) -> None:
    # At this site, outlines usually reach as far as this one.
    shipped = ExtentJudge.load()
    usual = Calibration(tuple(replace(s, score=s.score - 50) for s in shipped.calibration.scores))
    own = AuditModel(population, {}, extent=replace(shipped, calibration=usual))
    found = audit_extents(phantom.image, grown, grown, _audited(grown), own, Population.load(), alpha=0.1)
    spleen = next(a.finding for a in found if a.finding.id == "spleen")
    assert spleen.verdict is Verdict.supported
    assert spleen.extent.p_value > 0.5


def test_what_is_not_there_has_no_outline(phantom: Phantom, grown: Parse, population: IntensityPrior) -> None:
    found = _extents(phantom, grown, _audited(grown, Verdict.hallucinated), population)
    assert {f.verdict for f in found.values()} == {Verdict.hallucinated}
    assert all(f.extent is None for f in found.values())


def test_another_population_says_nothing_of_outlines(phantom: Phantom, grown: Parse, world) -> None:
    found = _extents(phantom, grown, _audited(grown), world.prior())
    assert {f.verdict for f in found.values()} == {Verdict.supported}


def test_an_organ_cut_in_two_is_wrong_with_any_population(phantom: Phantom, world) -> None:
    fault = inject(phantom.parse, FaultSpec("split", entity="liver"), np.random.default_rng(0))
    found = _extents(phantom, fault.parse, _audited(fault.parse), world.prior())
    wrong = {i for i, f in found.items() if f.verdict is Verdict.wrong_extent}
    assert wrong == {e.entity for e in fault.record.expected}


def test_an_organ_that_took_in_its_neighbour_is_wrong_with_any_population(phantom: Phantom, world) -> None:
    masks = phantom.parse.masks
    less = phantom.parse.without("spleen")
    merged = less.with_mask("kidney_left", masks["kidney_left"] | masks["spleen"])
    for parse, wrong in ((merged, {"kidney_left"}), (less, set()), (phantom.parse, set())):
        found = _extents(phantom, parse, _audited(parse), world.prior())
        assert {i for i, f in found.items() if f.verdict is Verdict.wrong_extent} == wrong
    found = _extents(phantom, merged, _audited(merged), world.prior())
    assert "of the place of the spleen" in found["kidney_left"].reason


def test_a_wrong_outline_comes_before_a_wrong_attribute(
    phantom: Phantom, grown: Parse, population: IntensityPrior
) -> None:
    told = [Attribute(entity=i, type="mean_attenuation", value=-400.0) for i in ("spleen", "kidney_left")]
    parse = grown.replace(attributes=told)
    model = AuditModel(population, {})
    found = audit_extents(phantom.image, parse, parse, _audited(parse), model, Population.load(), alpha=0.1)
    judged = audit_declared(phantom.image, parse, found, population, Population.load(), seed=0)
    verdicts = {a.finding.id: a.finding.verdict for a in judged}
    assert verdicts["spleen"] is Verdict.wrong_extent
    assert verdicts["kidney_left"] is Verdict.wrong_attribute
