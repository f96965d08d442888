import json
from dataclasses import replace

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Entity, Parse, Presence
from synth.residual import AuditModel, Calibration, CalibrationScore, Verdict
from synth.residual.evidence import EntityEvidence
from synth.residual.verdict import ANATOMY, FINDINGS, Scored, cannot_check, cannot_tell, judge
from synth.volume import Geometry, Mask

CALIBRATION = Calibration(tuple(CalibrationScore("liver", 1500.0, 0.02 * s) for s in range(-10, 390)))


def test_only_what_is_beyond_chance_is_flagged():
    scored = [Scored("liver", 1500.0, s, CALIBRATION) for s in (3.0, 5.0, -4.0, 2.0)]
    verdicts = [j.verdict for j in judge(scored, 0.1)]
    assert verdicts == [Verdict.supported, Verdict.supported, Verdict.hallucinated, Verdict.supported]


def test_the_lowest_score_is_the_most_suspicious():
    scored = [Scored("liver", 1500.0, s, CALIBRATION) for s in (3.0, -9.0, -4.0)]
    assert [j.rank for j in judge(scored, 0.1)] == [3, 1, 2]


def test_findings_are_judged_among_findings_and_organs_among_organs():
    known = Calibration(tuple(CalibrationScore("liver_cyst", 4.0, float(s)) for s in range(30)))
    organs = [Scored("liver", 1500.0, 5.0, known)] * 60
    lesion = Scored("liver_cyst", 4.0, -4.0, known, FINDINGS)
    apart = judge([*organs, lesion], 0.1)[-1]
    together = judge([*organs, replace(lesion, family=ANATOMY)], 0.1)[-1]
    assert (apart.verdict, apart.needed) == (Verdict.hallucinated, 9)
    assert (together.verdict, together.needed) == (Verdict.supported, 609)


def test_a_score_that_speaks_for_the_entity_is_never_flagged():
    high = Calibration(tuple(CalibrationScore("liver", 1500.0, 50.0) for _ in range(400)))
    assert judge([Scored("liver", 1500.0, 2.0, high)], 0.1)[0].verdict is Verdict.supported


def test_without_calibration_the_sign_decides_and_there_is_no_p_value():
    found = judge([Scored("liver", 1.0, s, Calibration(())) for s in (1.0, -1.0)], 0.1)
    assert [j.verdict for j in found] == [Verdict.supported, Verdict.hallucinated]
    assert all(j.conformal is None for j in found)


def test_reasons_for_not_checking(world):
    toy = world.toy_patient(80)
    speck = Mask.from_box(toy.parse.geometry.shape, (20, 15, 15), [[[1, 1]]])
    parse = toy.parse.with_entity(Entity(id="speck", name="metastasis"), speck)
    parse = parse.with_entity(Entity(id="ptv", name="ptv_70"), toy.places["liver"])
    parse = parse.with_entity(Entity(id="fat", name="fat"), toy.places["liver"])
    parse = parse.with_entity(Entity(id="named", name="pancreas"))
    known = frozenset({"liver", "metastasis", "pancreas"})

    def why(id):
        return cannot_check(parse.entity(id), parse, parse, known)

    assert "too small" in why("speck")
    assert "drawn, not seen" in why("ptv")
    assert "compared" in why("fat")
    assert "not delineated" in why("named")
    assert "never shown" in why("spleen")
    assert why("liver") is None


@pytest.mark.parametrize(("origin", "size", "checked"), [
    ((10, 10, 0), (9, 9, 2), False),  # the lowest two slices show where an organ begins
    ((10, 10, 0), (9, 9, 3), True),
    ((0, 10, 10), (2, 9, 9), False),
    ((10, 10, 10), (9, 9, 2), True),  # thin, and all of it in view
])  # fmt: skip
def test_what_the_field_of_view_cuts_to_a_slice_is_not_checked(origin, size, checked):
    grid = Geometry.regular((30, 30, 30), 4.0)
    mask = Mask.from_box(grid.shape, origin, np.ones(size, bool))
    parse = Parse([Entity(id="liver", name="liver")], geometry=grid, masks={"liver": mask})
    why = cannot_check(parse.entity("liver"), parse, parse, frozenset({"liver"}))
    assert why is None if checked else "outside the field of view but for 8 mm" in why


def test_an_entity_that_would_not_show_is_not_judged():
    faint = EntityEvidence("a", "prostate", 50, {}, visibility=0.01, effect_hu=0.5)
    plain = EntityEvidence("a", "liver", 50, {}, visibility=0.01, effect_hu=40.0)
    assert "no contrast expected" in cannot_tell(faint)
    assert cannot_tell(plain) is None


def test_an_audit_model_survives_its_folder(world, tmp_path):
    made = world.model()
    made.save(tmp_path / "audit", {"note": "toy"})
    again = AuditModel.load(tmp_path / "audit")
    mine, theirs = made.judge("gaussian"), again.judge("gaussian")
    assert len(again.sha256) == 64
    assert theirs.calibration.scores == Calibration.from_json(mine.calibration.to_json()).scores
    assert theirs.missing is not None
    assert theirs.most_suspicious == pytest.approx(mine.most_suspicious, abs=1e-3)
    assert json.loads((tmp_path / "audit" / "config.json").read_text())["decoders"] == ["gaussian"]


def test_an_uncalibrated_decoder_is_named_in_the_error(world):
    with pytest.raises(InputError, match="latent"):
        world.model().judge("latent")


def test_a_broken_folder_is_one_line(tmp_path):
    with pytest.raises(InputError, match="fetch the weights again"):
        AuditModel.load(tmp_path)


def test_uncertain_is_a_presence_like_any_other(world):
    toy = world.toy_patient(81)
    parse = toy.parse.with_presence("liver", Presence.uncertain)
    assert "liver" not in parse.present_ids
