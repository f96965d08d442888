"""`synth audit`, `synth render` and `synth demo` as a user meets them."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.parse import Entity, Parse, load_bundle, save_bundle
from synth.phantom import make
from synth.volume import Geometry, Mask, Volume, write_labels, write_volume


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom: the lower abdomen's CT and its bundle, with a spleen claimed in the pelvis."""
    folder = tmp_path_factory.mktemp("case")
    made = make(4)
    kidney = made.parse.masks["kidney_left"]
    window = kidney.padded_slices(8)
    parse, image = made.parse.cropped(window), made.image.cropped(window)
    own = parse.masks["kidney_left"]
    claimed = Mask.from_box(own.shape, tuple(max(0, o - 7) for o in own.origin), own.box)
    parse = parse.without("spleen") if "spleen" in parse else parse
    parse = parse.with_entity(Entity(id="spleen", name="spleen"), claimed)
    write_volume(image, folder / "ct.nii.gz")
    save_bundle(parse, folder / "parse")
    write_labels(own.dense().astype(np.uint8), image.geometry, folder / "labels.nii.gz")
    (folder / "names.txt").write_text("1 kidney_left\n")
    return folder


def _run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def _refused(result, output: Path) -> str:
    """One line on stderr, exit code 2, nothing written; returns the line."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert not output.exists()
    assert not [p for p in output.parent.iterdir() if p.name.startswith(f".{output.name}")]
    return lines[0]


@pytest.fixture(scope="module")
def audited(case: Path) -> tuple[Path, dict]:
    result = _run("audit", case / "ct.nii.gz", case / "parse", "-o", case / "out", "--json", "--no-search")
    assert result.exit_code == 0, result.output
    return case / "out", json.loads(result.stdout)


def test_an_audit_writes_its_folder_and_says_the_same_as_json(audited):
    folder, payload = audited
    assert payload == json.loads((folder / "findings.json").read_text("utf-8"))
    assert {e["id"] for e in payload["entities"]} >= {"kidney_left", "spleen"}
    assert payload["missing"] is None
    assert (folder / "report.html").exists()


def test_the_same_seed_gives_the_same_files(case, audited, tmp_path):
    folder, _ = audited
    assert _run("audit", case / "ct.nii.gz", case / "parse", "-o", tmp_path / "b", "--no-search").exit_code == 0
    for name in ("findings.json", "report.html"):
        assert (tmp_path / "b" / name).read_bytes() == (folder / name).read_bytes()


def test_a_prior_visit_finds_what_was_left_out(case, tmp_path):
    parse = load_bundle(case / "parse").without("spleen")
    save_bundle(parse, tmp_path / "before")
    save_bundle(parse.without("kidney_left"), tmp_path / "now")
    told = _run(
        *("audit", case / "ct.nii.gz", tmp_path / "now", "-o", tmp_path / "out", "--json", "--tiers", 1),
        *("--prior-visit", tmp_path / "before", "--prior-image", case / "ct.nii.gz"),
    )
    assert told.exit_code == 0, told.output
    payload = json.loads(told.stdout)
    (missing,) = [m for m in payload["missing"] if m["prior"]]
    assert missing["prior"] == "kidney_left"
    assert (tmp_path / "out" / missing["mask"]).is_file()
    assert payload["prior_visit"]["alignment"]["shift_mm"] < 1.0


def test_the_image_of_a_prior_visit_alone_is_refused(case, tmp_path):
    result = _run(
        *("audit", case / "ct.nii.gz", case / "parse", "-o", tmp_path / "x", "--prior-image", case / "ct.nii.gz")
    )
    assert "--prior-visit" in _refused(result, tmp_path / "x")


def test_findings_can_fail_a_pipeline(case, audited, tmp_path):
    _, payload = audited
    wrong = sum(e["verdict"] not in (None, "supported", "not_checkable") for e in payload["entities"])
    result = _run(
        "audit", case / "ct.nii.gz", case / "parse", "-o", tmp_path / "c", "--no-search", "--fail-on-findings"
    )
    assert result.exit_code == (3 if wrong else 0)


def test_a_label_map_can_be_audited_directly(case, tmp_path):
    result = _run(
        "audit", case / "ct.nii.gz", case / "labels.nii.gz", "--from", "names", "--names", case / "names.txt",
        "-o", tmp_path / "d", "--no-search", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert [e["name"] for e in json.loads(result.stdout)["entities"]] == ["kidney_left"]


def test_an_audit_is_not_overwritten_unasked(case, audited):
    folder, _ = audited
    before = (folder / "findings.json").read_bytes()
    result = _run("audit", case / "ct.nii.gz", case / "parse", "-o", folder)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert (folder / "findings.json").read_bytes() == before


def test_a_mask_of_another_shape_is_refused(case, tmp_path):
    small = Volume(np.zeros((40, 40, 40)) - 50, Geometry.regular((40, 40, 40), 4.0), "CT", "HU")
    write_volume(small.with_array(small.array + np.arange(40)), tmp_path / "ct.nii.gz")
    line = _refused(_run("audit", tmp_path / "ct.nii.gz", case / "parse", "-o", tmp_path / "x"), tmp_path / "x")
    assert "shape" in line


def test_units_that_are_not_hounsfield_are_refused(case, tmp_path):
    from synth.volume import read_volume

    image = read_volume(case / "ct.nii.gz", modality="CT")
    write_volume(image.with_array((image.array + 1024) / 3000), tmp_path / "ct.nii.gz")
    line = _refused(_run("audit", tmp_path / "ct.nii.gz", case / "parse", "-o", tmp_path / "x"), tmp_path / "x")
    assert "Hounsfield" in line


def test_a_flipped_axis_is_refused(case, tmp_path):
    import nibabel

    file = nibabel.load(case / "ct.nii.gz")
    affine = file.affine.copy()
    affine[0] *= -1
    nibabel.save(nibabel.Nifti1Image(np.asarray(file.dataobj), affine), tmp_path / "ct.nii.gz")
    line = _refused(
        _run("audit", tmp_path / "ct.nii.gz", case / "parse", "-o", tmp_path / "x", "--modality", "CT"), tmp_path / "x"
    )
    assert "flip" in line or "other way" in line or "origin" in line or "grid" in line


def test_a_truncated_image_is_refused(case, tmp_path):
    whole = (case / "ct.nii.gz").read_bytes()
    (tmp_path / "ct.nii.gz").write_bytes(whole[: len(whole) // 2])
    _refused(_run("audit", tmp_path / "ct.nii.gz", case / "parse", "-o", tmp_path / "x"), tmp_path / "x")


def test_a_header_that_promises_ten_gigabytes_is_refused_before_allocation(case, tmp_path):
    header = bytearray(gzip.decompress((case / "ct.nii.gz").read_bytes())[:352])
    header[40:56] = struct.pack("<8h", 3, 2000, 2000, 1250, 1, 1, 1, 1)
    (tmp_path / "ct.nii").write_bytes(bytes(header) + b"\0" * 700)
    _refused(_run("audit", tmp_path / "ct.nii", case / "parse", "-o", tmp_path / "x"), tmp_path / "x")


def _broken(case: Path, folder: Path, change) -> Path:
    shutil.copytree(case / "parse", folder / "parse")
    document = json.loads((folder / "parse" / "parse.json").read_text("utf-8"))
    change(document)
    (folder / "parse" / "parse.json").write_text(json.dumps(document), "utf-8")
    return folder / "parse"


def test_an_unknown_name_lists_the_nearest(case, tmp_path):
    parse = _broken(case, tmp_path, lambda d: d["entities"][0].update(name="livr", kind=None))
    line = _refused(_run("audit", case / "ct.nii.gz", parse, "-o", tmp_path / "x"), tmp_path / "x")
    assert "liver" in line


def test_a_relation_that_points_nowhere_names_its_path(case, tmp_path):
    def dangling(document):
        document["relations"] = [{"type": "abuts", "subject": document["entities"][0]["id"], "object": "nobody"}]

    parse = _broken(case, tmp_path, dangling)
    line = _refused(_run("audit", case / "ct.nii.gz", parse, "-o", tmp_path / "x"), tmp_path / "x")
    assert "relations[0].object" in line


def test_a_file_that_is_no_bundle_says_what_to_add(case, tmp_path):
    line = _refused(_run("audit", case / "ct.nii.gz", case / "labels.nii.gz", "-o", tmp_path / "x"), tmp_path / "x")
    assert "--from" in line


@pytest.mark.parametrize("options", [("--alpha", "2"), ("--tiers", "7"), ("--tiers", "one"), ("--seed", "-4")])
def test_options_out_of_range_are_refused(case, tmp_path, options):
    _refused(_run("audit", case / "ct.nii.gz", case / "parse", "-o", tmp_path / "x", *options), tmp_path / "x")


def test_a_render_is_marked_synthetic_and_reproducible(case, tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        result = _run("render", case / "parse", "-o", tmp_path / name, "--seed", 3, "--json")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert b"synthetic" in gzip.decompress((tmp_path / "a.nii.gz").read_bytes())[:348].lower()


def test_a_region_is_redrawn_and_the_rest_kept(case, tmp_path):
    from synth.volume import read_mask, read_volume

    result = _run(
        "render",
        case / "parse",
        "-o",
        tmp_path / "r.nii.gz",
        "--context",
        case / "ct.nii.gz",
        "--region",
        "kidney_left",
    )
    assert result.exit_code == 0, result.output
    before, after = (read_volume(p, modality="CT").array for p in (case / "ct.nii.gz", tmp_path / "r.nii.gz"))
    inside = read_mask(case / "labels.nii.gz")[0].dense()
    np.testing.assert_array_equal(before[~inside], after[~inside])
    assert (before[inside] != after[inside]).any()


@pytest.mark.parametrize(
    "arguments",
    [("-o", "x.png"), ("-o", "x.nii.gz", "-n", "0"), ("-o", "x.nii.gz", "--region", "kidney_left"),
     ("-o", "x.nii.gz", "--region", "kidny", "--context", "ct.nii.gz")],
)  # fmt: skip
def test_a_bad_render_is_refused(case, tmp_path, arguments, monkeypatch):
    shutil.copy(case / "ct.nii.gz", tmp_path / "ct.nii.gz")
    monkeypatch.chdir(tmp_path)
    result = _run("render", case / "parse", *arguments)
    assert result.exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz"]


def test_an_empty_parse_is_audited_without_complaint(case, tmp_path):
    from synth.volume import read_volume

    image = read_volume(case / "ct.nii.gz", modality="CT")
    save_bundle(Parse((), geometry=image.geometry), tmp_path / "parse")
    result = _run("audit", case / "ct.nii.gz", tmp_path / "parse", "-o", tmp_path / "x", "--no-search", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["entities"] == []
