from __future__ import annotations

from pathlib import Path

import pytest

from synth.errors import InputError
from synth.pipeline.cases import Case, find_cases


def _case(folder: Path, image: str = "ct.nii.gz", bundle: str = "parse") -> None:
    (folder / bundle).mkdir(parents=True)
    (folder / bundle / "parse.json").write_text("{}")
    (folder / image).write_bytes(b"")


def test_a_folder_of_cases_is_found_in_order(tmp_path):
    for name in ("b", "a"):
        _case(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert [c.id for c in find_cases(tmp_path)] == ["a", "b"]
    assert find_cases(tmp_path)[0].image == tmp_path / "a" / "ct.nii.gz"
    assert find_cases(tmp_path)[0].parse == tmp_path / "a" / "parse"


def test_a_dicom_folder_is_the_image_where_there_is_no_file(tmp_path):
    _case(tmp_path / "a")
    (tmp_path / "a" / "ct.nii.gz").unlink()
    (tmp_path / "a" / "dicom").mkdir()
    assert find_cases(tmp_path)[0].image.name == "dicom"


def test_a_generated_dataset_is_a_folder_of_cases(tmp_path):
    _case(tmp_path / "bundles", bundle="case00000")
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "case00000_0000.nii.gz").write_bytes(b"")
    (case,) = find_cases(tmp_path)
    assert (case.id, case.image.name) == ("case00000", "case00000_0000.nii.gz")


def test_a_csv_names_its_cases_relative_to_itself(tmp_path):
    (tmp_path / "list.csv").write_text("id,image,parse\np1,x/ct.nii.gz,x/parse\n,y/ct.nii.gz,y/parse\n,scan 7.nrrd,z\n")
    cases = find_cases(tmp_path / "list.csv")
    assert [c.id for c in cases] == ["p1", "y", "scan_7"]
    assert cases[0].image == tmp_path / "x" / "ct.nii.gz"


def test_two_images_beside_one_bundle_are_refused(tmp_path):
    _case(tmp_path / "a")
    (tmp_path / "a" / "mr.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"one image.*ct.nii.gz, mr.nii.gz"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a,b\n1,2\n", "columns image and parse"), ("image,parse\nx,\n", r"list.csv:2"), ("image,parse\n", "none"),
     ("id,image,parse\np,x,y\np,z,y\n", "case id 'p'"), ("id,image,parse\n../p,x,y\n", "case id")],
)  # fmt: skip
def test_a_bad_list_is_refused(tmp_path, text, said):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        find_cases(tmp_path / "list.csv")


def test_no_such_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_cases(tmp_path / "nowhere")


@pytest.mark.parametrize("id", ["", "../x", "a/b", ".hidden", "x" * 101])
def test_an_id_that_is_no_file_name_is_refused(id):
    with pytest.raises(InputError, match="case id"):
        Case(id, Path("x"), Path("y"))
