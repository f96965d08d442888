"""Organs declared absent are looked for in their beds: found where they are, not where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synth.decoder import load_decoder
from synth.parse import Entity, Parse, Presence
from synth.phantom import Phantom, make, sample_spec
from synth.pipeline.audit import AuditOptions, audit, shipped_model
from synth.pipeline.audit_absences import SearchedAbsences, search_absent
from synth.pipeline.tiers import tiers_of
from synth.population import Population
from synth.report.words import headline
from synth.residual.absences import outlines
from synth.residual.findings import Verdict
from synth.volume import Geometry, Mask, Volume

SHAPE = (40, 40, 40)
GRID = Geometry.regular(SHAPE, 4.0)
AXES = np.indices(SHAPE)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    return np.linalg.norm(AXES - np.reshape(centre, (3, 1, 1, 1)), axis=0) <= radius


def drawn(hu: np.ndarray, *others: tuple[str, np.ndarray]) -> list[Mask]:
    """Outlines in a spleen's bed in the middle; other organs are drawn."""
    rng = np.random.default_rng(0)
    image = Volume((hu + rng.normal(0, 8, SHAPE)).astype(np.float32), GRID, "CT", "HU")
    parse = Parse(
        [Entity(id=name, name=name) for name, _ in others],
        geometry=GRID,
        masks={name: Mask.from_dense(zone) for name, zone in others},
    )
    bed = Mask.from_dense(ball((20, 20, 20), 7))
    return list(outlines(image, parse, bed, "spleen", shipped_model().prior))


def test_a_bed_of_fat_holds_nothing() -> None:
    assert drawn(np.full(SHAPE, -100.0)) == []


def test_what_lies_in_the_bed_is_outlined_though_it_is_not_quite_there() -> None:
    organ = ball((21, 18, 20), 6)
    found = drawn(np.where(organ, 115.0, -100.0))
    assert found
    assert max(mask.dice(Mask.from_dense(organ)) for mask in found) > 0.8


def test_a_drawn_organ_is_not_taken_for_the_absent_one() -> None:
    colon = ball((20, 20, 20), 7)
    assert drawn(np.where(colon, 115.0, -100.0), ("colon", colon)) == []


def test_a_speck_and_a_flood_are_not_organs() -> None:
    assert drawn(np.where(ball((20, 20, 20), 2), 115.0, -100.0)) == []
    assert drawn(np.full(SHAPE, 115.0)) == []


@pytest.fixture(scope="module")
def operated() -> Phantom:
    """An abdomen without its left kidney, at the decoder's spacing."""
    spec = replace(sample_spec(97_000), absent=("kidney_left",), field_of_view="abdomen", lesions=())
    return make(97_000, spec=spec, spacing_mm=(4.0, 4.0, 4.0))


def looked(patient: Phantom, parse: Parse) -> SearchedAbsences:
    model, decoder = shipped_model(), load_decoder("direct")
    (tier,) = tiers_of(decoder, patient.image, model, (1,))
    return search_absent(tier, parse.without_derived(), model.prior, Population.load(), image=patient.image, seed=0)


def test_an_organ_that_was_taken_out_is_believed_to_be_absent(operated: Phantom) -> None:
    found = looked(operated, operated.parse)
    assert found.asked == {"kidney_left"}
    assert [r for r in found.regions if r.finding.verdict] == []


def test_an_organ_that_is_there_is_missing_with_its_outline(operated: Phantom) -> None:
    denied = operated.parse.with_presence("spleen", Presence.absent)
    found = looked(operated, denied)
    (region,) = [r for r in found.regions if r.finding.verdict]
    assert region.finding.id == "missing_spleen"
    assert region.finding.verdict is Verdict.missing
    assert region.finding.name == "spleen"
    assert region.mask.dice(operated.parse.masks["spleen"]) > 0.75
    added = found.added(denied, operated.image)
    assert added.entity("spleen").presence is Presence.present
    assert added.entity("kidney_left").presence is Presence.absent


def test_the_audit_says_so_of_the_entity_and_in_what_is_missing(operated: Phantom) -> None:
    kept = ("liver", "stomach", "pancreas", "kidney_right", "aorta", "spleen", "kidney_left")
    parse = operated.parse.without(*[e.id for e in operated.parse.entities if e.id not in kept])
    report = audit(operated.image, parse.with_presence("spleen", Presence.absent), AuditOptions(decoder="direct"))
    said = {e.id: e for e in report.entities}
    (missing,) = [m for m in report.missing if m.name == "spleen"]
    assert said["spleen"].verdict is None
    assert missing.id in said["spleen"].reason
    assert "nothing like it" in said["kidney_left"].reason
    assert report.regions[missing.id].mask.dice(operated.parse.masks["spleen"]) > 0.7
    assert missing.denies == "spleen"
    assert "spleen is there, although declared absent" in headline(report.findings).lower()
