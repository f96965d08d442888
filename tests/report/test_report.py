from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from synth.errors import InputError
from synth.report import report_html, save_report
from synth.report.figures import diverging, grey, window_for
from synth.report.planes import AXIAL, CORONAL, PLANES, SAGITTAL, Plane, cut, outline
from synth.report.summary import summary_png
from synth.report.words import headline, plain
from synth.residual.findings import Verdict
from synth.volume import Geometry, Mask, Volume, read_mask, read_volume


class _Balance(HTMLParser):
    """Collects what is opened and never closed."""

    VOID = frozenset({"meta", "br", "image", "path", "img", "link", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)


def test_the_page_is_well_formed(page):
    checker = _Balance()
    checker.feed(page)
    assert not checker.wrong
    assert not checker.open


SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)


def test_the_page_needs_nothing_from_outside(page):
    shown = re.sub(r'<pre class="licence">.*?</pre>', "", SCRIPT.sub("", page), flags=re.DOTALL)
    assert not re.search(r"https?://", shown)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in re.findall(r'href="([^"]*)"', shown))
    assert "default-src 'none'" in page
    assert not any("src" in attributes for attributes, _ in SCRIPT.findall(page))


def test_only_the_scripts_of_the_page_may_run_in_it(page):
    (policy,) = re.findall(r'content="(default-src[^"]*)"', page)
    run = [code for attributes, code in SCRIPT.findall(page) if "application/json" not in attributes]
    hashes = {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in run}
    assert set(re.findall(r"'sha256-([^']*)'", policy)) == hashes
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_the_page_names_what_was_found_and_how_far_to_trust_it(page):
    for text in (
        "kidney right",
        "hallucinated",
        "rendered with kidney right",
        "rendered without",
        "metastasis in liver",
    ):
        assert text in page
    for text in ("Not a medical device", "false alarms", "decoder sha256", "image sha256"):
        assert text in page


def test_every_finding_is_shown_in_three_planes_beside_render_and_residual(page, report):
    cards = len(report.findings.flagged) + len(report.missing)
    for plane in PLANES:
        assert page.count(f'<div class="row-label">{plane}</div>') == cards
        for what in ("input", "render", "residual"):
            assert page.count(f'aria-label="{what}, {plane} plane"') >= cards


def test_text_from_a_parse_is_escaped(report):
    made_by = "<img src=x onerror=alert(1)>"
    findings = report.findings.model_copy(
        update={"provenance": {**report.findings.provenance, "parse_made_by": made_by}}
    )
    page = report_html(type(report)(**{**vars(report), "findings": findings}))
    assert made_by not in page
    assert "&lt;img src=x" in page


def test_the_folder_holds_what_the_findings_name(report, tmp_path):
    findings = save_report(report, tmp_path / "audit")
    data = json.loads((tmp_path / "audit" / "findings.json").read_text("utf-8"))
    assert data == findings.model_dump(mode="json")
    for name in ("report.html", "residual.nii.gz", "render.nii.gz"):
        assert (tmp_path / "audit" / name).stat().st_size > 0
    mask, geometry = read_mask(tmp_path / "audit" / findings.missing[0].mask)
    assert geometry.matches(report.image.geometry)
    assert mask == report.regions[findings.missing[0].id].mask
    told = findings.flagged[0].counterfactual
    assert read_volume(tmp_path / "audit" / told.with_entity, modality="CT").shape == report.on_grid.shape
    assert (tmp_path / "audit" / told.without_entity).exists()
    left_out = findings.missing[0]
    for name in (left_out.with_entity, left_out.without_entity):
        assert read_volume(tmp_path / "audit" / name, modality="CT").shape == report.on_grid.shape


def test_what_was_drawn_says_so_in_its_header(report, tmp_path):
    import gzip

    save_report(report, tmp_path / "audit")
    for name in ("residual.nii.gz", "render.nii.gz"):
        header = gzip.decompress((tmp_path / "audit" / name).read_bytes())[:348]
        assert b"synthetic" in header.lower()


