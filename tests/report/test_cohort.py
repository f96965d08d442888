from __future__ import annotations

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.errors import InputError
from synth.parse import Entity, save_bundle
from synth.pipeline.audit import AuditOptions
from synth.report import cohort as module
from synth.report.cohort import CohortOptions, audit_cohort
from synth.report.cohort_table import CohortRow, Status, table_csv, table_html
from synth.volume import write_volume

QUICK = CohortOptions(AuditOptions(search=False))


@pytest.fixture(scope="module")
def site(world, tmp_path_factory) -> Path:
    """Three toy patients, one with a kidney that was removed, and a fourth whose image is cut short."""
    folder = tmp_path_factory.mktemp("site")
    for number, name in enumerate(("anna", "bert", "carl", "dora")):
        toy = world.toy_patient(300 + number, removed="kidney_right" if name == "bert" else None)
        parse = toy.parse
        if name == "bert":
            claimed = Entity(id="kidney_right", name="kidney_right")
            parse = parse.without("kidney_right").with_entity(claimed, toy.places["kidney_right"])
        write_volume(toy.image, folder / name / "ct.nii.gz")
        save_bundle(parse, folder / name / "parse")
    image = folder / "dora" / "ct.nii.gz"
    image.write_bytes(image.read_bytes()[:4000])
    return folder


def _run(world, site: Path, out: Path, options: CohortOptions = QUICK):
    return audit_cohort(
        site, out, replace(options, reading=module.Reading("CT")), decoder=world.decoder(), model=world.model()
    )


@pytest.fixture(scope="module")
def done(world, site, tmp_path_factory):
    return _run(world, site, tmp_path_factory.mktemp("out") / "audits")


def test_every_case_has_a_row_and_a_bad_one_stops_no_other(done):
    assert [(r.id, r.status) for r in done.rows] == [
        ("anna", Status.done), ("bert", Status.done), ("carl", Status.done), ("dora", Status.failed)
    ]  # fmt: skip
    assert "dora" in done.failed[0].error
    assert done.rows[1].flagged == ("kidney_right",)
    assert done.flagged[0].id == "bert"


def test_the_tables_lead_to_the_reports(done):
    rows = {row["id"]: row for row in csv.DictReader((done.folder / "cohort.csv").read_text().splitlines())}
    assert rows["bert"]["flagged"] == "kidney_right"
    assert rows["dora"]["error"] == done.failed[0].error
    page = (done.folder / "cohort.html").read_text()
    links = re.findall(r'href="([^"]*)"', page)
    assert sorted(links) == [f"cases/{name}/report.html" for name in ("anna", "bert", "carl")]
    assert all((done.folder / link).is_file() for link in links)
    assert not re.search(r"https?://", page)


def test_what_is_done_is_not_done_again_and_what_failed_is_tried_again(world, site, done, tmp_path):
    shutil.copytree(done.folder, tmp_path / "out")
    mended = tmp_path / "site"
    shutil.copytree(site, mended)
    shutil.copy(site / "anna" / "ct.nii.gz", mended / "dora" / "ct.nii.gz")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "cases").glob("*/findings.json")}
    again = _run(world, mended, tmp_path / "out")
    assert again.kept == 3
    assert not again.failed
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


def test_a_run_that_is_stopped_goes_on_and_ends_the_same(world, site, done, tmp_path, monkeypatch):
    real, asked = module.save_report, []

    def stopped(report, folder, **options):
        asked.append(folder.name)
        if len(asked) == 2:
            (folder.parent / f".{folder.name}-half").mkdir()
            raise KeyboardInterrupt
        return real(report, folder, **options)

    monkeypatch.setattr(module, "save_report", stopped)
    with pytest.raises(KeyboardInterrupt):
        _run(world, site, tmp_path / "out")
    assert (tmp_path / "out" / "cohort.csv").is_file()
    assert json.loads((tmp_path / "out" / "rows" / "bert.json").read_text())["error"] == "did not finish"
    monkeypatch.setattr(module, "save_report", real)
    again = _run(world, site, tmp_path / "out")
    assert again.kept == 1
    assert [replace(r, seconds=0) for r in again.rows] == [replace(r, seconds=0) for r in done.rows]
    assert sorted(p.name for p in (tmp_path / "out" / "cases").iterdir()) == ["anna", "bert", "carl"]
    for name in ("anna", "bert"):
        path = Path("cases") / name / "findings.json"
        assert (tmp_path / "out" / path).read_bytes() == (done.folder / path).read_bytes()


def test_a_process_that_ends_costs_its_own_case_only(world, site, tmp_path, monkeypatch):
    real = module.audit

    def killed(image, *arguments, **options):
        if image.parent.name == "bert":
            os._exit(9)
        return real(image, *arguments, **options)

    monkeypatch.setattr(module, "audit", killed)
    found = _run(world, site, tmp_path / "out", replace(QUICK, workers=2))
    assert [r.status.value for r in found.rows] == ["done", "failed", "done", "failed"]
    assert "process ended" in found.rows[1].error


def test_other_settings_need_another_folder(world, site, done):
    with pytest.raises(InputError, match=r"cohort\.json"):
        _run(world, site, done.folder, CohortOptions(AuditOptions(search=False, alpha=0.2)))


def test_a_folder_with_other_files_is_refused(world, site, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="a new folder"):
        _run(world, site, tmp_path)


def test_text_from_outside_is_escaped_in_both_tables():
    row = CohortRow(id="a", image="=cmd()", parse="p", status=Status.failed, error="<script>alert(1)</script>")
    assert "'=cmd()" in table_csv([row])
    assert "<script>alert" not in table_html([row])


def test_the_command_says_which_cases_failed(site, tmp_path):
    (tmp_path / "list.csv").write_text(
        f"id,image,parse\ndora,{site / 'dora' / 'ct.nii.gz'},{site / 'dora' / 'parse'}\n"
    )
    result = CliRunner().invoke(
        app,
        ["audit-cohort", str(tmp_path / "list.csv"), "-o", str(tmp_path / "out"), "--modality", "CT", "--json"],
    )
    assert result.exit_code == 1, result.output
    payload = json.loads(result.stdout)
    assert (payload["cases"], payload["failed"]) == (1, 1)
    assert "1 of 1 cases" in result.stderr


def test_synth_audit_takes_paths(world, site):
    import synth

    report = synth.audit(
        site / "anna" / "ct.nii.gz", str(site / "anna" / "parse"), synth.AuditOptions(search=False),
        decoder=world.decoder(), model=world.model(), reading=module.Reading("CT"),
    )  # fmt: skip
    assert isinstance(report, synth.AuditReport)
    assert {e.id for e in report.entities} >= {"liver", "spleen"}
