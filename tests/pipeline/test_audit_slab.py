"""A small field of view of a patient: cut muscles and uneven bones are no mistakes of the parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.interop import import_labels
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.residual.findings import Verdict
from synth.volume import read_volume

BOTTOM = slice(None), slice(None), slice(0, 30)  # 90 mm of a pelvis


@pytest.fixture(scope="module")
def report(shared_data: Path) -> AuditReport:
    folder = shared_data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz")
    labels = folder / "example_seg_fast_force_split.nii.gz"
    parse = import_labels(labels, source="totalsegmentator", image=image)
    slab = image.cropped(BOTTOM)
    told = parse.circumstance.changed(image_sha256=slab.sha256())
    return audit(slab, parse.cropped(BOTTOM).replace(circumstance=told), AuditOptions(tiers=(1,)))


def test_what_stands_out_in_a_bone_is_listed_and_not_judged(report: AuditReport) -> None:
    assert report.findings.missing == []
    in_bone = [r for r in report.findings.unexplained or () if (r.located_in or "").startswith(("femur", "hip"))]
    assert max(r.score for r in in_bone) > 2  # as strong as what is called missing elsewhere
    for region in in_bone:
        assert region.verdict is region.p_value is None
        assert "what stands out in bone is not judged" in region.reason


def test_outlines_of_cut_muscles_are_not_judged_and_those_of_organs_are(report: AuditReport) -> None:
    found = {e.id: e for e in report.findings.entities}
    assert found["gluteus_medius_right"].verdict is Verdict.supported
    assert found["gluteus_medius_right"].extent is None
    assert found["urinary_bladder"].extent is not None
    assert found["urinary_bladder"].verdict is Verdict.supported
