"""`synth generate`: nnU-Net layout, marks of synthetic origin, resuming without a trace."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import synth.pipeline.generate as module
from synth.cli.app import app
from synth.errors import InputError
from synth.parse import load_bundle
from synth.phantom import Phantom
from synth.phantom.names import LABEL_ORDER
from synth.pipeline.generate import GenerateConfig, generate, label_map
from synth.volume import read_labels, read_volume

CONFIG = GenerateConfig(seed=40, spacing_mm=(14.0, 14.0, 14.0), shape=(28, 22, 26))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases made in one go."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    assert generate(3, folder, CONFIG).made == 3
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_dataset_has_the_layout_of_nnunet(whole: Path) -> None:
    dataset = json.loads((whole / "dataset.json").read_text())
    assert dataset["channel_names"] == {"0": "CT"}
    assert dataset["numTraining"] == 3
    assert dataset["file_ending"] == ".nii.gz"
    assert sorted(dataset["labels"].values()) == list(range(len(LABEL_ORDER) + 1))
    for index in range(3):
        image = read_volume(whole / "imagesTr" / f"case{index:05d}_0000.nii.gz")
        labels = read_labels(whole / "labelsTr" / f"case{index:05d}.nii.gz")
        assert image.geometry.matches(labels.geometry)
        assert int(labels.labels.max()) <= len(LABEL_ORDER)


def test_every_image_says_in_its_header_that_it_is_synthetic(whole: Path) -> None:
    for path in (whole / "imagesTr").iterdir():
        header = gzip.decompress(path.read_bytes())[:348]
        assert b"synthetic" in header[148:228].lower()


def test_the_manifest_lists_seed_config_version_and_the_hash_of_each_file(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert manifest["config"]["generator"] == CONFIG.generator
    assert [case["seed"] for case in manifest["cases"]] == [40, 41, 42]
    found = digests(whole)
    for case in manifest["cases"]:
        assert all(found[file] == digest for file, digest in case["files"].items())
        assert len(case["files"]) > 20


def test_the_bundle_holds_the_parse_that_is_true_of_the_image(whole: Path) -> None:
    parse = load_bundle(whole / "bundles" / "case00000")
    image = read_volume(whole / "imagesTr" / "case00000_0000.nii.gz")
    assert parse.geometry.matches(image.geometry)
    assert (label_map(parse) == read_labels(whole / "labelsTr" / "case00000.nii.gz").labels).all()


def test_running_again_makes_nothing_and_changes_nothing(whole: Path) -> None:
    before = digests(whole)
    done = generate(3, whole, CONFIG)
    assert (done.made, done.kept) == (0, 3)
    assert digests(whole) == before


@pytest.mark.parametrize("step", ["write_volume", "write_labels", "save_bundle", "_facts"])
def test_a_run_killed_at_any_step_resumes_to_the_same_bytes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real, calls = getattr(module, step), []

    def dies_the_second_time(*args: object, **kwargs: object) -> object:
        calls.append(step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, step, dies_the_second_time)
    with pytest.raises(KeyboardInterrupt):
        generate(3, tmp_path / "set", CONFIG)
    monkeypatch.undo()
    (tmp_path / "set" / "labelsTr" / ".case00001.nii.gz.k1ll3d.nii.gz").parent.mkdir(exist_ok=True)
    (tmp_path / "set" / "labelsTr" / ".case00001.nii.gz.k1ll3d.nii.gz").write_bytes(b"half")
    assert generate(3, tmp_path / "set", CONFIG).made == 2
    assert digests(tmp_path / "set") == digests(whole)


def test_a_damaged_case_is_made_again(whole: Path, tmp_path: Path) -> None:
    generate(1, tmp_path / "set", CONFIG)
    image = tmp_path / "set" / "imagesTr" / "case00000_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:1000])
    assert generate(1, tmp_path / "set", CONFIG).made == 1
    assert (
        digests(tmp_path / "set")["imagesTr/case00000_0000.nii.gz"] == digests(whole)["imagesTr/case00000_0000.nii.gz"]
    )


def test_a_longer_run_keeps_the_cases_that_are_there(tmp_path: Path) -> None:
    generate(1, tmp_path / "set", CONFIG)
    done = generate(2, tmp_path / "set", CONFIG)
    assert (done.made, done.kept) == (1, 1)


def test_another_configuration_or_fewer_cases_are_refused(whole: Path) -> None:
    before = digests(whole)
    with pytest.raises(InputError, match="configuration"):
        generate(3, whole, GenerateConfig(seed=1))
    with pytest.raises(InputError, match="at least the 3"):
        generate(2, whole, CONFIG)
    assert digests(whole) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        generate(1, tmp_path, CONFIG)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]


def test_a_lesion_lies_on_top_of_its_organ_in_the_label_map() -> None:
    assert LABEL_ORDER.index("metastasis") > LABEL_ORDER.index("liver")
    assert LABEL_ORDER.index("kidney_cyst_left") > LABEL_ORDER.index("kidney_left")
    assert len(set(LABEL_ORDER)) == len(LABEL_ORDER) < 256


ARGUMENTS = ["--spacing", "14", "14", "14", "--shape", "28", "22", "26", "--json"]


def test_the_command_writes_one_patient_with_its_phases(tmp_path: Path) -> None:
    wanted = ["--phase", "arterial", "--phase", "unenhanced", "--absent", "spleen", "--lesion", "metastasis:liver:60"]
    done = CliRunner().invoke(app, ["phantom", "--seed", "3", "-o", str(tmp_path / "one"), *wanted, *ARGUMENTS])
    assert done.exit_code == 0, done.output
    payload = json.loads(done.stdout)
    assert payload["synthetic"] is True
    assert (tmp_path / "one" / "image_unenhanced.nii.gz").is_file()
    parse = load_bundle(tmp_path / "one" / "bundle")
    assert parse.entity("spleen").presence == "absent"
    assert parse.by_name("metastasis")
    assert np.isfinite(read_volume(tmp_path / "one" / "image.nii.gz").array).all()


def test_the_command_generates_and_reports_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["generate", "-n", "1", "-o", str(tmp_path / "set"), *ARGUMENTS])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["made"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ["generate", "-n", "0"],
        ["generate", "-n", "1", "--spacing", "0", "1", "1"],
        ["phantom", "--seed", "-1"],
        ["phantom", "--absent", "liver"],
        ["phantom", "--lesion", "wart:liver:3"],
        ["phantom", "--shape", "1", "1", "1"],
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(tmp_path: Path, wrong: list[str]) -> None:
    done = CliRunner().invoke(app, [*wrong, "-o", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "expected" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_phantom_is_what_make_returns() -> None:
    assert Phantom.__dataclass_fields__.keys() == {"image", "parse", "phases", "spec", "seed"}
