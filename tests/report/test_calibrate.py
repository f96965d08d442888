from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from synth.errors import InputError
from synth.parse import save_bundle
from synth.pipeline.audit import AuditOptions
from synth.pipeline.audit_files import audit
from synth.pipeline.cases import Reading
from synth.report.calibrate import CalibrateOptions, calibrate
from synth.residual import AuditModel, Collected, Plan, collect
from synth.residual.calibration import weigh
from synth.residual.conformal import scores_needed
from synth.residual.drift import FACT
from synth.residual.extent import ExtentJudge
from synth.residual.site import LEAST_FINDINGS, false_alarms, needs, refit
from synth.volume import write_volume

CASES, JITTERS = 20, 1
QUICK = CalibrateOptions(reading=Reading("CT"), jitters=JITTERS, search=False)


@pytest.fixture(scope="module")
def site(world, tmp_path_factory) -> Path:
    """Twenty accepted toy patients, and one whose image is cut short."""
    folder = tmp_path_factory.mktemp("accepted")
    for number in range(CASES + 1):
        toy = world.toy_patient(500 + number)
        write_volume(toy.image, folder / f"case{number:02d}" / "ct.nii.gz")
        save_bundle(toy.parse, folder / f"case{number:02d}" / "parse")
    image = folder / f"case{CASES:02d}" / "ct.nii.gz"
    image.write_bytes(image.read_bytes()[:4000])
    return folder


@pytest.fixture(scope="module")
def found(world, site, tmp_path_factory):
    out = tmp_path_factory.mktemp("calibrated") / "own"
    return calibrate(site, out, QUICK, decoder=world.decoder(), model=world.model())


def test_the_scores_are_those_of_the_accepted_entities(world, found):
    own = AuditModel.load(found.folder).judge("gaussian")
    assert len(own.calibration.scores) == CASES * 4 * (1 + JITTERS)
    assert {s.name for s in own.calibration.scores} == {"liver", "spleen", "kidney_left", "kidney_right"}
    assert own.presence.to_json() == world.model().judge("gaussian").presence.to_json()
    assert len(own.facts[FACT]["distances"]) == CASES


def test_it_says_how_many_cases_are_needed(found):
    assert found.entities == 4
    whole = next(c for c in found.cells if c.cell == "all")
    assert whole.needed == {f"{a:g}": scores_needed(4, a) for a in (0.05, 0.1, 0.2)}
    assert all(n == 0 for n in whole.more_cases.values())
    liver = next(c for c in found.cells if c.cell == "liver")
    assert liver.scores == CASES * (1 + JITTERS)
    # 79 scores for alpha 0.05, two a case, forty there
    assert liver.more_cases["0.05"] == 20


def test_own_false_alarms_are_few(found):
    for alarm in found.alarms["gaussian"]:
        assert alarm.entities == CASES * 4
        assert alarm.own <= 3 * alarm.alpha * alarm.cases


@pytest.fixture(scope="module")
def outlined(world, site, tmp_path_factory):
    """The same where outlines are judged too: as shipped, with the toy's population."""
    model = world.model()
    model = replace(model, extent=replace(ExtentJudge.load(), prior_sha256=model.prior.digest))
    out = tmp_path_factory.mktemp("calibrated") / "outlined"
    return model, calibrate(site, out, QUICK, decoder=world.decoder(), model=model)


def test_outlines_are_calibrated_too(outlined):
    before, found = outlined
    own = AuditModel.load(found.folder)
    assert own.outlines.fusion.to_json() == before.extent.fusion.to_json()
    mine = [s for s in own.outlines.calibration.scores if s.name in {"liver", "spleen", "kidney_left", "kidney_right"}]
    assert len(mine) == CASES * 4 * (1 + JITTERS)
    # No toy has a finding: those that were there stay.
    findings = [s for s in own.outlines.calibration.scores if "cyst" in s.name]
    assert findings == [s for s in before.extent.calibration.scores if "cyst" in s.name]
    # Boxes in noise end unlike organs of people; among themselves they are usual.
    shipped, mine = ([getattr(a, which) for a in found.alarms["outlines"]] for which in ("shipped", "own"))
    assert min(shipped) > CASES
    assert max(mine) <= 2
    assert "outlines" in (found.folder / "calibration.html").read_text()


def test_outlines_of_another_population_are_refused(outlined, tmp_path):
    model, _ = outlined
    replace(model, extent=replace(model.extent, prior_sha256="0" * 64)).save(tmp_path)
    with pytest.raises(InputError, match="another population"):
        AuditModel.load(tmp_path)


def test_the_digest_covers_the_outlines(outlined, found):
    _, with_outlines = outlined
    folder = with_outlines.folder
    before = AuditModel.load(folder).sha256
    (folder / "extent.json").unlink()
    assert AuditModel.load(folder).sha256 != before


