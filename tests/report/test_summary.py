from __future__ import annotations

import io

import numpy as np
from PIL import Image

from synth.report import save_report
from synth.report.summary import HEIGHT, WIDTH, summary_png
from synth.report.words import headline


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_the_summary_is_one_page_with_pictures_of_what_was_found(report):
    pixels = _pixels(summary_png(report))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    red = (pixels[..., 0] - pixels[..., 1:].max(axis=2)) > 90
    amber = (pixels[..., 0] > 220) & (abs(pixels[..., 1] - 174) < 25) & (pixels[..., 2] < 80)
    assert red.sum() > 200
    assert amber.sum() > 100


def test_a_parse_without_mistakes_has_a_calm_summary(report):
    fine = [e for e in report.entities if e.verdict.value == "supported"]
    findings = report.findings.model_copy(update={"entities": fine, "missing": []})
    calm = type(report)(**{**vars(report), "findings": findings})
    assert headline(findings) == "Nothing in this parse is contradicted by the image."
    pixels = _pixels(summary_png(calm))
    assert ((pixels[..., 0] - pixels[..., 1:].max(axis=2)) > 90).sum() < 200


def test_the_summary_is_the_same_for_the_same_report_and_lies_in_the_folder(report, tmp_path):
    save_report(report, tmp_path / "audit")
    assert (tmp_path / "audit" / "summary.png").read_bytes() == summary_png(report)
