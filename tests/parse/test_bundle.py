"""Bundles: written whole or not at all, read as if they were hostile."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import (
    Attribute,
    Circumstance,
    Entity,
    Parse,
    Relation,
    json_schema,
    load_bundle,
    save_bundle,
)
from synth.parse.document import MAX_JSON_DEPTH, to_document, write_schema
from synth.volume import Geometry, Mask, write_mask

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "parse.schema.json"
SHAPE = (12, 10, 8)


@pytest.fixture
def parse() -> Parse:
    affine = np.array([[2.9, 0.1, 0.0, -7.3], [-0.1, 3.1, 0.2, 11.0], [0.0, -0.2, 4.7, 1 / 3], [0, 0, 0, 1]])
    return Parse(
        [
            Entity(id="liver", name="liver", confidence=0.9),
            Entity(id="m1", name="metastasis", presence="uncertain", tracking_uid="1.2.3"),
            Entity(id="spleen", name="spleen", presence="absent"),
        ],
        [
            Attribute(entity="m1", type="li_rads", value="LR-M"),
            Attribute(entity="liver", type="mean_attenuation", value=1 / 3),
        ],
        [Relation(type="located_in", subject="m1", object="liver", payload={"note": ["a", 1, None]})],
        geometry=Geometry(SHAPE, affine),
        circumstance=Circumstance(modality="CT", phase="arterial", day=12.5, field_of_view=("abdomen",), patient="p1"),
        masks={
            "liver": Mask.from_box(SHAPE, (1, 1, 1), np.ones((8, 7, 5), bool)),
            "m1": Mask.from_box(SHAPE, (3, 3, 3), np.ones((2, 2, 2), bool)),
        },
    )


@pytest.fixture
def saved(parse: Parse, tmp_path: Path) -> Path:
    save_bundle(parse, tmp_path / "case")
    return tmp_path / "case"


def tamper(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads((folder / "parse.json").read_text())
    change(data)
    (folder / "parse.json").write_text(json.dumps(data))
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_an_oblique_parse_comes_back_exactly(parse: Parse, saved: Path) -> None:
    assert load_bundle(saved) == parse
    assert load_bundle(saved / "parse.json") == parse


def test_the_same_parse_gives_the_same_bytes(parse: Parse, saved: Path, tmp_path: Path) -> None:
    save_bundle(parse, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(saved)


def test_the_published_schema_is_that_of_the_code(tmp_path: Path) -> None:
    write_schema(tmp_path / "schema.json")
    assert SCHEMA.read_text() == (tmp_path / "schema.json").read_text()


def test_what_is_written_follows_the_schema(parse: Parse) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(json.dumps(to_document(parse))))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["attributes"][0].update(value="LR-9"),
        lambda d: d["attributes"][1].update(value=1e9),
        lambda d: d["attributes"][1].update(unit="au"),
        lambda d: d["entities"][0].update(name="livr"),
        lambda d: d["entities"][0].update(presence="maybe"),
        lambda d: d["relations"][0].update(type="beside"),
        lambda d: d["geometry"].update(shape=[1, 2]),
        lambda d: d.pop("entities"),
    ],
)
def test_schema_and_code_refuse_the_same(parse: Parse, saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(json.dumps(to_document(parse)))
    change(data)
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(data)
    with pytest.raises(InputError):
        load_bundle(tamper(saved, change))


def test_a_bundle_is_never_overwritten_by_accident(parse: Parse, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one that exists"):
        save_bundle(parse, saved)
    save_bundle(parse.without("m1"), saved, overwrite=True)
    assert load_bundle(saved) == parse.without("m1")
    assert not (saved / "masks" / "m1.nii.gz").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["case"]


def test_a_folder_that_is_no_bundle_is_not_overwritten(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="a bundle to overwrite"):
        save_bundle(parse, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 64 bytes, as on a disk that is full.

    The limit holds for the whole process, a log of the tests included: it must end before the test does.
    """
    resource = pytest.importorskip("resource", reason="file size limits are those of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_what_was_there(parse: Parse, saved: Path, tmp_path: Path) -> None:
    before = digest(saved)
    fewer = parse.without("spleen")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        save_bundle(fewer, saved, overwrite=True)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        save_bundle(parse, tmp_path / "new")
    assert digest(saved) == before
    assert [each.name for each in tmp_path.iterdir()] == ["case"]


@pytest.mark.parametrize(
    "file",
    ["../liver.nii.gz", "/etc/passwd", "masks/../../liver.nii.gz", "masks\\liver.nii.gz", "", "masks/\0.nii.gz", "."],
)
def test_a_mask_outside_the_bundle_is_not_read(saved: Path, file: str) -> None:
    (saved.parent / "liver.nii.gz").write_bytes((saved / "masks" / "liver.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"masks\[liver\]"):
        load_bundle(tamper(saved, lambda d: d["masks"].update(liver=file)))


def test_a_link_out_of_the_bundle_is_not_followed(saved: Path, tmp_path: Path) -> None:
    mask = saved / "masks" / "liver.nii.gz"
    mask.rename(tmp_path / "elsewhere.nii.gz")
    mask.symlink_to(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(InputError, match=r"masks\[liver\]: expected a file inside the bundle"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b"[]", "a JSON object"),
        (b"null", "a JSON object"),
        (b'{"entities": [', "JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[" * 100_000, f"at most {MAX_JSON_DEPTH} levels"),
        (b'{"a": "]]]]' + b"]" * 50 + b'", "b": ' + b"[" * 50 + b"]" * 50 + b"}", f"at most {MAX_JSON_DEPTH} levels"),
        (b'{"schema_version": "2.0"}', "schema_version"),
        (b'{"entities": []}', "geometry"),
        (b'{"a": ' + b"9" * 5000 + b"}", "JSON"),
    ],
)
def test_text_that_is_no_parse_is_refused_in_one_line(saved: Path, text: bytes, said: str) -> None:
    (saved / "parse.json").write_bytes(text)
    with pytest.raises(InputError) as caught:
        load_bundle(saved)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d["geometry"].update(shape=[100_000, 100_000, 100_000]), "geometry.shape"),
        (lambda d: d["geometry"].update(shape=[12, 10, -8]), "geometry.shape[2]"),
        (lambda d: d["geometry"].update(shape=[12, 10, 9]), "masks[liver]"),
        (lambda d: d["geometry"]["affine"].__setitem__(0, [0, 0, 0, 0]), "affine"),
        (lambda d: d["geometry"]["affine"].__setitem__(0, [1e400, 0, 0, 0]), "JSON"),
        (lambda d: d["geometry"].pop("affine"), "geometry.affine"),
        (lambda d: d["entities"].append(d["entities"][0]), "entities[3].id"),
        (lambda d: d["entities"][1].update(id="../m1"), "entities[1].id"),
        (lambda d: d["entities"].__setitem__(0, "liver"), "entities[0]"),
        (lambda d: d.update(entities={}), "entities"),
        (lambda d: d["entities"][0].update(confidence=2), "entities[0].confidence"),
        (lambda d: d["attributes"][0].update(entity="m2"), "attributes[0].entity"),
        (lambda d: d["attributes"][0].update(value=[1]), "attributes[0].value"),
        (lambda d: d["relations"][0].update(object="m2"), "relations[0].object"),
        (lambda d: d["relations"][0].update(object="m1"), "relations[0].object"),
        (lambda d: d["masks"].update(spleen="masks/liver.nii.gz"), "masks[spleen]"),
        (lambda d: d["masks"].update(ghost="masks/liver.nii.gz"), "masks[ghost]"),
        (lambda d: d["masks"].update(m1="masks/none.nii.gz"), "masks[m1]"),
        (lambda d: d["masks"].pop("liver"), "entities[0].delineated"),
    ],
)
def test_a_field_that_does_not_fit_is_named(saved: Path, change: Callable[[dict[str, Any]], object], path: str) -> None:
    with pytest.raises(InputError) as caught:
        load_bundle(tamper(saved, change))
    assert path in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a nifti", gzip.compress(b"not a nifti", mtime=0)])
