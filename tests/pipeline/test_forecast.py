"""Forecasts: numbers, closed parses and scans agree, and what does not change stays bit for bit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from synth.action import Observation, Plan, Surgery
from synth.decoder.registry import load_decoder
from synth.dynamics import DynamicsModel, PatientFutures, PatientHistory
from synth.dynamics.barriers import barriers
from synth.dynamics.shape import shape_of
from synth.errors import InputError
from synth.parse import Attribute, Entity, Kind, Parse, Presence
from synth.parse.diff import diff
from synth.parse.measure import axial_extent
from synth.parse.narrative import narrative
from synth.pipeline.forecast import Forecast, forecast
from synth.pipeline.forecast_grain import with_grain
from synth.pipeline.forecast_render import changed_region, render_future
from synth.pipeline.patient import followed, history_of
from synth.volume import Volume, dilated

WATCH = Plan(name="watch", actions=(Observation(start_day=0, stop_day=400),))
CUT = Plan(name="cut", actions=(Surgery(start_day=10, stop_day=10, entities=("m1",), margin_mm=6.0),))


class Doubling:
    """Exponential growth whose doubling time varies about 90 days; new lesions come up at a steady rate."""

    def forecast(
        self, history: PatientHistory, plan: Plan, days_ahead: Sequence[float], *, samples: int, seed: int
    ) -> PatientFutures:
        rng = np.random.default_rng(seed)
        days = np.asarray(days_ahead)
        rate = rng.normal(math.log(2) / 90, 0.003, samples)[:, None] * days
        ratios = {lesion.entity: rate for lesion in history.lesions}
        births = np.floor(rng.random((samples, 1)) + days / 300).astype(np.int64)
        births[:, days == 0] = 0
        return PatientFutures(days, ratios, births, "law", {"seed": seed})


@pytest.fixture(scope="module")
def made(patient: Parse, scan: Volume) -> Forecast:
    return forecast(
        [patient], WATCH, (0, 90, 180), samples=8, seed=3, image=scan, decoder=load_decoder(), model=Doubling()
    )


def test_today_is_the_parse_itself(made: Forecast, patient: Parse) -> None:
    assert all(parse is patient for parse in made.parses(0))
    assert made.diff(0, 0).is_empty


def test_every_sample_is_closed_and_has_the_volumes_of_the_numbers(made: Forecast, patient: Parse) -> None:
    for horizon in (1, 2):
        for sample in range(made.samples):
            parse = made.future(sample, horizon).parse
            assert parse == Parse.replace(parse)
            drawn = sum(parse.mask(i).volume_ml(parse.geometry) for i in followed(parse))
            limited = made.future(sample, horizon).limited
            assert limited or drawn == pytest.approx(made.burden_ml[sample, horizon])


def test_the_intervals_are_those_of_the_samples(made: Forecast, patient: Parse) -> None:
    each = made.of("m1", 1)
    volumes = (
        np.rint(patient.mask("m1").voxels * np.exp(made.futures.log_ratio["m1"][:, 1])) * patient.geometry.voxel_ml
    )
    assert each.volume_ml.median == pytest.approx(float(np.median(volumes)))
    assert each.volume_ml.low < each.volume_ml.median < each.volume_ml.high
    assert each.gone == 0.0
    alone = [n for n in range(8) if not made.future(n, 1).regroups]
    longest = [axial_extent(made.future(n, 1).parse.mask("m1"), patient.geometry).longest_mm for n in alone]
    assert each.longest_mm.low - 1e-6 <= np.median(longest) <= each.longest_mm.high + 1e-6


def test_today_has_no_spread(made: Forecast, patient: Parse) -> None:
    now = patient.mask("m1").volume_ml(patient.geometry)
    each = made.of("m1", 0)
    assert (each.volume_ml.low, each.volume_ml.high) == (now, now)


def test_new_lesions_persist_and_grow(made: Forecast) -> None:
    for sample in range(made.samples):
        early, late = (made.future(sample, h).parse for h in (1, 2))
        for id in (i for i in early.present_ids if i.startswith("new")):
            gone = made.future(sample, 2).regroups
            assert gone or early.mask(id).voxels <= late.mask(id).voxels


def test_the_same_seed_gives_the_same_futures(made: Forecast, patient: Parse) -> None:
    again = forecast([patient], WATCH, (180, 90, 0), samples=8, seed=3, model=Doubling())
    assert again.days == made.days
    assert all(again.future(n, 2).parse == made.future(n, 2).parse for n in range(3))


def test_the_middle_course_lies_between_the_low_and_the_high(made: Forecast) -> None:
    low, middle, high = (made.burden_ml[made.typical(q), -1] for q in (0.05, 0.5, 0.95))
    assert low <= middle <= high


def test_surgery_counts_in_numbers_and_in_parses(patient: Parse) -> None:
    cut = forecast([patient], CUT, (5, 30), samples=3, seed=0, model=Doubling())
    assert cut.of("m1", 0).volume_ml.median > 0
    assert cut.of("m1", 1).volume_ml.high == 0.0
    assert cut.of("m1", 1).gone == 1.0
    assert cut.future(0, 1).parse.entity("m1").presence is Presence.absent


def test_the_typical_course_is_typical_of_every_lesion_and_of_their_sum(made: Forecast) -> None:
    courses = {quantile: made.typical(quantile) for quantile in (0.1, 0.5, 0.9)}
    middle = courses[0.5]
    for values in (made.burden_ml, *made.ratios.values()):
        below = (values < values[middle]).mean(axis=0)
        above = (values > values[middle]).mean(axis=0)
        assert (below[1:] < 0.75).all()
        assert (above[1:] < 0.75).all()
    for quantile, sample in courses.items():
        share = (made.burden_ml[:, -1] < made.burden_ml[sample, -1]).mean()
        assert abs(share - quantile) <= 0.05 + 1 / made.samples
    assert made.typical() == middle


def test_a_scan_of_the_future_keeps_every_voxel_outside_what_changes(made: Forecast, scan: Volume) -> None:
    sample = made.typical()
    drawn = render_future(made, sample, 2)
    then = made.future(sample, 2).parse
    inside = drawn.region.dense()
    np.testing.assert_array_equal(drawn.image.array[~inside], scan.array[~inside])
    assert (drawn.image.array[inside] != scan.array[inside]).any()
    for id in ("m1", "m2"):
        if id in then.masks:
            assert (then.mask(id) - drawn.region).is_empty
    assert "watch" in drawn.mark
    assert "day 180" in drawn.mark


def test_a_grown_lesion_looks_like_itself(made: Forecast, scan: Volume, patient: Parse) -> None:
    sample = made.typical()
    drawn = render_future(made, sample, 2).image
    then = made.future(sample, 2).parse
    fresh = then.mask("m1") - patient.mask("m1") - patient.mask("m2")
    assert fresh.values(scan.array).mean() > 95  # liver today
    assert abs(fresh.values(drawn.array).mean() - 60) < 20  # lesion then


def test_what_is_drawn_has_the_level_and_the_noise_of_the_scan(made: Forecast, scan: Volume, patient: Parse) -> None:
    sample = made.typical()
    drawn = render_future(made, sample, 2)
    then = made.future(sample, 2).parse
    lesions = [m for p in (patient, then) for e, m in p.masks.items() if p.entity(e).kind is Kind.finding]
    liver = patient.mask("liver") & drawn.region
    for lesion in lesions:
        liver = liver - lesion
    known = liver.values(scan.array)
    said = liver.values(drawn.image.array)
    assert said.mean() == pytest.approx(known.mean(), abs=6.0)
    assert 0.6 * known.std() < said.std() < 1.6 * known.std()
    inside, was = (drawn.region.values(a) for a in (drawn.image.array, scan.array))
    margin = 3.0 * known.std()
    assert was.min() - margin < inside.min() <= inside.max() < was.max() + margin
    assert "mean with the scan's grain" in drawn.mark


def test_grain_is_put_back_where_nothing_changes_and_old_contents_are_not(patient: Parse, scan: Volume) -> None:
    region = dilated(patient.mask("m1"), patient.geometry, 12.0) & patient.mask("liver") - patient.mask("m2")
    bright = scan.array.copy()
    at = tuple(np.argwhere(patient.mask("m1").dense())[0])
    bright[at] = 1500.0
    told = patient.replace(attributes=(Attribute(entity="m1", type="mean_attenuation", value=75.0),))
    flat = scan.with_array(np.where(region.dense(), np.float32(300.0), bright))
    real = scan.with_array(bright)
    made = with_grain(flat, real, patient, told, region=region, changed=patient.mask("m1"), width_mm=3.0)
    still = region - patient.mask("m1")
    assert abs(float(np.median(still.values(made.array) - still.values(bright)))) < 2.0
    assert still.values(made.array).std() > 0.5 * still.values(bright).std()
    assert patient.mask("m1").values(made.array).mean() == pytest.approx(75.0, abs=3.0)
    assert made.array[at] < 200.0
    np.testing.assert_array_equal(made.array[~region.dense()], bright[~region.dense()])


def test_a_scan_of_today_is_the_scan(made: Forecast, scan: Volume) -> None:
    drawn = render_future(made, 0, 0)
    assert drawn.region is None
    assert drawn.image is scan


def test_what_a_decoder_cannot_draw_is_refused_with_the_reason(patient: Parse, scan: Volume) -> None:
    mr = Volume(scan.array, scan.geometry, "MR")
    told = patient.replace(circumstance=patient.circumstance.changed(modality="MR"))
    made = forecast([told], WATCH, (90,), samples=1, image=mr, decoder=load_decoder(), model=Doubling())
    assert made.future(0, 0).parse.mask("m1").voxels > patient.mask("m1").voxels
    with pytest.raises(InputError, match="expected CT images, got MR"):
        render_future(made, 0, 0)
    blind = forecast([patient], WATCH, (90,), samples=1, model=Doubling())
    with pytest.raises(InputError, match="no scan"):
        render_future(blind, 0, 0)


def test_nothing_changed_has_no_region(patient: Parse) -> None:
    assert changed_region(patient, patient, margin_mm=4.0) is None
    shifted = patient.with_presence("m2", "absent")
    region = changed_region(patient, shifted, margin_mm=6.0)
    assert (patient.mask("m2") - region).is_empty
    assert region.overlap(patient.mask("m1")) == 0


def test_what_lies_beside_a_change_is_not_drawn_again(patient: Parse) -> None:
    wide = shape_of(patient.mask("m1"), patient.geometry, 900, barriers(patient, "m1")).at(900)
    vein, other = patient.mask("portal_vein_and_splenic_vein"), patient.mask("m2")
    assert dilated(wide, patient.geometry, 6.0).overlap(vein) > 0
    region = changed_region(patient, patient.with_mask("m1", wide), margin_mm=6.0)
    assert region.overlap(vein) == region.overlap(other) == 0
    assert (wide - region).is_empty
    assert region.voxels > wide.voxels


def test_the_history_holds_each_lesion_at_the_visits_that_show_it(patient: Parse) -> None:
    before = patient.without("m2").with_mask("m1", patient.mask("m2"))
    before = before.replace(circumstance=before.circumstance.changed(day=-20.0))
    history = history_of([before, patient])
    one, two = history.lesions
    assert (one.entity, one.days, one.organ) == ("m1", (-20.0, 10.0), "liver")
    assert one.volume_ml == tuple(patient.mask(i).volume_ml(patient.geometry) for i in ("m2", "m1"))
    assert (two.entity, two.days) == ("m2", (10.0,))
    assert one.inside == ("liver",)


def test_benign_lesions_are_not_followed(patient: Parse) -> None:
    cyst = patient.without("m2").with_entity(Entity(id="c", name="liver_cyst"), patient.mask("m2"))
    assert followed(cyst) == ("m1",)


@pytest.mark.parametrize(
    ("days", "samples", "message"),
    [((), 1, "days"), ((10, 10), 1, "days"), ((-5,), 1, "days"), ((90,), 0, "samples"), ((99999,), 1, "days")],
)
def test_bad_questions_are_refused(patient: Parse, days: tuple[float, ...], samples: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        forecast([patient], WATCH, days, samples=samples, model=Doubling())


def test_a_patient_without_lesions_or_with_days_that_fall_is_refused(patient: Parse, scan: Volume) -> None:
    with pytest.raises(InputError, match="drawn lesion"):
        forecast([patient.without("m1", "m2")], WATCH, (90,), model=Doubling())
    with pytest.raises(InputError, match="rising"):
        forecast([patient, patient], WATCH, (90,), model=Doubling())
    with pytest.raises(InputError, match="at least one"):
        forecast([], WATCH, (90,), model=Doubling())
    mr = Volume(scan.array, scan.geometry, "MR")
    told = patient.replace(circumstance=patient.circumstance.changed(modality="CT"))
    with pytest.raises(InputError, match="parse modality"):
        forecast([told], WATCH, (90,), image=mr, model=Doubling())
    small = scan.cropped((slice(0, 20), slice(0, 20), slice(0, 20)))
    with pytest.raises(InputError, match="grid of the last parse"):
        forecast([patient], WATCH, (90,), image=small, model=Doubling())
    plan = Plan(name="x", actions=(Surgery(start_day=0, stop_day=0, entities=("nobody",)),))
    with pytest.raises(InputError, match="nobody"):
        forecast([patient], plan, (90,), model=Doubling())


def test_the_shipped_model_gives_futures_that_start_at_the_parse(patient: Parse) -> None:
    made = forecast([patient], WATCH, (0, 60), samples=4, seed=1, model=DynamicsModel.from_pretrained())
    assert made.future(0, 0).parse is patient
    assert len({float(v) for v in made.burden_ml[:, 1]}) > 1


def test_a_difference_reads_as_a_clinical_sentence(made: Forecast, patient: Parse) -> None:
    sample = next(n for n in range(8) if not made.future(n, 1).regroups)
    then = made.future(sample, 1).parse
    told = narrative(patient, then, made.diff(sample, 1))
    assert told[0].startswith("Liver metastasis (m1) grew from")
    assert "mm within 90 days" in told[0]
    assert narrative(patient, patient, diff(patient, patient)) == ("No change.",)
    later = patient.replace(circumstance=patient.circumstance.changed(day=11.0))
    assert narrative(patient, later, diff(patient, later)) == ("No change within 1 day.",)
    gone = patient.with_presence("m2", "absent")
    assert narrative(patient, gone, diff(patient, gone)) == ("Liver metastasis (m2) is gone.",)
