"""`synth forecast` as a user meets it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from synth.action import Ablation, Observation, Plan, Surgery
from synth.cli.app import app
from synth.cli.forecast import at_days
from synth.errors import InputError
from synth.parse import Circumstance, Entity, Parse, load_bundle, save_bundle
from synth.parse.derive.relations import derive_relations
from synth.pipeline.forecast import Interval
from synth.report.forecast_record import json_schema
from synth.report.trajectory import Curve, trajectory
from synth.volume import Geometry, Mask, Volume, read_volume, write_volume

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "forecast.schema.json"
SHAPE = (40, 36, 24)


def ball(centre: tuple[float, float, float], radius: float) -> Mask:
    grid = np.indices(SHAPE)
    return Mask.from_dense(sum((a - c) ** 2 for a, c in zip(grid, centre, strict=True)) <= radius**2)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two visits of a liver with a metastasis, the scan of the last, and two plans."""
    folder = tmp_path_factory.mktemp("case")
    geometry = Geometry.regular(SHAPE, 4.0)
    body = Mask.from_box(SHAPE, (1, 1, 0), np.ones((38, 34, 24), bool))
    for name, day, radius in (("before", 0.0, 2.6), ("now", 60.0, 3.2)):
        masks = {"body": body, "liver": ball((18, 18, 12), 11), "met": ball((14, 18, 12), radius)}
        entities = [Entity(id=id, name="liver_metastasis" if id == "met" else id) for id in masks]
        circumstance = Circumstance(modality="CT", day=day)
        parse = derive_relations(Parse(entities, geometry=geometry, circumstance=circumstance, masks=masks))
        save_bundle(parse, folder / name)
    values = np.full(SHAPE, -1000.0)
    for mask, hu in zip(masks.values(), (20, 110, 60), strict=True):
        values[mask.slices][mask.box] = hu
    noise = np.random.default_rng(0).normal(0, 6, SHAPE)
    write_volume(Volume(np.rint(values + noise), geometry, "CT", "HU"), folder / "ct.nii.gz")
    Plan(name="Watch & wait", actions=(Observation(start_day=0, stop_day=365),)).write(folder / "watch.json")
    cut = Surgery(start_day=14, stop_day=14, entities=("met",), margin_mm=8.0)
    Plan(name="Resection", actions=(cut,)).write(folder / "cut.json")
    return folder


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def told(case: Path) -> dict[str, Any]:
    result = _run(
        "forecast", case / "before", case / "now", "--image", case / "ct.nii.gz", "--plan", case / "watch.json",
        "--plan", case / "cut.json", "--at", "30d,180d", "--samples", 12, "-o", case / "out", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_folder_holds_what_the_record_names(case: Path, told: dict[str, Any]) -> None:
    out = case / "out"
    assert json.loads((out / "forecast.json").read_text()) == told
    for plan in told["plans"]:
        assert (out / plan["film"]).is_file()
        for course in plan["courses"]:
            load_bundle(out / course["parse"])
            assert json.loads((out / course["diff"]).read_text())["masks"]
            assert course["render"] is None or (out / course["render"]).is_file()
        assert sum(course["render"] is not None for course in plan["courses"]) == 2
    with Image.open(out / told["trajectory"]) as plot:
        assert plot.size == (760, 460)
    with Image.open(out / told["plans"][0]["film"]) as film:
        assert film.n_frames == 3


def test_the_record_keeps_its_published_schema(told: dict[str, Any]) -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()
    jsonschema.validate(told, json_schema())


def test_the_plans_differ_as_they_should(told: dict[str, Any]) -> None:
    watch, cut = told["plans"]
    assert watch["lesions"][-1]["volume_ml"]["high"] > 0
    assert cut["lesions"][-1]["gone"] == 1.0
    assert {c["outcome"] for c in told["comparisons"]} == {"volume", "progression", "time_to_progression"}
    assert any("is gone" in s for c in cut["courses"] for s in c["sentences"])
    assert [v["day"] for v in told["lesions"][0]["visits"]] == [-60.0, 0.0]


def test_scans_are_marked_synthetic_and_keep_what_does_not_change(case: Path, told: dict[str, Any]) -> None:
    before = read_volume(case / "ct.nii.gz", modality="CT").array
    for plan in told["plans"]:
        for course in (c for c in plan["courses"] if c["render"]):
            path = case / "out" / course["render"]
            assert b"synthetic" in gzip.decompress(path.read_bytes())[:348].lower()
            after = read_volume(path, modality="CT").array
            changed = np.argwhere(before != after)
            assert len(changed)
            assert (changed.max(axis=0) - changed.min(axis=0)).max() < 24  # around the lesion, not the whole
            assert (before[:, :, 0] == after[:, :, 0]).all()


def test_the_same_command_gives_the_same_bytes(case: Path, told: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a", "b"):
        result = _run("forecast", case / "now", "--plan", case / "watch.json", "--at", "90", "--samples", 5,
                      "--seed", 2, "-o", tmp_path / name)  # fmt: skip
        assert result.exit_code == 0, result.output
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert files
    assert [f for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()] == []


def test_masks_are_forecast_where_no_scan_can_be_drawn(case: Path, tmp_path: Path) -> None:
    mr = read_volume(case / "ct.nii.gz", modality="CT")
    write_volume(Volume(mr.array, mr.geometry, "MR"), tmp_path / "mr.nii.gz")
    now = load_bundle(case / "now")
    save_bundle(now.replace(circumstance=now.circumstance.changed(modality="MR")), tmp_path / "now")
    result = _run("forecast", tmp_path / "now", "--plan", case / "watch.json", "--at", "90", "--samples", 3, "--image",
                  tmp_path / "mr.nii.gz", "--modality", "MR", "-o", tmp_path / "out", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert "expected CT images, got MR" in told["drawing"]["refused"]
    assert "no scans drawn" in result.stderr
    assert not list((tmp_path / "out").rglob("render.nii.gz"))
    assert list((tmp_path / "out").rglob("parse.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "soon"), "--at"),
        (("--at", "30d", "--samples", "0"), "samples"),
        (("--at", "30d", "--plan", "cut.json", "--plan", "cut.json"), "name of its own"),
        (("--at", "30d", "--earlier", "ct.nii.gz"), "--earlier"),
        (("--at", "30d", "--plan", "nothing.json"), "nothing.json"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(case)
    plans = () if "--plan" in arguments else ("--plan", "watch.json")
    result = _run("forecast", "now", *plans, *arguments, "-o", "never")
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (case / "never").exists()


def test_an_earlier_forecast_is_replaced_only_when_asked(case: Path, told: dict[str, Any], tmp_path: Path) -> None:
    command = ("forecast", case / "now", "--plan", case / "watch.json", "--at", "30", "--samples", 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    assert _run(*command, "-o", tmp_path / "mine", "--overwrite").exit_code == 2
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"
    assert _run(*command, "-o", tmp_path / "out").exit_code == 0
    assert _run(*command, "-o", tmp_path / "out").exit_code == 2
    assert _run(*command, "-o", tmp_path / "out", "--overwrite").exit_code == 0


def test_each_plan_is_drawn_or_refused_by_itself(case: Path, tmp_path: Path) -> None:
    burnt = Ablation(start_day=14, stop_day=14, entity="met", margin_mm=4.0)
    Plan(name="MWA", actions=(burnt,)).write(tmp_path / "mwa.json")
    result = _run("forecast", case / "now", "--image", case / "ct.nii.gz", "--plan", tmp_path / "mwa.json", "--plan",
                  case / "watch.json", "--at", "90d", "--samples", 4, "-o", tmp_path / "out", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    drawn = {plan["name"]: [c["render"] for c in plan["courses"] if c["render"]] for plan in told["plans"]}
    assert (len(drawn["MWA"]), len(drawn["Watch & wait"])) == (0, 1)
    assert (tmp_path / "out" / drawn["Watch & wait"][0]).is_file()
    assert told["drawing"]["refused"].startswith("plan 'MWA': ")
    assert "ablation_zone" in told["drawing"]["refused"]
    assert "Watch" not in told["drawing"]["refused"]
    assert told["drawing"]["decoder"] == "direct"
    assert "some scans not drawn: plan 'MWA'" in result.stderr


def test_a_scan_that_is_not_the_one_of_the_parse_is_told(case: Path, tmp_path: Path) -> None:
    scan, now = read_volume(case / "ct.nii.gz", modality="CT"), load_bundle(case / "now")
    save_bundle(now.of_image(scan), tmp_path / "now")
    write_volume(scan.with_array(np.ascontiguousarray(scan.array[::-1])), tmp_path / "flip.nii.gz")
    said = {}
    for name, path in (("own", case / "ct.nii.gz"), ("flip", tmp_path / "flip.nii.gz")):
        result = _run("forecast", tmp_path / "now", "--image", path, "--decoder", "none", "--plan", case / "watch.json",
                      "--at", "90d", "--samples", 2, "-o", tmp_path / name, "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        said[name] = {m["code"]: m for m in json.loads((tmp_path / name / "forecast.json").read_text())["preflight"]}
        assert ("made from this image" in result.stderr) == (name == "flip")
    assert "other_image" not in said["own"]
    assert said["flip"]["other_image"]["severity"] == "warning"
    stored = scan.with_array(scan.array + np.float32(1100.0))
    write_volume(stored, tmp_path / "stored.nii.gz")
    result = _run("forecast", tmp_path / "now", "--image", tmp_path / "stored.nii.gz", "--modality", "CT",
                  "--plan", case / "watch.json", "--at", "90d", "--samples", 2, "-o", tmp_path / "never")  # fmt: skip
    assert result.exit_code == 2
    assert "Hounsfield" in result.stderr
    assert not (tmp_path / "never").exists()


def test_ten_years_is_the_farthest_day(case: Path, tmp_path: Path) -> None:
    command = ("forecast", case / "now", "--plan", case / "watch.json", "--samples", 2, "-o", tmp_path / "out", "--at")
    result = _run(*command, "10.1y")
    assert result.exit_code == 2
    assert "0 to 3653" in result.stderr
    assert _run(*command, "10y").exit_code == 0


def test_days_are_read_in_days_weeks_months_and_years() -> None:
    assert at_days("30, 2w,1m,1y,1.5d") == (30.0, 14.0, 30.4375, 365.25, 1.5)
    for text in ("", "-3d", "3q", "1e3", "9" * 30):
        with pytest.raises(InputError, match="a list such as"):
            at_days(text)


def test_a_plot_shows_its_curves_and_survives_odd_numbers() -> None:
    flat = Curve("flat", (0.0, 1.0), (Interval(0.0, 0.0, 0.0),) * 2)
    wild = Curve("wild", (0.0, 1.0), (Interval(1.0, 1.0, 1.0), Interval(0.0, 2.0, 1e9)))
    one = Curve("one", (0.0,), (Interval(1.0, 2.0, 3.0),))
    pictures = [np.asarray(trajectory([curve], "t")) for curve in (flat, wild, one)]
    assert all((p < 200).any() for p in pictures)
    assert (pictures[0] != pictures[1]).any()
    with pytest.raises(InputError, match="a curve"):
        trajectory([], "t")


def test_the_whole_interval_is_drawn_inside_the_axis() -> None:
    def rows(high: float, median: float = 20.0) -> tuple[int, int]:
        curves = [Curve("p", (0.0, 90.0), (Interval(18.0, 18.0, 18.0), Interval(5.0, median, high)))]
        picture = np.asarray(trajectory([*curves, Curve("q", (0.0, 90.0), (Interval(18.0, 18.0, 18.0),) * 2)], "t"))
        band = np.argwhere(np.ptp(picture[59:, 735].astype(int), axis=-1) > 20)
        return int(band.min()) + 59, int(band.max()) + 59

    for high in (60.0, 111.0, 400.0, 1e5):
        top, bottom = rows(high)
        assert 60 < top < 100  # the upper end lies below the end of the axis, which is at 58
        assert bottom > top + 100