def test_a_folder_with_files_is_not_overwritten_unasked(report, tmp_path):
    folder = tmp_path / "audit"
    save_report(report, folder)
    with pytest.raises(InputError, match="--overwrite"):
        save_report(report, folder)
    save_report(report, folder, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit"]


def test_only_an_earlier_audit_is_ever_replaced(report, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="earlier audit"):
        save_report(report, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_failure_leaves_nothing_behind(report, tmp_path, monkeypatch):
    def fail(*_: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("synth.report.folder.report_html", fail)
    with pytest.raises(OSError, match="disk full"):
        save_report(report, tmp_path / "audit")
    assert list(tmp_path.iterdir()) == []


def test_patient_right_is_on_the_viewers_left_and_feet_are_down():
    array = np.zeros((20, 20, 20), np.float32)
    array[15:, :, 15:] = 100.0  # right and head
    volume = Volume(array, Geometry.regular((20, 20, 20), 4.0), "CT", "HU")
    low, high = (-40.0, -40.0, -40.0), (40.0, 40.0, 40.0)
    image = cut(volume, Plane.through(CORONAL, (0, 0, 0), low, high, 2.0), fill=0.0)
    assert image[:8, :8].mean() > 90
    assert image[-8:].max() == 0
    assert image[:, -8:].max() == 0


@pytest.mark.parametrize("name", [AXIAL, CORONAL, SAGITTAL])
def test_an_outline_encloses_its_mask(name):
    mask = Mask.from_box((20, 20, 20), (8, 6, 7), np.ones((5, 6, 7), bool))
    geometry = Geometry.regular((20, 20, 20), 4.0)
    centre = tuple(float(v) for v in mask.centroid_mm(geometry))
    plane = Plane.through(name, centre, (-40.0,) * 3, (40.0,) * 3, 1.0)
    (curve,) = outline(mask, geometry, plane)
    x, y = plane.pixel_of(centre)
    np.testing.assert_allclose((curve.min(axis=0) + curve.max(axis=0)) / 2, (x, y), atol=1.0)
    size = {"axial": (5, 6), "coronal": (5, 7), "sagittal": (6, 7)}[name]
    np.testing.assert_allclose(np.ptp(curve, axis=0), np.array(size) * 4.0, atol=1.5)


def test_a_plane_beside_the_mask_has_no_outline():
    mask = Mask.from_box((20, 20, 20), (8, 6, 7), np.ones((5, 6, 7), bool))
    geometry = Geometry.regular((20, 20, 20), 4.0)
    assert outline(mask, geometry, Plane.through(AXIAL, (0, 0, 38.0), (-40.0,) * 3, (40.0,) * 3, 1.0)) == ()


def test_no_residual_is_white_and_signs_have_their_colours():
    pixels = diverging(np.array([[0.0, 9.0, -9.0]], np.float32))[0]
    assert pixels[0].tolist() == [255, 255, 255]
    assert pixels[1, 0] > pixels[1, 2]
    assert pixels[2, 2] > pixels[2, 0]


def test_lungs_are_shown_in_a_lung_window():
    volume = Volume(np.full((4, 4, 4), -800.0), Geometry.regular((4, 4, 4), 4.0), "CT", "HU")
    window = window_for(volume, np.full(10, -800.0, np.float32))
    assert "lung" in window.label
    assert 20 < grey(np.full((2, 2), -800.0, np.float32), window).mean() < 200


def test_the_headline_says_what_is_not_there_and_what_does_not_hold(report):
    flagged = report.findings.flagged
    assert flagged
    turned = flagged[0].model_copy(update={"verdict": Verdict.wrong_relation, "score": None, "suspicion_rank": None})
    kept = [turned if e.id == turned.id else e for e in report.findings.entities]
    changed = replace(report, findings=report.findings.model_copy(update={"entities": kept}))
    assert f"what is said of {plain(turned.id)} does not hold" in headline(changed.findings).lower()
    page = report_html(changed)
    assert "wrong relation" in page
    assert summary_png(changed)


def test_the_headline_says_which_outline_is_wrong(report):
    off = report.findings.flagged[0].model_copy(update={"verdict": Verdict.wrong_extent})
    kept = [off if e.id == off.id else e for e in report.findings.entities]
    changed = replace(report, findings=report.findings.model_copy(update={"entities": kept}))
    said = headline(changed.findings).lower()
    assert f"does not end with the outline of {plain(off.id)}" in said
    assert f"what is said of {plain(off.id)}" not in said
    assert "wrong extent" in report_html(changed)
