"""The same patient on another scanner: what changes in the image, and that nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from synth.benchmark.result import Row
from synth.benchmark.scanners import KERNEL_MM, NOISE_HU, SCANNERS, OtherScanner, as_scanned, of_scanner
from synth.benchmark.verdict_patients import Phantoms
from synth.cli.app import app
from synth.volume import Geometry, Volume


@pytest.fixture(scope="module")
def edge() -> Volume:
    """A step of 100 HU, on voxels that are longer along z."""
    array = np.zeros((40, 40, 30), np.float32)
    array[20:] = 100.0
    return Volume(array, Geometry.regular(array.shape, (2.0, 2.0, 3.0)), "CT", "HU")


def test_a_calibration_that_is_off_moves_every_voxel_alike(edge: Volume) -> None:
    for scanner, offset in (("brighter", 8.0), ("darker", -8.0)):
        np.testing.assert_allclose(as_scanned(edge, scanner).array - edge.array, offset)


def test_noise_has_the_stated_size_is_smooth_and_is_the_same_again(edge: Volume) -> None:
    added = as_scanned(edge, "noisy").array - edge.array
    assert added.std() == pytest.approx(NOISE_HU, rel=0.1)
    assert abs(added.mean()) < 4.0
    neighbours = np.corrcoef(added[:-1].ravel(), added[1:].ravel())[0, 1]
    assert neighbours > 0.5
    np.testing.assert_array_equal(as_scanned(edge, "noisy").array - edge.array, added)
    assert not np.allclose(as_scanned(edge, "noisy", seed=1).array - edge.array, added)


def test_a_soft_kernel_has_its_width_in_mm_and_a_sharp_one_overshoots(edge: Volume) -> None:
    soft, sharp = as_scanned(edge, "soft").array, as_scanned(edge, "sharp").array
    steps = np.diff(soft[:, 20, 15])
    where = np.arange(39) + 0.5
    width = np.sqrt((steps * (where - 19.5) ** 2).sum() / steps.sum()) * 2.0
    assert width == pytest.approx(KERNEL_MM, rel=0.1)
    assert sharp.max() > 110.0
    assert sharp.min() < -10.0
    far = np.abs(np.arange(40) - 19.5) > 6
    np.testing.assert_allclose(sharp[far], edge.array[far], atol=0.5)


def test_the_patient_is_the_same_but_for_the_image() -> None:
    plain, other = Phantoms(1), OtherScanner(Phantoms(1), "soft")
    assert (other.names, other.arena) == (plain.names, plain.arena)
    assert other.about != plain.about
    one, changed = plain.truth(0, 4.0), other.truth(0, 4.0)
    assert changed.parse.masks.keys() == one.parse.masks.keys()
    assert all(changed.parse.masks[id] == mask for id, mask in one.parse.masks.items())
    assert changed.parse.circumstance.image_sha256 == changed.image.sha256() != one.image.sha256()
    blurred = ndimage.gaussian_filter(one.image.array, [KERNEL_MM / s for s in one.image.geometry.spacing_mm])
    np.testing.assert_allclose(changed.image.array, blurred, atol=1e-2)


def test_rows_carry_the_scanner_where_there_is_one() -> None:
    row = Row({"arena": "openkbp"}, "ours", "auroc", 0.9, 0.8, 1.0, 3)
    assert of_scanner([row], None) == (row,)
    assert [r.group for r in of_scanner([row], "soft")] == [{"arena": "openkbp", "scanner": "soft"}]


@pytest.mark.parametrize("command", [["faults", "--data", "."], ["verdicts"]])
def test_an_unknown_scanner_is_refused_by_name(command: list[str]) -> None:
    said = CliRunner().invoke(app, ["benchmark", *command, "--scanner", "blurry"])
    assert said.exit_code == 2
    assert "blurry" in said.output
    assert all(name in said.output for name in SCANNERS)


def test_the_same_claims_are_scored_on_each_scanner(shared_data: Path) -> None:
    data = shared_data / "openkbp" / "validation"
    command = ["benchmark", "faults", "--data", str(data), "--limit", "1", "--decoder", "direct", "--json"]
    said = CliRunner().invoke(app, [*command, "--scanner", "brighter", "--scanner", "soft"])
    assert said.exit_code == 0, said.output
    result = json.loads(said.stdout)
    assert "--scanner brighter --scanner soft" in result["command"]
    counts: dict[str, dict[object, int]] = {}
    values: dict[str, dict[object, float]] = {}
    for row in result["rows"]:
        key = *sorted((k, v) for k, v in row["group"].items() if k != "scanner"), row["method"], row["metric"]
        counts.setdefault(row["group"]["scanner"], {})[key] = row["n"]
        values.setdefault(row["group"]["scanner"], {})[key] = row["value"]
    assert counts["brighter"] == counts["soft"]
    assert values["brighter"] != values["soft"]
