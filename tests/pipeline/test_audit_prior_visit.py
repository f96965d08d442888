"""A prior visit informs the audit: what it drew is looked for where it was, and nothing else changes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from synth.errors import InputError
from synth.fault import jitter
from synth.parse import Entity, Parse, Presence
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.pipeline.audit_prior_visit import SearchedPrior, search_prior_visit
from synth.pipeline.prior_alignment import PriorVisit, place_prior
from synth.pipeline.prior_visit import know
from synth.pipeline.tiers import tiers_of
from synth.report.page import report_html
from synth.report.words import headline
from synth.residual.findings import PriorOutcome, Verdict
from synth.volume import Geometry, Volume, resample

SEED = 302


def moved(image: Volume, parse: Parse, shift_mm: tuple[float, float, float]) -> tuple[Volume, Parse]:
    """Image and parse, the patient lying elsewhere on the same grid."""
    matrix = np.eye(4)
    matrix[:3, 3] = shift_mm
    there = Geometry(image.shape, matrix @ image.geometry.affine)
    return resample(Volume(image.array, there, "CT", "HU"), image.geometry), parse.replace(geometry=there).resampled(
        image.geometry
    )


def earlier(toy: Any, seed: int = 0) -> PriorVisit:
    """The patient of the toy at an earlier visit: 14 mm away, outlines jittered, with noise of its own."""
    rng = np.random.default_rng(seed)
    masks = {id: jitter(mask, toy.parse.geometry, rng) for id, mask in toy.parse.masks.items()}
    about = toy.parse.circumstance.changed(image_sha256=None, day=0.0)
    noisy = toy.image.with_array((toy.image.array + rng.normal(0, 8, toy.image.shape)).astype(np.float32))
    image, parse = moved(noisy, toy.parse.replace(masks=masks, circumstance=about), (12.0, -6.0, 4.0))
    return PriorVisit(parse, image)


def audited(world: ModuleType, image: Volume, parse: Parse, prior: PriorVisit | None, **options: Any) -> AuditReport:
    chosen = AuditOptions(**options)
    return audit(image, parse, chosen, decoder=world.decoder(), model=world.model(), prior_visit=prior)


def recalled(world: ModuleType, image: Volume, parse: Parse, prior: PriorVisit) -> SearchedPrior:
    """The search for what was left out alone."""
    model = world.model()
    (tier,) = tiers_of(world.decoder(), image, model, None)
    known = know(prior, image, parse, world.decoder().vocabulary)
    return search_prior_visit(tier, parse, known.expected.left_out, model, image=image, alpha=0.1, seed=0)


@pytest.fixture(scope="module")
def toy(world: ModuleType) -> Any:
    return world.toy_patient(SEED, lesion=True)


@pytest.fixture(scope="module")
def left_out(world: ModuleType, toy: Any) -> AuditReport:
    """The present parse speaks neither of the lesion nor of the spleen."""
    about = toy.parse.circumstance.changed(day=84.0)
    told = toy.parse.without("lesion_1", "spleen").replace(circumstance=about)
    return audited(world, toy.image, told, earlier(toy))


def test_a_lesion_and_an_organ_that_are_left_out_are_missing(left_out: AuditReport, toy: Any) -> None:
    found = {m.prior: m for m in left_out.missing if m.prior}
    assert set(found) == {"lesion_1", "spleen"}
    assert found["lesion_1"].located_in == "liver"
    assert found["lesion_1"].p_value is not None
    assert found["lesion_1"].p_value <= 0.1
    for id, finding in found.items():
        assert finding.verdict is Verdict.missing
        assert left_out.regions[finding.id].mask.dice(toy.parse.masks[id]) > 0.6


def test_the_record_says_how_the_visits_were_aligned_and_what_was_tried(left_out: AuditReport) -> None:
    record = left_out.findings.prior_visit
    assert record is not None
    assert record.alignment.method == "images"
    assert record.alignment.shift_mm == pytest.approx(14.0, abs=2.5)
    assert record.alignment.median_dice is not None
    assert record.alignment.median_dice > 0.75
    assert set(record.alignment.shared) == {"liver", "kidney_left", "kidney_right"}
    assert record.days_before == 84.0
    assert {t.id: t.outcome for t in record.tried} == dict.fromkeys(("lesion_1", "spleen"), PriorOutcome.missing)
    assert [t.region for t in record.missing] == [m.id for m in left_out.missing if m.prior]
    (message,) = [m for m in left_out.findings.preflight if m.code == "prior_visit"]
    assert "registration of the two images" in message.message


def test_the_report_tells_it(left_out: AuditReport) -> None:
    page = report_html(left_out)
    assert "The prior visit" in page
    assert "still there, left out" in page
    assert "of the prior visit" in headline(left_out.findings)


def test_a_lesion_that_has_gone_and_an_organ_that_was_taken_out_are_not_seen_any_more(
    world: ModuleType, toy: Any
) -> None:
    now = world.toy_patient(SEED, lesion=False, removed="spleen")
    silent = now.parse.without("spleen")
    found = recalled(world, now.image, silent, earlier(toy))
    assert {t.id: t.outcome for t in found.tried} == dict.fromkeys(("lesion_1", "spleen"), PriorOutcome.not_seen)
    assert all("not seen any more" in t.reason for t in found.tried)
    assert found.regions == ()
    assert found.parse.ids == silent.ids


def test_no_score_p_value_or_verdict_on_what_the_parse_draws_depends_on_it(world: ModuleType, toy: Any) -> None:
    told = toy.parse.without("lesion_1")
    plain, with_it = (audited(world, toy.image, told, prior, search=False) for prior in (None, earlier(toy)))
    assert plain.entities == with_it.entities
    assert plain.findings.prior_visit is None
    record = with_it.findings.prior_visit
    assert record is not None
    assert record.tried == []  # nothing is searched for


def test_an_organ_that_came_back_is_looked_at_sooner_and_keeps_its_verdict(world: ModuleType, toy: Any) -> None:
    before = earlier(toy)
    plain = audited(world, toy.image, toy.parse, before, search=False)
    last = [e.id for e in plain.findings.checked if e.kind == "organ"][-1]
    denied = PriorVisit(before.parse.with_presence(last, Presence.absent), before.image)
    found = {e.id: e for e in audited(world, toy.image, toy.parse, denied, search=False).entities}
    was = {e.id: e for e in plain.entities}
    assert found[last].suspicion_rank == 1 < (was[last].suspicion_rank or 0)
    assert found[last].prior_nats == pytest.approx(-3.0, abs=0.01)
    assert "declared absent at the prior visit" in found[last].reason
    assert (found[last].verdict, found[last].p_value) == (was[last].verdict, was[last].p_value)
    assert sorted(e.suspicion_rank or 0 for e in found.values()) == list(range(1, len(found) + 1))


def test_an_organ_declared_absent_is_looked_for_where_it_was(world: ModuleType, toy: Any) -> None:
    denied = toy.parse.with_presence("spleen", Presence.absent)  # four organs tell no usual place of it
    plain, with_it = (audited(world, toy.image, denied, prior) for prior in (None, earlier(toy)))
    assert not [m for m in plain.missing if m.denies]
    (found,) = [m for m in with_it.missing if m.denies]
    assert found.denies == "spleen"
    gone = world.toy_patient(SEED, lesion=True, removed="spleen")
    assert not [m for m in audited(world, gone.image, gone.parse, earlier(toy)).missing if m.denies]


def test_without_its_image_the_organs_align_it(toy: Any) -> None:
    before = earlier(toy)
    by_organs = place_prior(PriorVisit(before.parse), toy.image, toy.parse)
    assert by_organs.how == "organs"
    assert by_organs.median_dice > 0.75
    assert by_organs.record().shift_mm == pytest.approx(14.0, abs=2.5)


def test_with_few_organs_it_is_taken_as_it_lies_and_said_so(toy: Any) -> None:
    liver = toy.parse.without(*[id for id in toy.parse.ids if id != "liver"])
    placed = place_prior(PriorVisit(liver), toy.image, liver)
    assert (placed.how, placed.message().severity) == ("frame", "warning")
    assert "as it lies" in placed.message().message


def test_a_prior_visit_whose_organs_do_not_fit_is_not_used(world: ModuleType, toy: Any) -> None:
    liver = toy.parse.without(*[id for id in toy.parse.ids if id not in ("liver", "spleen")])
    _, away = moved(toy.image, liver, (48.0, 0.0, 0.0))
    known = know(away, toy.image, toy.parse.without("spleen"), world.decoder().vocabulary)
    assert known.placed is not None
    assert not known.placed.record().used
    assert known.expected.left_out == ()
    assert "not used" in known.messages[0].message


def test_visits_that_nothing_brings_together_are_refused(toy: Any) -> None:
    other = Geometry.regular((20, 20, 20), 4.0)
    empty = Parse([Entity(id="spleen", name="spleen", presence=Presence.absent)], geometry=other)
    with pytest.raises(InputError, match="--prior-image"):
        place_prior(PriorVisit(empty), toy.image, toy.parse)


def test_another_patient_is_refused(toy: Any) -> None:
    one, two = (toy.parse.replace(circumstance=toy.parse.circumstance.changed(patient=p)) for p in ("a", "b"))
    with pytest.raises(InputError, match="same patient"):
        place_prior(PriorVisit(one), toy.image, two)


def test_an_image_of_another_grid_than_its_parse_is_refused(toy: Any) -> None:
    box = (slice(0, 20), slice(0, 20), slice(0, 20))
    with pytest.raises(InputError):
        PriorVisit(toy.parse, toy.image.cropped(box))


def test_a_visit_that_is_later_is_remarked_on(world: ModuleType, toy: Any) -> None:
    now = toy.parse.replace(circumstance=toy.parse.circumstance.changed(day=-10.0))
    known = know(earlier(toy), toy.image, now, world.decoder().vocabulary)
    assert [m.code for m in known.messages] == ["prior_visit", "prior_visit_later"]
