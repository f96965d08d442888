"""The prediction benchmark on image pairs: its scores mean what they say, and bad folders are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from synth.benchmark.pairs import hd95_mm, run
from synth.benchmark.pairs_data import Pair, read_pairs
from synth.benchmark.pairs_model import by_distance, chance_of_change, scene, speed_from
from synth.errors import InputError
from synth.volume import Geometry, Mask, Volume, write_mask, write_volume

SHAPE = (44, 40, 16)
GRID = Geometry.regular(SHAPE, (2.0, 2.0, 4.0))


def ellipsoid(centre: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> np.ndarray:
    grid = np.indices(SHAPE)
    spacing = np.asarray(GRID.spacing_mm)
    return sum(((g - c) * s / r) ** 2 for g, c, s, r in zip(grid, centre, spacing, radii_mm, strict=True)) <= 1


def visits(seed: int) -> tuple[Volume, Mask, Mask]:
    """A tumour that grows only where the image is bright, towards +x."""
    rng = np.random.default_rng(seed)
    brain = ellipsoid((21.5, 19.5, 7.5), (40.0, 36.0, 30.0))
    x, y = 20 + rng.integers(-2, 3), 20 + rng.integers(-2, 3)
    before = ellipsoid((x, y, 7.5), (9.0, 9.0, 10.0))
    after = before | ellipsoid((x + 4, y, 7.5), (9.0, 8.0, 10.0))
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (3, 3, 1.5))
    values = np.where(brain, 300 + 300 * texture, 0.0)
    values += 250 * (ellipsoid((x + 5, y, 7.5), (9.0, 9.0, 11.0)) & ~before)
    return Volume(np.clip(values, 0, None), GRID, "MR"), Mask.from_dense(before), Mask.from_dense(after)


def pair(seed: int) -> Pair:
    image, before, after = visits(seed)
    return Pair(str(seed), "tumour", 90.0, image, Mask.from_dense(image.array > 0), before, after, (0.0, 0.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("pairs")
    lines = ["id, initialDate, endDate"]
    for seed in range(3):
        image, before, after = visits(seed)
        case = top / f"{seed:02d}"
        case.mkdir()
        for number, mask in ((1, before), (2, after)):
            write_volume(image, case / f"visit{number}_t1post.nii.gz")
            write_mask(mask, GRID, case / f"visit{number}_tumour.nii.gz")
        lines.append(f"{seed:02d}, 2000-01-01, 2000-03-31")
    (top / "supplementary.csv").write_text("\n".join(lines) + "\n")
    return top


def test_the_model_finds_where_the_tumours_of_others_went() -> None:
    scenes = [scene(pair(seed)) for seed in range(4)]
    odds = chance_of_change(scenes[:3], scenes[3])
    near = np.abs(scenes[3].distance_mm[scenes[3].place]) < 10
    changed = scenes[3].changed
    assert odds[near & changed].mean() > odds[near & ~changed].mean() + 1.0
    speed = speed_from(scenes[3], odds)
    assert 0.3 < speed.min() < 1 < speed.max() < 3.1


def test_a_whole_run_has_every_method_and_metric(folder: Path) -> None:
    result = run(folder, command="x")
    found = {(r.method, r.metric): r for r in result.rows}
    assert found["carry_forward", "dice"].n == 3
    assert found["isotropic", "log_volume_error"].value < 1e-9
    assert found["ours_true_volume", "log_volume_error"].value < 1e-9
    assert found["ours_true_volume", "dice"].value > found["isotropic", "dice"].value
    assert found["ours_true_volume less isotropic", "dice"].low > 0
    changed = found["data", "changed_share"].value
    assert found["carry_forward", "average_precision"].value == pytest.approx(changed)
    assert found["ours", "average_precision"].value > found["isotropic", "average_precision"].value
    assert result.to_json()["benchmark"] == "prediction-pairs"


def test_days_come_from_the_table(folder: Path) -> None:
    assert [p.days for p in read_pairs(folder)] == [90.0] * 3


def test_even_growth_takes_the_nearest_voxels() -> None:
    made = pair(0)
    grown = by_distance(made, 2 * made.before.voxels)
    assert grown.voxels == 2 * made.before.voxels
    assert (made.before - grown).is_empty
    assert hd95_mm(made.before, grown, GRID) < 8


def test_bad_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder of patients"):
        run(tmp_path / "nothing")
    with pytest.raises(InputError, match="visit1_t1post"):
        run(tmp_path)
    part = tmp_path / "part" / "01"
    part.mkdir(parents=True)
    for name in ("visit1_t1post", "visit2_t1post"):
        (part / f"{name}.nii.gz").write_bytes((folder / "00" / f"{name}.nii.gz").read_bytes())
    with pytest.raises(InputError, match="visit1_tumour"):
        run(tmp_path / "part")
    (part / "visit1_tumour.nii.gz").write_bytes((folder / "00" / "visit1_tumour.nii.gz").read_bytes())
    (part / "visit2_tumour.nii.gz").write_bytes((folder / "00" / "visit2_tumour.nii.gz").read_bytes())
    with pytest.raises(InputError, match="three patients"):
        run(tmp_path / "part")
    (tmp_path / "part" / "supplementary.csv").write_text("id, initialDate, endDate\n01, soon, 2000-01-01\n")
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        run(tmp_path / "part")


def test_the_real_pairs_are_read(shared_data: Path) -> None:
    found = read_pairs(shared_data / "ms_flair_pairs")
    assert [(p.patient, p.days) for p in found] == [
        ("patient01", 203.0), ("patient03", 671.0), ("patient12", 81.0), ("patient19", 228.0)
    ]  # fmt: skip
    assert all(p.before.is_empty and not p.after.is_empty for p in found)
