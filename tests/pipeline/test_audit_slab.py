"""A small field of view of a patient: cut muscles and uneven bones are no mistakes of the parse, a stone is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synth.interop import import_labels
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.residual.findings import Verdict
from synth.volume import read_volume


def _audited(data: Path, first: int) -> AuditReport:
    """90 mm of the abdomen, from a slice on, with the labels of the segmenter."""
    folder = data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz")
    labels = folder / "example_seg_fast_force_split.nii.gz"
    parse = import_labels(labels, source="totalsegmentator", image=image)
    slab = slice(None), slice(None), slice(first, first + 30)
    part = image.cropped(slab)
    return audit(part, parse.cropped(slab).of_image(part), AuditOptions(tiers=(1,)))


@pytest.fixture(scope="module")
def pelvis(shared_data: Path) -> AuditReport:
    return _audited(shared_data, 0)


def test_what_stands_out_in_a_bone_is_listed_and_not_judged(pelvis: AuditReport) -> None:
    assert pelvis.findings.missing == []
    in_bone = [r for r in pelvis.findings.unexplained or () if (r.located_in or "").startswith(("femur", "hip"))]
    assert max(abs(r.peak) for r in in_bone) > 3  # in a femur of more than 2,500 HU
    for region in in_bone:
        assert region.verdict is region.p_value is None
        assert "what stands out in bone is not judged" in region.reason


def test_outlines_of_cut_muscles_are_not_judged_and_those_of_organs_are(pelvis: AuditReport) -> None:
    found = {e.id: e for e in pelvis.findings.entities}
    assert found["gluteus_medius_right"].verdict is Verdict.supported
    assert found["gluteus_medius_right"].extent is None
    assert found["urinary_bladder"].extent is not None
    assert found["urinary_bladder"].verdict is Verdict.supported


def test_a_stone_that_the_segmenter_has_no_label_for_is_missing(shared_data: Path) -> None:
    report = _audited(shared_data, 60)
    (stone,) = report.findings.missing
    assert (stone.name, stone.located_in) == ("kidney_stone", "kidney_left")
    assert report.image.array[report.regions[stone.id].mask.slices].max() > 1000
    assert np.linalg.norm(np.subtract(stone.focus_mm, (-94, 135, 344))) < 8
    assert not report.findings.flagged