def _collected(world, lesions: int) -> Collected:
    """Forty toy patients as they are, so many of them with a lesion."""
    cases = [world.case_of(1200 + number, lesion=number < lesions) for number in range(40)]
    plan = Plan(jitters=0, moves=0, hallucinations=0, deletions=0)
    return collect(cases, world.decoder(), world.prior(), plan=plan, search=False)


@pytest.fixture(scope="module")
def weighing_findings(world):
    """The toy judge with findings weighed by themselves."""
    samples = world.claims_of_findings(range(1100, 1110), Plan())
    return replace(world.model().judge("gaussian"), findings=weigh(samples))


def test_a_sites_findings_replace_those_before_once_there_are_enough_of_them(world, weighing_findings):
    few, many = _collected(world, LEAST_FINDINGS - 1), _collected(world, LEAST_FINDINGS + 6)
    kept, own = (refit(weighing_findings, c, "weights", {}) for c in (few, many))
    assert kept.findings is weighing_findings.findings
    assert not kept.facts["own findings"]
    assert own.facts["own findings"]
    assert own.findings.fusion is weighing_findings.findings.fusion
    assert {s.name for s in own.findings.calibration.scores} == {"metastasis"}
    assert len(own.findings.calibration.scores) == LEAST_FINDINGS + 6
    of_finding = {c.cell: c for c in needs(weighing_findings, many, [0.1])}["metastasis"]
    assert of_finding.scores == LEAST_FINDINGS + 6
    assert of_finding.shipped == len(weighing_findings.findings.calibration.scores)
    (alarms,) = false_alarms(weighing_findings, many, [0.1])
    assert alarms.entities == 40 * 4 + LEAST_FINDINGS + 6
    assert alarms.own <= 3 * 0.1 * alarms.cases


def test_a_case_that_cannot_be_read_is_left_out_and_named(found):
    assert list(found.left_out) == [f"case{CASES:02d}"]
    assert len(found.cases) == CASES
    page = (found.folder / "calibration.html").read_text()
    assert f"case{CASES:02d}" in page
    assert not re.search(r"https?://|<script", page)
    assert json.loads((found.folder / "calibration.json").read_text()) == found.to_json()


def _messages(world, found, image, parse) -> dict[str, str]:
    report = audit(image, parse, AuditOptions(search=False), decoder=world.decoder(), model=found.folder)
    return {m.code: m.severity for m in report.findings.preflight}


def test_a_case_of_another_scanner_is_warned_of_and_one_like_the_others_is_not(world, found):
    toys = [world.toy_patient(seed) for seed in range(900, 905)]
    assert sum("no_drift" in _messages(world, found, toy.image, toy.parse) for toy in toys) >= 4
    toy = toys[0]
    hotter = toy.image.with_array(toy.image.array * 1.0 + 60.0 * (toy.image.array > 0))
    assert _messages(world, found, hotter, toy.parse).get("drift") == "warning"


def test_a_judge_of_few_cases_says_that_they_are_too_few_to_know_a_drift(world):
    toy = world.toy_patient(900)
    report = audit(toy.image, toy.parse, AuditOptions(search=False), decoder=world.decoder(), model=world.model())
    (said,) = [m for m in report.findings.preflight if "drift" in m.code]
    assert (said.severity, said.code) == ("info", "drift_unknown")
    assert "among 12 calibration cases; 19 are needed" in said.message


def test_a_judge_that_knows_no_usual_cases_says_nothing_of_drift(world):
    toy, model = world.toy_patient(900), world.model()
    old = {name: replace(judge, facts={}) for name, judge in model.judges.items()}
    options = AuditOptions(search=False)
    report = audit(toy.image, toy.parse, options, decoder=world.decoder(), model=replace(model, judges=old))
    assert not [m for m in report.findings.preflight if "drift" in m.code]


def test_two_processes_give_the_same_calibration(world, site, found, tmp_path):
    two = calibrate(site, tmp_path / "own", replace(QUICK, workers=2), decoder=world.decoder(), model=world.model())
    assert two.to_json() == found.to_json()


def test_a_folder_with_files_and_an_unknown_decoder_are_refused_before_the_work(world, site, found, tmp_path):
    with pytest.raises(InputError, match="a new folder"):
        calibrate(site, found.folder, QUICK, decoder=world.decoder(), model=world.model())
    bare = AuditModel(world.prior(), {})
    with pytest.raises(InputError, match="gaussian"):
        calibrate(site, tmp_path / "own", QUICK, decoder=world.decoder(), model=bare)


def test_without_a_usable_case_nothing_is_written(world, site, tmp_path):
    (tmp_path / "list.csv").write_text("image,parse\nnowhere.nii.gz,nowhere\n")
    with pytest.raises(InputError, match="accepted cases"):
        calibrate(tmp_path / "list.csv", tmp_path / "own", QUICK, decoder=world.decoder(), model=world.model())
    assert not (tmp_path / "own").exists()
