"""The faults benchmark over all families with whole verdicts: is each fault called what it is?

Every patient is audited with its correct parse, all outlines jittered, and then with one fault planted at a time, or
three (`verdict_faults`). Each audit is one line in FOLDER/PATIENT.jsonl; `verdict_scores` makes the numbers.

FOLDER/settings.json       what decides the lines; a run with others is refused
FOLDER/beta.json           the presence test fitted for this run, a baseline
FOLDER/phantom-95000.jsonl the audits of a patient, in the order in which they were made
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synth import __version__
from synth.benchmark.beta_presence import BetaPresence
from synth.benchmark.remembered import remembering
from synth.benchmark.verdict_faults import PLANS, SEARCHED, TRUE, Plan, Planted, plant
from synth.benchmark.verdict_patients import Patients
from synth.benchmark.verdict_phantoms import draw_truth
from synth.benchmark.verdict_record import AuditLine, SaidEntity, SaidRegion, add_line, read_lines
from synth.benchmark.verdict_truth import Truth
from synth.contracts import Decoder
from synth.errors import InputError
from synth.parse import Kind, Parse
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.pipeline.parallel import each
from synth.pipeline.resumable import claim
from synth.residual.findings import EntityFinding, MissingFinding
from synth.residual.hosts import NOT_JUDGED, site_of
from synth.residual.judge import AuditModel
from synth.volume import Mask, Volume, write_bytes

SETTINGS, BETA = "settings.json", "beta.json"
FIRST_FITTED = 900  # seeds of the baseline's own patients: numbers that trainings draw as well
FOUND_DICE, FOUND_SHARE = 0.2, 0.5  # of a region on what was left out: this Dice, or this share of the region on it


@dataclass(frozen=True)
class VerdictOptions:
    """What decides the lines of a run.

    Attributes:
        tiers: which the audits may ask, None for all; alpha: of the audits; seed: of the faults.
        jitters: of the outlines of each patient, everything planted under each.
        families: only these, None for all; fitted: phantoms that the presence baseline is fitted on.
    """

    tiers: tuple[int, ...] | None = (1,)
    alpha: float = 0.1
    seed: int = 0
    jitters: int = 1
    families: tuple[str, ...] | None = None
    fitted: int = 10

    def __post_init__(self) -> None:
        known = dict.fromkeys(p.family for p in PLANS)
        for family in self.families or ():
            if family not in known:
                raise InputError("family", expected=f"one of {', '.join(known)}", got=family, fix="choose one of these")
        for name in ("fitted", "jitters"):
            if getattr(self, name) < 1:
                raise InputError(name, expected="at least 1", got=str(getattr(self, name)), fix="ask for more")

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What is planted in each patient, nothing first."""
        return (TRUE, *(p for p in PLANS if self.families is None or p.family in self.families))


