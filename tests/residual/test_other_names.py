"""The names that an outline could have, and the one that the image supports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synth.interop.openkbp import read_patient
from synth.parse import Kind, Parse
from synth.phantom import Phantom, make
from synth.pipeline.audit import shipped_model
from synth.population import Population
from synth.residual.judge import NO_DECODER
from synth.residual.other_names import OtherName, best_other_name, possible_names, renamed, shares_its_name
from synth.volume import Volume, resample


@pytest.fixture(scope="module")
def patient() -> Phantom:
    return make(98_201, spacing_mm=(4.0, 4.0, 4.0))


def best(image: Volume, parse: Parse, id: str) -> OtherName | None:
    model = shipped_model()
    return best_other_name(image, parse, id, model.prior, model.judge(NO_DECODER), Population.load())


def possible(parse: Parse, id: str) -> list[str]:
    model = shipped_model()
    return possible_names(parse, id, model.prior, model.judge(NO_DECODER), Population.load())


def test_a_name_that_another_has_or_that_is_wider_or_far_away_is_not_possible(patient: Phantom) -> None:
    called = renamed(patient.parse.without("spleen"), "liver", "spleen")
    names = possible(called, "liver")
    assert "liver" in names
    assert not {"spleen", "stomach", "abdominal_organ", "mandible", "urinary_bladder", "brain"} & set(names)


def test_organs_under_each_others_names_get_their_own_back(patient: Phantom) -> None:
    for id, name in (("liver", "pancreas"), ("stomach", "gallbladder")):
        found = best(patient.image, renamed(patient.parse.without(name), id, name), id)
        assert found is not None
        assert found.name == id
        assert found.score > found.claimed + 2.0


def test_true_names_are_kept(patient: Phantom) -> None:
    for id in ("liver", "aorta", "stomach", "vertebrae_L1"):
        assert best(patient.image, patient.parse, id) is None


def test_a_part_of_an_organ_can_be_called_as_an_organ(patient: Phantom) -> None:
    lobe = next(e for e in patient.parse.entities if e.kind is Kind.substructure and e.id in patient.parse.masks)
    called = renamed(patient.parse, lobe.id, "stomach")
    assert (called.entity(lobe.id).kind, called.entity(lobe.id).name) == (Kind.organ, "stomach")
    assert called.masks[lobe.id] == patient.parse.masks[lobe.id]


def test_two_of_one_name_are_counted(patient: Phantom) -> None:
    assert not shares_its_name(patient.parse, "liver")
    assert shares_its_name(renamed(patient.parse, "spleen", "liver"), "liver")


def test_in_a_real_neck_a_mandible_called_larynx_is_a_mandible(shared_data: Path) -> None:
    given = read_patient(shared_data / "openkbp" / "validation" / "pt_201")
    grid = given.image.geometry.with_spacing(4.0)
    image, parse = resample(given.image, grid), given.parse.resampled(grid)
    found = best(image, renamed(parse.without("larynx"), "mandible", "larynx"), "mandible")
    assert found is not None
    assert found.name == "mandible"
    assert "liver" not in possible(renamed(parse, "mandible", "larynx"), "mandible")
    assert np.isfinite(found.claimed)
