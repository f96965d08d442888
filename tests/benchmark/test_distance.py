"""Changes of known size, the numbers of the distance benchmark, and LPIPS from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.benchmark import edits
from synth.benchmark.distance import Pair, rows_of
from synth.benchmark.perceptual import load_lpips
from synth.cli.app import app
from synth.volume import Mask

SHAPE = (30, 30, 30)
KERNELS = ((11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256))


@pytest.fixture
def ball() -> Mask:
    away = sum((a - 15.0) ** 2 for a in np.indices(SHAPE))
    return Mask.from_dense(away <= 36.0)


def test_an_attenuation_edit_changes_the_inside_by_its_hounsfield_units(ball: Mask) -> None:
    image = np.zeros(SHAPE, np.float32)
    changed = edits.attenuation(image, ball, 40.0, np.random.default_rng(0))
    assert np.abs(changed[15, 15, 15]) == pytest.approx(40.0, abs=0.1)
    assert np.abs(changed[0, 0, 0]) == 0.0


@pytest.mark.parametrize("ratio", [1.25, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("seed", [0, 2])
def test_a_size_edit_changes_the_volume_by_its_ratio(ball: Mask, ratio: float, seed: int) -> None:
    image = np.clip(6.5 - np.sqrt(sum((a - 15.0) ** 2 for a in np.indices(SHAPE))), 0, 1).astype(np.float32)
    before = image.sum()
    after = edits.size(image, ball, ratio, np.random.default_rng(seed)).sum()
    want = ratio if after > before else 1 / ratio
    assert after / before == pytest.approx(want, rel=0.15)


def test_every_clinical_edit_grows_with_its_severity_and_stays_near_the_entity(ball: Mask) -> None:
    rng = np.random.default_rng(3)
    image = (rng.normal(0, 10, SHAPE) + 60 * ball.dense()).astype(np.float32)
    far = np.ones(SHAPE, bool)
    far[ball.padded_slices(9)] = False
    for name, kind in edits.CLINICAL.items():
        amounts = [kind.amount(s, image, ball, 0.064) for s in kind.severities]
        moved = [np.abs(kind.edit(image, ball, a, np.random.default_rng(1)) - image) for a in amounts if a is not None]
        assert len(moved) == len(kind.severities), name
        assert all(m[far].max() < 0.5 for m in moved if far.any()), name
        sizes = [float(m.sum()) for m in moved]
        assert sizes == sorted(sizes), name


def test_the_rows_are_the_null_the_rank_and_the_separation() -> None:
    pairs = []
    for patient in "ab":
        pairs.append(Pair(patient, "liver", "clinical", "none", 0.0, {"ours": 0.0, "psnr": 0.0}))
        for kind in edits.CLINICAL:
            for step, severity in enumerate(edits.CLINICAL[kind].severities, 1):
                scores = {"ours": float(step), "psnr": -float(step)}
                pairs.append(Pair(patient, "liver", "clinical", kind, severity, scores))
        pairs.append(Pair(patient, "liver", "nuisance", "noise", 15.0, {"ours": 0.0, "psnr": -2.5}))
        pairs += [Pair(patient, "liver", "null", "jitter", 0.0, {"ours": v, "psnr": 0.0}) for v in (0.0, 0.2)]
    rows = {(r.group["family"], r.group["severity"], r.method, r.metric): r.value for r in rows_of(pairs)}
    assert rows["all", "all", "ours", "null_p95"] == pytest.approx(0.2)
    assert rows["all", "all", "ours", "spearman"] == pytest.approx(1.0)
    assert rows["all", "all", "psnr", "spearman"] == pytest.approx(-1.0)
    assert rows["all", "all", "ours", "auroc"] == 1.0
    assert rows["all", "all", "psnr", "auroc"] == 0.5
    assert rows["all", "all", "psnr", "auroc_gain"] == 0.5
    assert rows["size", "1.5", "psnr", "auroc"] == 1.0


def _npz(path: Path, kernels: tuple[tuple[int, ...], ...]) -> Path:
    rng = np.random.default_rng(0)
    arrays = {f"AlexNet_0/Conv_{k}/kernel": rng.normal(0, 0.1, s).astype(np.float32) for k, s in enumerate(kernels)}
    arrays |= {f"AlexNet_0/Conv_{k}/bias": np.zeros(s[3], np.float32) for k, s in enumerate(kernels)}
    heads = {f"NetLinLayer_{k}/Conv_0/kernel": np.ones((1, 1, s[3], 1), np.float32) for k, s in enumerate(kernels)}
    np.savez(path, **arrays, **heads)
    return path


def test_lpips_reads_its_weights_from_a_file_and_refuses_others(tmp_path: Path) -> None:
    distance = load_lpips(_npz(tmp_path / "alex.npz", KERNELS))
    a = np.random.default_rng(1).random((20, 24, 3)).astype(np.float32)
    assert distance(a, a) == 0.0
    assert distance(a, 1 - a) > 0.0
    for wrong in (_npz(tmp_path / "wrong.npz", ((3, 3, 3, 64), *KERNELS[1:])), tmp_path / "none.npz"):
        with pytest.raises(ValueError, match="expected an npz of AlexNet"):
            load_lpips(wrong)


def test_the_command_tells_clinical_changes_from_nuisances_on_a_real_patient(shared_data: Path) -> None:
    data = shared_data / "openkbp" / "train"
    result = CliRunner().invoke(app, ["benchmark", "distance", "--data", str(data), "--limit", "1", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    values = {(r["method"], r["metric"]): r["value"] for r in said["rows"] if r["group"]["family"] == "all"}
    assert values["ours", "auroc"] > max(values["psnr", "auroc"], values["ssim", "auroc"]) + 0.05
    assert values["ours", "null_p95"] < 0.3
