"""Bad input through the command line: one line with what was expected, what came and what to do; nothing written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.parse import Entity, Parse, Relation, save_bundle
from synth.volume import Geometry, Mask, Volume, write_labels, write_mask, write_volume

GRID = Geometry.regular((20, 18, 16), 4.0)
LIVER = Mask.from_box(GRID.shape, (10, 6, 6), np.ones((6, 6, 6), bool))
SPLEEN = Mask.from_box(GRID.shape, (2, 6, 6), np.ones((4, 6, 6), bool))
RUN = CliRunner()


@pytest.fixture
def case(tmp_path: Path) -> Path:
    array = np.full(GRID.shape, -1000.0)
    array[1:19, 1:17] = -90
    array[LIVER.slices], array[SPLEEN.slices] = 60, 50
    write_volume(Volume(array, GRID, "CT", "HU"), tmp_path / "ct.nii.gz")
    write_labels(LIVER.dense() * 5 + SPLEEN.dense() * 1, GRID, tmp_path / "seg.nii.gz")
    entities = [Entity(id="liver", name="liver"), Entity(id="spleen", name="spleen")]
    beside = [Relation(type="right_of", subject="liver", object="spleen")]
    masks = {"liver": LIVER, "spleen": SPLEEN}
    save_bundle(Parse(entities, (), beside, geometry=GRID, masks=masks), tmp_path / "bundle")
    return tmp_path


def _save(path: Path, array: np.ndarray, affine: np.ndarray, code: int = 1) -> None:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    nib.save(image, path)


def _another_shape(case: Path) -> None:
    write_labels(
        LIVER.dense()[:, :, 1:] * 5, GRID.cropped((slice(None), slice(None), slice(1, None))), case / "seg.nii.gz"
    )


def _missing_affine(case: Path) -> None:
    _save(case / "seg.nii.gz", LIVER.dense() * np.uint8(5), GRID.affine, code=0)


def _flipped_axis(case: Path) -> None:
    _save(case / "seg.nii.gz", LIVER.dense() * np.uint8(5), GRID.affine @ np.diag([1.0, -1, 1, 1]))


def _not_hounsfield(case: Path) -> None:
    _save(case / "ct.nii.gz", np.random.default_rng(0).random(GRID.shape).astype(np.float32), GRID.affine)


def _empty_labels(case: Path) -> None:
    write_labels(np.zeros(GRID.shape, np.uint8), GRID, case / "seg.nii.gz")


def _truncated(case: Path) -> None:
    whole = (case / "seg.nii.gz").read_bytes()
    (case / "seg.nii.gz").write_bytes(whole[: len(whole) // 2])


def _ten_gigabytes(case: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((1000, 1000, 500))
    header.set_data_dtype(np.float64)
    header.set_sform(GRID.affine, code=1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    (case / "seg.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(676)))


IMPORTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a label map of another shape": (_another_shape, "got shape (20, 18, 15) instead of (20, 18, 16); resample"),
    "a missing affine": (_missing_affine, "expected an orientation, got sform and qform codes of 0; write the sform"),
    "a flipped axis": (_flipped_axis, "flipped front-back"),
    "HU that are not HU": (_not_hounsfield, "as of an image scaled to 0..1"),
    "a label map without labels": (_empty_labels, "expected labelled voxels, got an empty label map"),
    "a truncated NIfTI": (_truncated, "copy the file again"),
    "ten gigabytes in a kilobyte": (_ten_gigabytes, "bytes of voxels as its header says"),
}


def _fails(case: Path, arguments: list[str], message: str) -> None:
    before = {p.relative_to(case): p.stat().st_mtime_ns for p in case.rglob("*")}
    result = RUN.invoke(app, [*arguments, "-o", str(case / "out")])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "expected" in result.stderr
    assert result.stdout == ""
    assert {p.relative_to(case): p.stat().st_mtime_ns for p in case.rglob("*")} == before


@pytest.mark.parametrize("what", IMPORTS)
def test_a_bad_image_or_label_map_is_refused(case: Path, what: str) -> None:
    breaks, message = IMPORTS[what]
    breaks(case)
    image = ["--image", str(case / "ct.nii.gz"), "--modality", "CT"]
    _fails(case, ["parse", "import", str(case / "seg.nii.gz"), *image], message)


def _edit(case: Path, change: Callable[[dict[str, list[dict[str, object]]]], None]) -> None:
    path = case / "bundle" / "parse.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _unknown_name(case: Path) -> None:
    _edit(case, lambda data: data["entities"][0].update(name="livver"))


def _relation_to_nowhere(case: Path) -> None:
    _edit(case, lambda data: data["relations"][0].update(object="heart"))


def _empty_mask(case: Path) -> None:
    write_mask(Mask.empty(GRID.shape), GRID, case / "bundle" / "masks" / "liver.nii.gz")


def _mask_of_another_shape(case: Path) -> None:
    grid = GRID.cropped((slice(1, None), slice(None), slice(None)))
    write_mask(Mask.from_box(grid.shape, (9, 6, 6), LIVER.box), grid, case / "bundle" / "masks" / "liver.nii.gz")


def _truncated_mask(case: Path) -> None:
    path = case / "bundle" / "masks" / "liver.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])


BUNDLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an unknown entity name": (_unknown_name, "nearest: liver"),
    "a relation that points nowhere": (_relation_to_nowhere, "relations[0].object"),
    "an empty mask": (_empty_mask, "masks[liver]"),
    "a mask of another shape": (_mask_of_another_shape, "shape (19, 18, 16) instead of (20, 18, 16)"),
    "a truncated mask": (_truncated_mask, "copy the file again"),
}


@pytest.mark.parametrize("what", BUNDLES)
def test_a_bad_parse_is_refused(case: Path, what: str) -> None:
    breaks, message = BUNDLES[what]
    breaks(case)
    _fails(case, ["fault", "delete", str(case / "bundle"), "--entity", "spleen"], message)


def test_the_unbroken_case_passes_both_commands(case: Path) -> None:
    """The cases above fail for what was broken in them, and for nothing else."""
    labels = [str(case / "seg.nii.gz"), "--image", str(case / "ct.nii.gz"), "--modality", "CT"]
    assert RUN.invoke(app, ["parse", "import", *labels, "-o", str(case / "a")]).exit_code == 0
    spleen = [str(case / "bundle"), "--entity", "spleen"]
    assert RUN.invoke(app, ["fault", "delete", *spleen, "-o", str(case / "b")]).exit_code == 0
