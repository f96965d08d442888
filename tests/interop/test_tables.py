"""Name tables: the forms they come in, and the names people write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synth.errors import InputError
from synth.interop import TOTAL_CLASSES, LabelClass, normalised, read_name_table, read_nnunet_classes, vocabulary_name
from synth.parse import TOTALSEGMENTATOR_CLASSES


def test_the_table_of_totalsegmentator_is_its_117_classes_in_order(shared_data: Path) -> None:
    lines = (shared_data / "totalsegmentator" / "labels_total.txt").read_text().splitlines()
    assert {int(value): name for value, name in (line.split() for line in lines)} == dict(TOTAL_CLASSES)


def test_every_class_of_totalsegmentator_is_in_the_vocabulary() -> None:
    assert set(TOTAL_CLASSES.values()) == set(TOTALSEGMENTATOR_CLASSES)
    assert sorted(TOTAL_CLASSES) == list(range(1, 118))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("liver", "liver"),
        ("Liver", "liver"),
        ("Left kidney", "kidney_left"),
        ("kidney-right", "kidney_right"),
        ("RightParotid", "parotid_gland_right"),
        ("SpinalCord", "spinal_cord"),
        ("Brainstem", "brainstem"),
        ("Parotid_L", "parotid_gland_left"),
        ("rib_left_4", "rib_left_4"),
        ("PTV70", "ptv_70"),
        ("bladder", "urinary_bladder"),
        ("background", None),
        ("ignore", None),
    ],
)
def test_names_are_recognised_however_they_are_written(written: str, name: str | None) -> None:
    assert vocabulary_name(written, "label") == name


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"label 3: expected a known name, got 'livver'; use one of the nearest: liver"
    ):
        vocabulary_name("livver", "label 3")
    with pytest.raises(InputError, match="expected a name"):
        vocabulary_name(" - ", "label 3")


def test_a_side_in_the_middle_is_left_alone() -> None:
    assert normalised("rib left 4") == "rib_left_4"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("t.txt", "1 liver\n2 Left kidney\n"),
        ("t.txt", "# made by hand\n0 background\n1 liver\n\n2 kidney_left # the patient's\n"),
        ("t.csv", "index,name\n0,background\n1,liver\n2,Left kidney\n"),
        ("t.tsv", "1\tliver\n2\tLeft kidney\n"),
        ("t.json", '{"0": "background", "1": "liver", "2": "kidney_left"}'),
        ("t.json", '{"liver": 1, "kidney_left": 2}'),
        ("t.json", '["background", "liver", "kidney_left"]'),
    ],
)
def test_every_form_of_table_gives_the_same_classes(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert read_name_table(tmp_path / file) == (LabelClass("liver", (1,)), LabelClass("kidney_left", (2,)))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("t.txt", "1 liver\n1 spleen\n", "a new value, got 1 again"),
        ("t.txt", "1 liver\nspleen\n", "a label value and a name, got spleen"),
        ("t.txt", "", "at least one class"),
        ("t.json", "{", "valid JSON"),
        ("t.json", "7", "got int"),
        ("t.json", '{"1": 5}', "names as text"),
        ("t.json", "[" * 100_000, "valid JSON"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, file: str, text: str, message: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=message):
        read_name_table(tmp_path / file)


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing there"):
        read_name_table(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="text in UTF-8"):
        read_name_table(tmp_path / "b.txt")


def test_nnunet_labels_regions_and_the_old_form_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(
        json.dumps({"labels": {"background": 0, "kidney_left": [1, 2], "renal_cell_carcinoma": 2, "ignore": 3}})
    )
    assert read_nnunet_classes(path) == (
        LabelClass("kidney_left", (1, 2)),
        LabelClass("renal_cell_carcinoma", (2,)),
    )
    path.write_text(json.dumps({"labels": {"0": "background", "1": "spleen"}}))
    assert read_nnunet_classes(path) == (LabelClass("spleen", (1,)),)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "an object 'labels'"),
        ({}, "an object 'labels'"),
        ({"background": 0}, "at least one class"),
        ({"liver": "one"}, "a label value or a list of them"),
        ({"liver": [1, -2]}, "a label value or a list of them"),
        ({"livr": 1}, "nearest: liver"),
    ],
)
def test_broken_nnunet_descriptions_are_refused(tmp_path: Path, labels: object, message: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": labels}))
    with pytest.raises(InputError, match=message):
        read_nnunet_classes(path)
