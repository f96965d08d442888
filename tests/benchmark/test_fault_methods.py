"""Ours and the baselines of the faults benchmark: what each is shown, and what moves its score."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from synth.benchmark.beta_presence import BetaPresence
from synth.benchmark.fault_methods import Ours, PresenceTest, fit_baselines, read_training
from synth.benchmark.faults import rows_of, score_claims
from synth.benchmark.moved import DISTANCES_MM, SURFACES, TRUE, MaskClaim, claims_about
from synth.benchmark.partial_noise import ANY, Denoiser, PartialNoise, PartialNoiseOptions
from synth.benchmark.render_compare import RenderCompare, compared, dilated
from synth.benchmark.separation import auroc
from synth.cli.app import app
from synth.decoder import DirectDecoder, LatentDecoder
from synth.errors import InputError
from synth.interop.openkbp import Patient
from synth.volume import Mask


@pytest.fixture(scope="module")
def patients(world: ModuleType) -> list[Patient]:
    toys = [world.toy_patient(seed) for seed in range(200, 206)]
    return [Patient(f"toy_{k}", toy.image, toy.parse) for k, toy in enumerate(toys)]


@pytest.fixture(scope="module")
def latent() -> LatentDecoder:
    return LatentDecoder.from_pretrained()


def test_claims_are_two_true_masks_and_moved_ones_at_their_distance(patients: list[Patient]) -> None:
    claims = list(claims_about(patients[0]))
    parse, geometry = patients[0].parse, patients[0].image.geometry
    for organ in parse.present_ids:
        own = [c for c in claims if c.entity == organ]
        assert [(c.condition, c.surface) for c in own[:2]] == [(TRUE, s) for s in SURFACES]
        assert (own[0].parse.masks[organ].dense() == parse.masks[organ].dense()).all()
        for claim in own[2:]:
            low, high = DISTANCES_MM[claim.condition]
            moved = claim.parse.masks[organ].centroid_mm(geometry) - parse.masks[organ].centroid_mm(geometry)
            assert low - 4.0 <= np.linalg.norm(moved) <= high + 4.0  # a voxel, for jitter and rounding
            others = [i for i in parse.present_ids if i != organ]
            assert all(claim.parse.masks[i] is parse.masks[i] for i in others)


def test_the_same_seed_moves_masks_alike_and_another_does_not(patients: list[Patient]) -> None:
    def masks(seed: int) -> list[bytes]:
        return [c.parse.masks[c.entity].dense().tobytes() for c in claims_about(patients[0], seed=seed)]

    assert masks(0) == masks(0)
    assert masks(0) != masks(1)


def test_repeats_draw_anew(patients: list[Patient]) -> None:
    once, twice = (list(claims_about(patients[0], repeats=n)) for n in (1, 2))
    assert [c.condition for c in twice[: len(once)]] == [c.condition for c in once]
    assert len([c for c in twice if c.condition == TRUE]) == 2 * len([c for c in once if c.condition == TRUE])
    first, second = (next(c for c in part if c.surface == "jittered") for part in (twice, twice[len(once) :]))
    assert (first.parse.masks[first.entity].dense() != second.parse.masks[second.entity].dense()).any()


def test_ours_refuses_a_judge_of_other_weights(world: ModuleType) -> None:
    decoder, model = world.decoder(), world.model()
    assert Ours(decoder, model)
    with pytest.raises(InputError, match="synth train audit"):
        Ours(replace(decoder, weights_sha256="1" * 64), model)


def test_every_method_scores_the_same_claims_and_none_changes_another(
    world: ModuleType, patients: list[Patient]
) -> None:
    ours = Ours(world.decoder(), world.model())
    presence = PresenceTest(BetaPresence.fit((p.image, p.parse) for p in patients[2:]))
    alone, other, both = (score_claims(patients[:2], m, 4.0) for m in ([ours], [presence], [ours, presence]))
    assert {"ours", "l1", "histogram"} <= set(alone[0].scores)
    assert set(other[0].scores) == {"ks"}
    assert [dict(a.scores) | dict(b.scores) for a, b in zip(alone, other, strict=True)] == [c.scores for c in both]
    assert {row.method for row in rows_of(both)} == {*alone[0].scores, "ks"}


def test_the_presence_test_tells_an_organ_from_fat(patients: list[Patient]) -> None:
    presence = PresenceTest(BetaPresence.fit((p.image, p.parse) for p in patients[1:]))
    claims = [c for c in claims_about(patients[0]) if c.condition in (TRUE, "32-56")]
    assert _auroc(presence, patients[0], claims, "ks") > 0.95


def _auroc(method: PresenceTest | RenderCompare, patient: Patient, claims: list[MaskClaim], name: str) -> float:
    score = method.of(patient.image)
    return auroc(np.array([c.condition != TRUE for c in claims]), np.array([score(c)[name] for c in claims]))


def test_render_and_regress_tells_moved_masks_from_true_ones_and_knows_nothing_before_it_is_fitted(
    world: ModuleType, patients: list[Patient]
) -> None:
    fitted = RenderCompare.fit(patients[1:], world.decoder())
    claims = [c for c in claims_about(patients[0]) if c.condition != "8-12"]
    assert _auroc(fitted, patients[0], claims, "synthcp") > 0.95
    blank = replace(fitted, fusion=replace(fitted.fusion, weights=np.zeros_like(fitted.fusion.weights)))
    assert _auroc(blank, patients[0], claims, "synthcp") == pytest.approx(0.5)


def test_an_image_that_is_what_is_drawn_does_not_differ_from_it(world: ModuleType, patients: list[Patient]) -> None:
    decoder, parse = world.decoder(), patients[0].parse
    region = dilated(parse.masks["liver"])
    encoded = decoder.encode(patients[0].image)
    drawn = decoder.render(parse, encoded, region, generator=torch.Generator().manual_seed(0)).location
    same = compared(decoder, decoder.encode(patients[0].image.with_array(drawn)), parse, "liver")
    real = compared(decoder, encoded, parse, "liver")
    for key in ("l1_core", "l2_core", "l1_rim", "quantiles"):
        assert same[key] == pytest.approx(np.log(5.0))
        assert real[key] > same[key]
    assert same["bias_core"] == same["quantile_50"] == same["gradient_rim"] == 0.0
    brighter = np.where(region.dense(), drawn + 20.0, drawn).astype(np.float32)
    off = compared(decoder, decoder.encode(patients[0].image.with_array(brighter)), parse, "liver")
    assert off["bias_core"] == pytest.approx(20.0, abs=1e-3)
    assert off["quantile_10"] == pytest.approx(20.0, abs=1e-3)


def test_what_surrounds_a_mask_ends_at_the_grid() -> None:
    corner = Mask.from_box((5, 5, 5), (0, 0, 4), np.ones((1, 1, 1), bool))
    grown = dilated(corner)
    assert grown.voxels == 10  # one octant of the 25 voxels that two steps reach, its planes included
    assert grown.shape == (5, 5, 5)


def test_no_noise_is_the_autoencoder_and_more_noise_is_farther_from_the_image(
    patients: list[Patient], latent: LatentDecoder
) -> None:
    eighths = (slice(0, 40), slice(0, 32), slice(0, 32))  # voxels that need no padding, which the networks would see
    image = patients[0].image.cropped(eighths)
    none = Denoiser(latent, PartialNoiseOptions(level=0.0)).back(image)
    np.testing.assert_allclose(none, latent.reconstruct(image), atol=1e-3)
    little, much = (Denoiser(latent, PartialNoiseOptions(level=t)) for t in (0.1, 0.8))
    assert np.abs(none - image.array).mean() < little.error(image).mean() < much.error(image).mean()
    np.testing.assert_array_equal(little.back(image), little.back(image))


def test_smoothing_spreads_the_error_over_its_surroundings(patients: list[Patient], latent: LatentDecoder) -> None:
    plain, smooth = (Denoiser(latent, PartialNoiseOptions(smoothing_voxels=s)).error(patients[0].image) for s in (0, 1))
    assert smooth.std() < plain.std()
    assert smooth.mean() == pytest.approx(plain.mean(), rel=0.05)


def test_partial_noise_compares_a_mask_with_its_name_where_it_knows_enough_of_it(
    patients: list[Patient], latent: LatentDecoder
) -> None:
    few, many = (PartialNoise.fit(patients[:n], Denoiser(latent)) for n in (3, 5))
    assert set(few.usual) == {ANY}
    assert set(many.usual) == {ANY, "liver", "spleen", "kidney_right", "kidney_left"}
    score = many.of(patients[5].image)
    liver = next(c for c in claims_about(patients[5]) if c.entity == "liver")
    error = many.denoiser.error(patients[5].image)
    assert score(liver)["anoddpm"] == pytest.approx(-liver.parse.masks["liver"].values(error).mean(), rel=1e-4)
    edge = Mask.from_dense((error > np.quantile(error, 0.99)).astype(bool))
    odd = replace(liver, parse=liver.parse.with_mask("liver", edge))
    assert score(odd)["anoddpm"] < score(liver)["anoddpm"]
    assert score(odd)["anoddpm_usual"] < -3.0 < score(liver)["anoddpm_usual"] <= 0.0


@pytest.mark.parametrize("wrong", [{"level": 1.2}, {"steps": 0}, {"smoothing_voxels": -1.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong)).replace("level", "noise level")):
        PartialNoiseOptions(**wrong)  # type: ignore[arg-type] # on purpose


def test_baselines_are_not_fitted_on_nothing(tmp_path: Path, latent: LatentDecoder) -> None:
    with pytest.raises(InputError, match="--training"):
        read_training(None, 3)
    with pytest.raises(InputError, match="at least 1"):
        read_training(tmp_path, 0)
    with pytest.raises(InputError, match="at least 1"):
        fit_baselines([], DirectDecoder.from_pretrained(), latent)


def test_training_patients_are_spread_over_the_folder(shared_data: Path) -> None:
    folder = shared_data / "openkbp" / "validation"
    two = read_training(folder, 2)
    every = sorted((p.name for p in folder.iterdir()), key=lambda name: int(name.split("_")[1]))
    assert [p.name for p in two] == [every[0], every[len(every) // 2]]


def test_the_command_wants_training_cases_for_what_is_fitted() -> None:
    for options in (["--baselines", "all"], ["--training", "somewhere"]):
        said = CliRunner().invoke(app, ["benchmark", "faults", "--data", "nowhere", *options])
        assert said.exit_code != 0
        assert "training" in str(said.output) + str(said.exception)


@pytest.mark.slow
def test_the_command_scores_the_baselines_alone(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.benchmark.faults.RESAMPLES", 2)  # the intervals have tests of their own
    for number, source in enumerate(("validation/pt_202", "validation/pt_206", "validation/pt_207")):
        (tmp_path / "cases").mkdir(exist_ok=True)
        (tmp_path / "cases" / f"pt_{number}").symlink_to(shared_data / "openkbp" / source)
    cases = str(tmp_path / "cases")
    asked = ["--data", cases, "--training", cases, "--baselines", "alone", "--fitted", "2", "--limit", "1"]
    said = CliRunner().invoke(app, ["benchmark", "faults", *asked, "--workers", "1", "--json"])
    assert said.exit_code == 0, said.output
    result = json.loads(said.stdout)
    assert {row["method"] for row in result["rows"]} == {"ks", "anoddpm", "anoddpm_usual", "synthcp"}
    assert "--baselines alone --training cases --fitted 2" in result["command"]
    assert set(result["weights"]) == {"direct", "latent"}
