"""Importing segmentations: multilabel files, folders of masks, nnU-Net, name tables, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.errors import InputError
from synth.interop import import_labels
from synth.parse import Presence, load_bundle
from synth.volume import Geometry, Mask, Volume, read_volume, write_labels, write_mask, write_volume

GRID = Geometry.regular((20, 18, 16), 4.0)
RUN = CliRunner()


def _labels() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[10:16, 6:12, 6:12] = 5  # liver, on the right
    labels[2:6, 6:12, 6:12] = 1  # spleen
    labels[8:12, 2:4, :] = 29  # vertebrae_L3, cut by the first and last slice
    return labels


def _ct() -> Volume:
    rng = np.random.default_rng(0)
    array = rng.normal(-1000, 5, GRID.shape)
    array[1:19, 1:17, :] = rng.normal(-100, 10, (18, 16, 16))
    labels = _labels()
    for value, hu in ((5, 60), (1, 50), (29, 300)):
        array[labels == value] = rng.normal(hu, 10, int((labels == value).sum()))
    return Volume(np.rint(array), GRID, "CT", "HU")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    write_labels(_labels(), GRID, tmp_path / "seg.nii.gz")
    write_volume(_ct(), tmp_path / "ct.nii.gz")
    (tmp_path / "names.txt").write_text("1 spleen\n5 liver\n29 vertebrae_L3\n")
    return tmp_path


def test_totalsegmentator_values_become_named_entities(case: Path) -> None:
    parse = import_labels(case / "seg.nii.gz", source="totalsegmentator", derive=False)
    assert set(parse.present_ids) == {"liver", "spleen", "vertebrae_L3"}
    assert np.array_equal(parse.masks["liver"].dense(), _labels() == 5)
    assert parse.entity("vertebrae_L3").truncated
    assert not parse.entity("liver").truncated
    assert parse.circumstance.made_by == "TotalSegmentator"
    assert [str(region) for region in parse.circumstance.field_of_view] == ["abdomen"]


def test_a_class_without_voxels_is_not_assessed_unless_its_absence_is_believed(case: Path) -> None:
    parse = import_labels(case / "seg.nii.gz", source="totalsegmentator", derive=False)
    assert len(parse.entities) == 117
    assert parse.entity("gallbladder").presence is Presence.not_assessed
    trusted = import_labels(case / "seg.nii.gz", source="totalsegmentator", derive=False, assume_absent=True)
    assert trusted.entity("gallbladder").presence is Presence.absent


def test_what_is_derived_from_the_image_is_marked(case: Path) -> None:
    image = read_volume(case / "ct.nii.gz")
    parse = import_labels(case / "seg.nii.gz", source="totalsegmentator", image=image, tissues=True)
    assert parse.circumstance.image_sha256 == image.sha256()
    assert parse.circumstance.modality.value == "CT"
    assert all(a.derived for a in parse.attributes)
    assert all(r.derived for r in parse.relations)
    means = {a.entity: a.value for a in parse.attributes if a.type == "mean_attenuation"}
    assert means["liver"] == pytest.approx(60, abs=2)
    assert {"attributes.mean_attenuation", "entities.body", "entities.fat"} <= set(parse.circumstance.derived_fields)
    assert parse.without_derived().attributes == ()


def test_without_derive_only_the_masks_are_imported(case: Path) -> None:
    parse = import_labels(case / "seg.nii.gz", source="totalsegmentator", image=_ct(), derive=False)
    assert (parse.attributes, parse.relations) == ((), ())


def test_a_folder_of_masks_is_the_same_parse(case: Path) -> None:
    folder = case / "masks"
    for value, name in ((5, "liver"), (1, "spleen"), (29, "vertebrae_L3"), (99, "gallbladder")):
        write_mask(Mask.from_dense(_labels() == value), GRID, folder / f"{name}.nii.gz")
    parse = import_labels(folder, source="totalsegmentator", derive=False)
    whole = import_labels(case / "seg.nii.gz", source="totalsegmentator", derive=False)
    assert dict(parse.masks) == dict(whole.masks)
    assert parse.entity("gallbladder").presence is Presence.not_assessed


def test_masks_of_one_folder_must_share_a_grid(case: Path) -> None:
    folder = case / "masks"
    write_mask(Mask.from_dense(_labels() == 5), GRID, folder / "liver.nii.gz")
    write_mask(Mask.from_dense(np.ones((4, 4, 4), bool)), Geometry.regular((4, 4, 4), 4.0), folder / "spleen.nii.gz")
    with pytest.raises(InputError, match=r"expected the grid of liver\.nii\.gz, got shape \(4, 4, 4\)"):
        import_labels(folder, source="totalsegmentator")


def test_nnunet_regions_overlap_as_they_should(case: Path) -> None:
    (case / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "body": [1, 5, 29], "liver": 5}}))
    parse = import_labels(case / "seg.nii.gz", source="nnunet", names=case / "dataset.json", derive=False)
    assert np.array_equal(parse.masks["body"].dense(), _labels() > 0)
    assert parse.masks["body"].overlap(parse.masks["liver"]) == parse.masks["liver"].voxels


def test_two_labels_of_one_name_become_two_entities(case: Path) -> None:
    (case / "names.txt").write_text("1 liver_metastasis\n5 liver_metastasis\n29 vertebrae_L3\n")
    parse = import_labels(case / "seg.nii.gz", source="names", names=case / "names.txt", derive=False)
    assert set(parse.masks) == {"liver_metastasis", "liver_metastasis.2", "vertebrae_L3"}


def test_a_value_without_a_name_is_refused(case: Path) -> None:
    (case / "names.txt").write_text("1 spleen\n")
    with pytest.raises(InputError, match="expected a name for each, got none for 5, 29"):
        import_labels(case / "seg.nii.gz", source="names", names=case / "names.txt")


def test_the_table_must_be_given(case: Path) -> None:
    for source in ("names", "nnunet"):
        with pytest.raises(InputError, match="--names"):
            import_labels(case / "seg.nii.gz", source=source)  # type: ignore[arg-type]


def test_an_empty_label_map_is_refused(case: Path) -> None:
    write_labels(np.zeros(GRID.shape, np.uint8), GRID, case / "seg.nii.gz")
    with pytest.raises(InputError, match="expected labelled voxels, got an empty label map"):
        import_labels(case / "seg.nii.gz", source="totalsegmentator")


def test_a_label_map_of_another_shape_is_refused(case: Path) -> None:
    small = Geometry.regular((20, 18, 15), 4.0)
    write_labels(_labels()[:, :, 1:], small, case / "seg.nii.gz")
    with pytest.raises(
        InputError, match=r"that of the image, got shape \(20, 18, 15\) instead of \(20, 18, 16\); resample"
    ):
        import_labels(case / "seg.nii.gz", source="totalsegmentator", image=_ct())


def test_a_flipped_axis_is_named(case: Path) -> None:
    seg = nib.load(case / "seg.nii.gz")
    wrong = seg.affine @ np.diag([-1.0, 1, 1, 1])
    nib.save(nib.Nifti1Image(np.asarray(seg.dataobj), wrong), case / "seg.nii.gz")
    with pytest.raises(
        InputError, match=r"got one flipped left-right \(its file runs LAS, the image's RAS\); correct the sign"
    ):
        import_labels(case / "seg.nii.gz", source="totalsegmentator", image=_ct())


def test_rounding_of_the_affine_is_no_difference(case: Path) -> None:
    seg = nib.load(case / "seg.nii.gz")
    affine = seg.affine.copy()
    affine[:3, 3] += 0.01
    nib.save(nib.Nifti1Image(np.asarray(seg.dataobj), affine), case / "seg.nii.gz")
    parse = import_labels(case / "seg.nii.gz", source="totalsegmentator", image=_ct(), derive=False)
    assert parse.geometry == GRID


BAD_COMMANDS = {
    "unknown source": (["--from", "vista"], "source"),
    "names missing": (["--from", "names"], "--names"),
    "image missing": (["--image", "none.nii.gz"], "nothing there"),
    "tissues without an image": (["--tissues"], "tissues: expected an image"),
}


@pytest.mark.parametrize("what", BAD_COMMANDS)
def test_bad_commands_end_with_one_line_exit_code_2_and_nothing_written(case: Path, what: str) -> None:
    extra, message = BAD_COMMANDS[what]
    result = RUN.invoke(app, ["parse", "import", str(case / "seg.nii.gz"), "-o", str(case / "out"), *extra])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (case / "out").exists()
    assert {p.name for p in case.iterdir()} == {"seg.nii.gz", "ct.nii.gz", "names.txt"}


def test_the_command_writes_a_bundle_that_loads(case: Path) -> None:
    out = case / "out"
    arguments = ["parse", "import", str(case / "seg.nii.gz"), "--from", "names", "--names", str(case / "names.txt")]
    result = RUN.invoke(app, [*arguments, "--image", str(case / "ct.nii.gz"), "-o", str(out), "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["delineated"] == 3
    parse = load_bundle(out)
    assert set(parse.present_ids) == {"liver", "spleen", "vertebrae_L3"}
    again = RUN.invoke(app, [*arguments, "-o", str(out)])
    assert again.exit_code == 2
    assert load_bundle(out) == parse


def test_a_ct_that_is_not_in_hounsfield_units_is_refused_before_anything_is_written(case: Path) -> None:
    write_volume(_ct().with_array(_ct().array + 1024), case / "raw.nii.gz")
    arguments = ["parse", "import", str(case / "seg.nii.gz"), "--image", str(case / "raw.nii.gz"), "--modality", "CT"]
    result = RUN.invoke(app, [*arguments, "-o", str(case / "out")])
    assert result.exit_code == 2
    assert "stored values whose rescale was not applied" in result.stderr
    assert not (case / "out").exists()


def test_the_real_61_label_map_is_imported_whole(shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz")
    parse = import_labels(folder / "example_seg_fast_force_split.nii.gz", source="totalsegmentator", image=image)
    labels = np.asarray(nib.load(folder / "example_seg_fast_force_split.nii.gz").dataobj)
    assert len(parse.present_ids) == 61
    assert sum(mask.voxels for mask in parse.masks.values()) == int((labels > 0).sum())
    assert parse.entity("liver").truncated
    assert not parse.entity("kidney_left").truncated


def test_the_real_torso_is_imported_with_its_name_table(shared_data: Path) -> None:
    folder = shared_data / "torso_ct"
    parse = import_labels(folder / "labels.nii.gz", source="names", names=folder / "labels.txt", derive=False)
    assert len(parse.present_ids) == 10
    left, right = (parse.masks[f"femur_{side}"].centroid_mm(parse.geometry)[0] for side in ("left", "right"))
    assert left < right
