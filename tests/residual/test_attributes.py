"""Declared appearance is compared with what is seen under the outline and under outlines near it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from synth.fault import jitter
from synth.parse import Attribute, Circumstance, Entity, Parse, Phase
from synth.parse.derive import derive_appearance
from synth.population import Population
from synth.residual.attributes import MEASURED, CheckedAttribute, check_attributes
from synth.residual.intensity_prior import IntensityPrior
from synth.volume import Geometry, Mask, Volume

SHAPE, GRID = (40, 40, 40), Geometry.regular((40, 40, 40), 2.0)
ORGAN = Mask.from_box(SHAPE, (6, 6, 6), np.ones((26, 26, 26), bool))
LESION = Mask.from_box(SHAPE, (12, 12, 12), np.ones((9, 9, 9), bool))


def _image(lesion_hu: float = 10.0, organ_hu: float = 60.0, noise: float = 8.0) -> Volume:
    array = np.random.default_rng(0).normal(-100, noise, SHAPE).astype(np.float32)
    array[ORGAN.slices] += organ_hu + 100
    array[LESION.slices] += lesion_hu - organ_hu
    return Volume(array, GRID, "CT", "HU")


def _parse(*attributes: Attribute, organ: Mask = ORGAN, **more: Any) -> Parse:
    entities = [Entity(id="liver", name="liver"), Entity(id="a", name="liver_cyst")]
    return Parse(entities, attributes=attributes, geometry=GRID, masks={"liver": organ, "a": LESION}, **more)


@pytest.fixture(scope="module")
def prior() -> IntensityPrior:
    image = _image()
    return IntensityPrior.fit((image.array, {"liver": ORGAN, "liver_cyst": LESION}) for _ in range(12))


def _check(image: Volume, parse: Parse, prior: IntensityPrior, id: str = "a") -> tuple[CheckedAttribute, ...]:
    return check_attributes(image, parse, parse.entity(id), prior, Population.load(), np.random.default_rng(0))


@pytest.mark.parametrize(("value", "wrong"), [(10.0, False), (14.0, False), (80.0, True), (-60.0, True)])
def test_a_mean_is_what_is_seen_or_it_is_wrong(prior: IntensityPrior, value: float, wrong: bool) -> None:
    (found,) = _check(_image(), _parse(Attribute(entity="a", type="mean_attenuation", value=value)), prior)
    assert found.wrong is wrong
    assert found.measured == pytest.approx(10.0, abs=12.0)


@pytest.mark.parametrize("type", MEASURED)
def test_what_was_measured_under_the_true_outline_holds_under_a_jittered_one(prior: IntensityPrior, type: str) -> None:
    image = _image()
    true = [a.changed(derived=False) for a in derive_appearance(_parse(), image).attributes]
    outline = jitter(LESION, GRID, np.random.default_rng(1))
    claimed = _parse(*(a for a in true if a.type == type)).with_mask("a", outline)
    (found,) = _check(image, claimed, prior)
    assert found.wrong is not True
    kind = found.attribute.definition
    far = float(found.attribute.value) + 12 * kind.tolerance
    (found,) = _check(image, claimed.replace(attributes=[found.attribute.changed(value=far)]), prior)
    assert found.wrong is True


@pytest.mark.parametrize(
    ("value", "lesion_hu", "wrong"),
    [
        ("fluid", 8.0, False),
        ("fluid", 110.0, True),
        ("hypodense", 8.0, False),
        ("hypodense", 130.0, True),
        ("isodense", 62.0, False),
        ("isodense", -40.0, True),
        ("hyperdense", 120.0, False),
        ("fat", -90.0, False),
        ("air", -90.0, True),
        ("calcified", 400.0, False),
    ],
)
def test_a_category_of_attenuation_is_an_interval(
    prior: IntensityPrior, value: str, lesion_hu: float, wrong: bool
) -> None:
    told = _parse(Attribute(entity="a", type="attenuation_class", value=value))
    (found,) = _check(_image(lesion_hu), told, prior)
    assert found.wrong is wrong


def test_a_host_whose_label_excludes_the_lesion_is_still_its_host(prior: IntensityPrior) -> None:
    told = _parse(Attribute(entity="a", type="attenuation_class", value="hyperdense"), organ=ORGAN - LESION)
    (found,) = _check(_image(), told, prior)
    assert found.wrong is True


def test_what_cannot_be_asked_says_why(prior: IntensityPrior) -> None:
    told = _parse(
        Attribute(entity="a", type="margin", value="circumscribed"),
        Attribute(entity="a", type="mean_attenuation", value=10.0, phase="arterial"),
        circumstance=Circumstance(modality="CT", phase="portal_venous"),
    )
    margin, mean = _check(_image(), told, prior)
    assert (margin.wrong, mean.wrong) == (None, None)
    assert "measures" in margin.reason
    assert "portal_venous" in mean.reason


def test_derived_values_are_not_asked_about(prior: IntensityPrior) -> None:
    assert _check(_image(), derive_appearance(_parse(), _image()), prior) == ()


def test_a_mean_that_the_population_does_not_have_is_not_plausible(prior: IntensityPrior) -> None:
    values = {60.0: True, 700.0: False}
    for value, plausible in values.items():
        told = _parse(Attribute(entity="liver", type="mean_attenuation", value=value))
        (found,) = _check(_image(), told, prior, "liver")
        assert found.plausible is plausible
        assert ("unusual" in found.reason) is not plausible


SPLEEN = Mask.from_box(SHAPE, (33, 6, 6), np.ones((6, 26, 26), bool))


def _fatty(liver_hu: float, grade: str, phase: Phase | None, spleen_hu: float = 50.0) -> tuple[Volume, Parse]:
    array = _image(lesion_hu=liver_hu, organ_hu=liver_hu).array.copy()
    array[SPLEEN.slices] = np.random.default_rng(1).normal(spleen_hu, 8.0, SPLEEN.box.shape)
    told = Attribute(entity="liver", type="steatosis_grade", value=grade)
    parse = _parse(told, circumstance=Circumstance(modality="CT", phase=phase))
    return Volume(array, GRID, "CT", "HU"), parse.with_entity(Entity(id="spleen", name="spleen"), SPLEEN)


@pytest.mark.parametrize(
    ("liver_hu", "grade", "wrong"), [(58, "S0", False), (58, "S3", True), (6, "S3", False), (6, "S0", True)]
)
def test_a_grade_of_steatosis_is_compared_with_the_spleen(
    prior: IntensityPrior, liver_hu: float, grade: str, wrong: bool
) -> None:
    (found,) = _check(*_fatty(liver_hu, grade, Phase.unenhanced), prior, "liver")
    assert found.wrong is wrong
    assert found.measured == pytest.approx(liver_hu - 50.0, abs=8.0)


def test_without_a_phase_or_a_spleen_no_grade_is_judged(prior: IntensityPrior) -> None:
    image, parse = _fatty(6.0, "S0", None)
    (found,) = _check(image, parse, prior, "liver")
    assert (found.wrong, found.reason) == (None, "the image's contrast phase is not known")
    image, parse = _fatty(6.0, "S0", Phase.unenhanced)
    (found,) = _check(image, parse.without("spleen"), prior, "liver")
    assert (found.wrong, found.reason) == (None, "nothing to compare it with")


@pytest.mark.parametrize(("rise", "wrong"), [(5.0, False), (70.0, True)])
def test_a_rise_after_contrast_is_taken_from_what_is_seen(prior: IntensityPrior, rise: float, wrong: bool) -> None:
    told = Attribute(entity="a", type="enhancement", value=rise, phase=Phase.portal_venous)
    parse = _parse(told, circumstance=Circumstance(modality="CT", phase=Phase.portal_venous))
    (found,) = _check(_image(lesion_hu=25.0), parse, prior)
    assert found.wrong is wrong
    (other,) = _check(
        _image(lesion_hu=25.0), parse.replace(circumstance=Circumstance(modality="CT", phase=Phase.arterial)), prior
    )
    assert other.wrong is None  # the attribute speaks of another phase