def test_a_broken_mask_file_is_refused(saved: Path, content: bytes) -> None:
    (saved / "masks" / "m1.nii.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"m1\.nii\.gz"):
        load_bundle(saved)


def test_a_truncated_mask_file_is_refused(saved: Path) -> None:
    mask = saved / "masks" / "liver.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"liver\.nii\.gz"):
        load_bundle(saved)


def test_a_mask_of_zeros_is_refused_as_empty(parse: Parse, saved: Path) -> None:
    write_mask(Mask.empty(SHAPE), parse.geometry, saved / "masks" / "m1.nii.gz")
    with pytest.raises(InputError, match=r"masks\[m1\]: expected at least one voxel"):
        load_bundle(saved)


def test_a_mask_of_a_shifted_grid_is_refused(parse: Parse, saved: Path) -> None:
    affine = parse.geometry.affine.copy()
    affine[0, 3] += 5.0
    write_mask(parse.mask("m1"), Geometry(SHAPE, affine), saved / "masks" / "m1.nii.gz")
    with pytest.raises(InputError, match=r"masks\[m1\]: expected the grid of the parse, got origin off"):
        load_bundle(saved)


def test_fields_of_a_later_version_are_left_out_with_a_warning(
    parse: Parse, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def later(data: dict[str, Any]) -> None:
        data.update(schema_version="1.7", colours={})
        data["entities"][0]["colour"] = "red"
        data["circumstance"]["kernel"] = "B30f"

    with caplog.at_level(logging.WARNING):
        assert load_bundle(tamper(saved, later)) == parse
    assert "colour" in caplog.text
    assert "kernel" in caplog.text


def test_what_can_be_left_out_is_filled_in(parse: Parse, saved: Path) -> None:
    def terse(data: dict[str, Any]) -> None:
        for entity in data["entities"]:
            entity.pop("kind")
            entity.pop("delineated", None)
        data["attributes"][1].pop("unit")

    assert load_bundle(tamper(saved, terse)) == parse


def test_a_folder_without_a_parse_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a bundle with parse\.json"):
        load_bundle(tmp_path)
