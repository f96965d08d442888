"""A site's own calibration of outlines: how those of cases that it has accepted score, as they are and jittered.

Like `synth.residual.site` for presence: what the fusion weighs stays, what counts as unusual is the site's. Sites
differ in how their segmenters end an organ, and in how sharp their images are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from synth.fault import jittered
from synth.parse import VOCABULARY, Kind, Parse
from synth.residual.calibration import UNTOUCHED, Sample
from synth.residual.conformal import Calibration, CalibrationScore, scores_needed
from synth.residual.extent import MOST, OWN_OUTLINES, ExtentJudge, judge_outlines, measure_extent
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.site import FalseAlarms
from synth.residual.verdict import ANATOMY, FINDINGS, MIN_VOXELS, Scored, family_of
from synth.volume import Volume

KINDS = (Kind.organ, Kind.substructure, Kind.finding)
LEAST = scores_needed(1, MOST)
"""Scores of a family before the site's replace those that were there: with fewer no outline could be called wrong."""


def collect_outlines(
    case: str, image: Volume, parse: Parse, prior: IntensityPrior, rng: np.random.Generator, *, jitters: int
) -> Iterator[Sample]:
    """Every outline of an accepted case, as it is and jittered.

    `image` is on the prior's grid; `parse` on its own, where it is jittered, derived attributes left out.
    """
    yield from _measured(case, UNTOUCHED, image, parse, prior)
    for number in range(1, jitters + 1):
        yield from _measured(case, f"jittered {number}", image, jittered(parse, rng), prior)


def _measured(case: str, origin: str, image: Volume, parse: Parse, prior: IntensityPrior) -> Iterator[Sample]:
    parse = parse.resampled(image.geometry)
    for id in parse.present_ids:
        entity, mask = parse.entity(id), parse.masks[id]
        if entity.kind not in KINDS or mask.voxels < MIN_VOXELS or not prior.knows(entity.name):
            continue
        measured = measure_extent(image, parse, id, prior)
        if measured is not None:
            yield Sample(case, entity.name, mask.volume_ml(image.geometry), True, origin, measured.features)


def refit_extent(judge: ExtentJudge, samples: Sequence[Sample], facts: Mapping[str, object]) -> ExtentJudge:
    """The judge with the site's scores; a family that has fewer than `LEAST` keeps those that were there."""
    own = _scores(judge, samples)
    enough = {family: sum(_family(s) == family for s in own) >= LEAST for family in (ANATOMY, FINDINGS)}
    kept = [s for s in judge.calibration.scores if not enough[_family(s)]]
    scores = (*(s for s in own if enough[_family(s)]), *kept)
    return replace(judge, calibration=Calibration(scores), facts={**facts, OWN_OUTLINES: enough})


def extent_alarms(judge: ExtentJudge, samples: Sequence[Sample], alphas: Sequence[float]) -> tuple[FalseAlarms, ...]:
    """Outlines of accepted cases that are called wrong at each alpha, each a false alarm.

    Under the judge before, and under the site's, the case in question left out of it.
    """
    cases = {s.case: [o for o in samples if o.case == s.case and o.origin == UNTOUCHED] for s in samples}
    sites = {case: refit_extent(judge, [s for s in samples if s.case != case], {}) for case in cases}
    out = []
    for alpha in alphas:
        old = [_called(judge, mine, alpha) for mine in cases.values()]
        new = [_called(sites[case], mine, alpha) for case, mine in cases.items()]
        entities = sum(map(len, cases.values()))
        out.append(FalseAlarms(
            alpha, entities, len(cases), sum(old), sum(new), sum(n > 0 for n in old), sum(n > 0 for n in new)
        ))  # fmt: skip
    return tuple(out)


def _called(judge: ExtentJudge, samples: Sequence[Sample], alpha: float) -> int:
    scored = [
        Scored(s.name, s.volume_ml, judge.fusion.score(s.features, s.name), judge.calibration, _family(s))
        for s in samples
        if judge.judges(s.name)
    ]
    return sum(o.wrong for o in judge_outlines(scored, alpha))


def _scores(judge: ExtentJudge, samples: Sequence[Sample]) -> list[CalibrationScore]:
    return [CalibrationScore(s.name, s.volume_ml, judge.fusion.score(s.features, s.name)) for s in samples]


def _family(of: Sample | CalibrationScore) -> str:
    return family_of(VOCABULARY.term(of.name).kind)