def run_verdicts(
    folder: Path,
    patients: Patients,
    options: VerdictOptions,
    decoder: Decoder,
    model: AuditModel,
    *,
    workers: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> list[AuditLine]:
    """All audits of the patients; those that `folder` has are not made again.

    Raises InputError for a folder with other settings.
    """
    _claim(folder, patients, options, f"{decoder.weights_sha256} {model.sha256}")
    beta = _baseline(folder / BETA, options.fitted, decoder.spacing_mm)
    run = _Run(folder, patients, options, decoder, model, beta)
    lines: list[AuditLine] = []
    for found in each(run.one, range(len(patients.names)), workers):
        lines += found
        advance()
    return lines


def _claim(folder: Path, patients: Patients, options: VerdictOptions, weights: str) -> None:
    """Make the folder this run's, or refuse it. How many patients there are may change, what decides a line not."""
    plain = {**asdict(options), "families": None, "jitters": None}  # a line does not depend on which others there are
    about = {"patients": patients.about, "options": plain, "weights": weights}
    claim(folder, SETTINGS, {"verdicts": 2, "version": __version__, **about})


def _baseline(path: Path, patients: int, spacing_mm: float) -> BetaPresence:
    """The presence test, fitted on patients like those of a training: exact outlines, the sampled generator setting."""
    if not path.is_file():
        cases = (draw_truth(FIRST_FITTED + k, spacing_mm=spacing_mm) for k in range(patients))
        fitted = BetaPresence.fit((truth.image, truth.outlines) for truth in cases)
        write_bytes(path, (json.dumps({k: list(v) for k, v in sorted(fitted.shapes.items())}) + "\n").encode())
    shapes: dict[str, list[float]] = json.loads(path.read_text("utf-8"))
    return BetaPresence({name: (a, b) for name, (a, b) in shapes.items()})


@dataclass(frozen=True, eq=False)
class _Run:
    folder: Path
    patients: Patients
    options: VerdictOptions
    decoder: Decoder
    model: AuditModel
    beta: BetaPresence

    def one(self, number: int) -> list[AuditLine]:
        """The audits of one patient, those that are not there made now."""
        path = self.folder / f"{self.patients.names[number]}.jsonl"
        known = {(line.key, line.drawn): line for line in read_lines(path)}
        for drawn in range(self.options.jitters):
            if any((plan.key, drawn) not in known for plan in self.options.plans):
                truth = self.patients.truth(number, self.decoder.spacing_mm, drawn=drawn)
                decoder = remembering(self.decoder)  # what was said under other outlines is of no use
                for plan in self.options.plans:
                    if (plan.key, drawn) not in known:
                        known[plan.key, drawn] = self._line(truth, plan, decoder)
                        add_line(path, known[plan.key, drawn])
        return [known[plan.key, drawn] for drawn in range(self.options.jitters) for plan in self.options.plans]

    def _line(self, truth: Truth, plan: Plan, decoder: Decoder) -> AuditLine:
        planted = plant(truth, plan, seed=self.options.seed)
        if planted is None:
            return AuditLine(truth.name, plan.key, "", plan.severity, drawn=truth.drawn)
        o, searched = self.options, plan.family in SEARCHED
        asked = AuditOptions(decoder.name, o.tiers, o.alpha, o.seed, searched)
        started = time.perf_counter()
        report = audit(truth.image, planted.parse, asked, decoder=decoder, model=self.model)
        seconds = time.perf_counter() - started
        place = next((e.place for e in planted.expected if e.place is not None), None)
        entities = tuple(self._entities(report, planted, truth.image))
        judged = [e for e in report.findings.entities if e.score is not None]
        return AuditLine(
            truth.name, plan.key, planted.family, planted.severity, round(planted.size, 3), planted.unit, planted.said,
            round(seconds, 3), entities, len({e.id for e in judged} - set(_wrong(planted))),
            place is not None, searched, tuple(_regions(report, place)), truth.drawn,
        )  # fmt: skip

    def _entities(self, report: AuditReport, planted: Planted, image: Volume) -> Iterator[SaidEntity]:
        """Those with a fault and those that are flagged; where nothing is wrong all that were checked."""
        wrong = _wrong(planted)
        for finding in report.findings.entities:
            said = self._said(finding, planted.parse, image, wrong.get(finding.id, ""))
            checked = finding.score is not None and not planted.expected
            if said.expected or said.flagged or checked:
                yield said

    def _said(self, finding: EntityFinding, parse: Parse, image: Volume, expected: str) -> SaidEntity:
        scores = _scores(finding)
        if finding.id in parse.masks:
            scores["ks"] = self.beta.score(finding.name, parse.masks[finding.id].values(image.array))
        return SaidEntity(
            finding.id,
            finding.name,
            finding.kind == Kind.finding.value,
            "none" if finding.verdict is None else finding.verdict.value,
            expected,
            finding.suspicion_rank or 0,
            _finite(scores),
        )


def _wrong(planted: Planted) -> dict[str, str]:
    """Entity -> the verdict that it must get; what was left out has a place instead."""
    return {e.entity: e.verdict for e in planted.expected if e.entity is not None and e.place is None}


def _scores(finding: EntityFinding) -> dict[str, float]:
    """By what was asked: presence, extent, declared attributes and relations; and what the baselines read."""
    said = finding.model_dump(mode="json")
    nan = float("nan")
    off = [a["z"] for a in said["attributes"] or () if a.get("z") is not None]
    holds = [r["score"] for r in said["relations"] or () if r.get("score") is not None]
    return {
        "presence": nan if finding.score is None else finding.score,
        "extent": (said.get("extent") or {}).get("score", nan),
        "attribute": -max(off, default=nan),
        "relation": min(holds, default=nan),
        "l1": -finding.evidence.get("misfit", nan),
        "histogram": finding.evidence.get("prior_core", nan),
    }


def _regions(report: AuditReport, place: Mask | None) -> Iterator[SaidRegion]:
    for finding in judged_regions(report):
        mask, score = report.regions[finding.id].mask, finding.score
        hit = place is not None and found_at(mask, place)
        nan = float("nan")
        scores = {"presence": nan if score is None else score, "l1": finding.evidence.get("residual_mean", nan)}
        yield SaidRegion(finding.verdict is not None, hit, _finite(scores))


def found_at(region: Mask, place: Mask) -> bool:
    """Whether a region is what was left out at a place: enough overlap, or most of the region on it."""
    return region.dice(place) >= FOUND_DICE or region.overlap(place) >= FOUND_SHARE * max(region.voxels, 1)


def judged_regions(report: AuditReport) -> Iterator[MissingFinding]:
    """The regions, the strongest first; what stands out in a site that is not judged is listed and says nothing."""
    for finding in (*(report.findings.missing or ()), *(report.findings.unexplained or ())):
        host = None if finding.located_in is None else report.parse.entity(finding.located_in).name
        if finding.verdict is not None or site_of(host) not in NOT_JUDGED:
            yield finding


def _finite(scores: Mapping[str, float]) -> dict[str, Any]:
    return {name: round(float(value), 5) for name, value in scores.items() if np.isfinite(value)}
