"""Fitting a judge: entities that are there, entities that are not, and complete parses, from cases known to be right.

True entities are the case's own masks, untouched and jittered; false ones are the same masks moved to where the organ
is not, their true place left undeclared, and lesions put where there are none. Lesions taken out of a parse are what
a search for missing ones must find. Scores for calibration are cross-fitted: no score comes from a fusion that has
seen its patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synth.contracts import Decoder, EncodedImage
from synth.errors import InputError
from synth.fault import jitter, move_onto, random_move
from synth.parse import Entity, Kind, Parse, Relation
from synth.residual.conformal import Calibration, CalibrationScore
from synth.residual.drift import FACT, Reference, reference
from synth.residual.fusion import Fusion
from synth.residual.hosts import findings_of, held, holding
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import Judge, Weighing
from synth.residual.presence import examine
from synth.residual.searching import CandidateSample, Key, Searched, fit_search, folds_of
from synth.residual.verdict import MIN_VOXELS, cannot_check
from synth.residual.within_host import without_host
from synth.volume import Mask
from synth.volume.tissue import body_mask

UNTOUCHED = "untouched"
MOVES_MM = ((8.0, 16.0), (16.0, 32.0), (32.0, 64.0))


@dataclass(frozen=True, eq=False)
class CalibrationCase:
    """An image on the decoder's grid with its correct parse, derived attributes left out."""

    name: str
    encoded: EncodedImage
    parse: Parse
    body: Mask

    @classmethod
    def of(cls, name: str, encoded: EncodedImage, parse: Parse) -> CalibrationCase:
        """Put the parse on the grid of the encoded image."""
        on_grid = parse.without_derived().resampled(encoded.image.geometry)
        return cls(name, encoded, on_grid, body_mask(encoded.image))


@dataclass(frozen=True, eq=False)
class Sample:
    """The evidence about one claim, and whether the claim is true."""

    case: str
    name: str
    volume_ml: float
    truth: bool
    origin: str
    features: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """How much to draw from each case.

    Attributes:
        entities: at most so many of a case, drawn at random, beside all its findings; jitters, moves: of each.
        hallucinations: lesions put into a case where there are none; deletions: lesions taken out, one at a time.
    """

    entities: int = 40
    jitters: int = 2
    moves: int = 3
    hallucinations: int = 2
    deletions: int = 2


@dataclass(eq=False)
class Collected:
    """What was drawn so far.

    `findings` are claims of findings, weighed by themselves; `candidates` is by (case, deletion), the undamaged parse
    under deletion -1; `outlines` are those of accepted cases (`synth.residual.site_extent`).
    """

    samples: list[Sample] = field(default_factory=list)
    findings: list[Sample] = field(default_factory=list)
    candidates: dict[Key, list[CandidateSample]] = field(default_factory=dict)
    outlines: list[Sample] = field(default_factory=list)


def collect(
    cases: Iterable[CalibrationCase],
    decoder: Decoder,
    prior: IntensityPrior,
    *,
    seed: int = 0,
    plan: Plan | None = None,
    search: bool = True,
) -> Collected:
    """Examine true and false claims of every case; with `search`, also look for missing lesions."""
    plan = plan or Plan()
    out = Collected()
    for number, case in enumerate(cases):
        rng = np.random.default_rng([seed, number])
        generator = torch.Generator().manual_seed(seed * 100_003 + number)
        asked = _Asked(decoder, prior, case, generator)
        for claim in _claims(case, decoder, rng, plan):
            out.samples.append(asked.sample(claim))
        if search:
            searched = Searched(case.name, decoder, case.encoded, case.body, prior, generator)
            out.candidates.update(searched.groups(case.parse, rng, plan.deletions))
    return out


def collect_findings(
    case: CalibrationCase, decoder: Decoder, prior: IntensityPrior, *, seed: int, plan: Plan
) -> list[Sample]:
    """Examine true and false claims about findings: as drawn, jittered, moved, and where there are none.

    Only those that an organ of the parse holds are given back.
    """
    asked = _Asked(decoder, prior, case, torch.Generator().manual_seed(seed))
    rng = np.random.default_rng([seed, 0])
    claims = (*_claims(case, decoder, rng, replace(plan, entities=0, hallucinations=0)), *_twins(case, rng, plan))
    samples = [asked.sample(claim) for claim in claims]
    return [s for s in samples if held(s.features, s.name)]


def weigh(samples: Sequence[Sample]) -> Weighing | None:
    """A fusion of these claims and the cross-fitted scores of the true ones; None where one of the two is missing."""
    if {s.truth for s in samples} != {True, False}:
        return None
    return Weighing(_fit(samples), Calibration(tuple(score for _, score in _true_scores(samples))))


def claims_of(samples: Sequence[Sample]) -> dict[str, Any]:
    """How many claims, of how many cases."""
    true = sum(s.truth for s in samples)
    return {"true claims": true, "false claims": len(samples) - true, "cases": len({s.case for s in samples})}


def fit_judge(collected: Collected, decoder: Decoder, facts: Mapping[str, object] | None = None) -> Judge:
    """Fuse and calibrate.

    Raises:
        InputError: true or false claims are missing.
    """
    samples, findings = collected.samples, weigh(collected.findings)
    if findings is not None:  # organs have none of these features, and findings are weighed elsewhere
        samples = [replace(s, features=without_host(s.features)) for s in samples]
    presence = _fit(samples)
    scored = _true_scores(samples)
    calibration = Calibration(tuple(score for _, score in scored))
    missing, most = fit_search(collected.candidates)
    said = {**claims_of(samples), FACT: _usual(scored).to_json()}
    if findings is not None:
        said["findings"] = claims_of(collected.findings)
    known = {**said, **dict(facts or {})}
    return Judge(decoder.weights_sha256, presence, calibration, missing, most, known, findings)


def usual_cases(samples: Sequence[Sample]) -> Reference:
    """What is usual among the cases: scores of their untouched entities, none from a fusion that has seen its case."""
    return _usual(_true_scores(samples))


def _true_scores(samples: Sequence[Sample]) -> list[tuple[Sample, CalibrationScore]]:
    """The true claims with their cross-fitted scores."""
    scored = zip(samples, _cross_fitted(samples), strict=True)
    return [(s, CalibrationScore(s.name, s.volume_ml, score)) for s, score in scored if s.truth]


def _usual(scored: Sequence[tuple[Sample, CalibrationScore]]) -> Reference:
    untouched: dict[str, list[CalibrationScore]] = {}
    true: dict[str, list[CalibrationScore]] = {}
    for sample, score in scored:
        true.setdefault(sample.case, []).append(score)
        if sample.origin == UNTOUCHED:
            untouched.setdefault(sample.case, []).append(score)
    return reference(untouched, true)


@dataclass(frozen=True, eq=False)
class _Claim:
    """A parse with one entity in question."""

    parse: Parse
    entity: str
    truth: bool
    origin: str


@dataclass(frozen=True, eq=False)
class _Asked:
    decoder: Decoder
    prior: IntensityPrior
    case: CalibrationCase
    generator: torch.Generator

    def sample(self, claim: _Claim) -> Sample:
        examined = examine(
            self.decoder, self.case.encoded, claim.parse, claim.entity, self.prior, generator=self.generator
        )
        volume = claim.parse.masks[claim.entity].voxels * claim.parse.geometry.voxel_ml
        name = claim.parse.entity(claim.entity).name
        return Sample(self.case.name, name, volume, claim.truth, claim.origin, examined.evidence.features)


def _claims(case: CalibrationCase, decoder: Decoder, rng: np.random.Generator, plan: Plan) -> Iterable[_Claim]:
    parse, grid = case.parse, case.parse.geometry
    known = decoder.vocabulary
    ids = [i for i in parse.present_ids if cannot_check(parse.entity(i), parse, parse, known) is None]
    findings = [i for i in ids if parse.entity(i).kind is Kind.finding]
    others = [str(i) for i in rng.permutation(ids) if str(i) not in findings]
    for entity in (*findings, *others[: plan.entities]):
        own = parse.masks[entity]
        yield _Claim(parse, entity, True, "untouched")
        for _ in range(plan.jitters):
            yield _Claim(parse.with_mask(entity, jitter(own, grid, rng)), entity, True, "jittered")
        distances = rng.permutation(len(MOVES_MM))
        for k in range(plan.moves):
            # Moved ones are jittered as often as true ones: a rough surface must not tell them apart.
            drawn = jitter(own, grid, rng) if rng.random() < plan.jitters / (plan.jitters + 1) else own
            found = random_move(drawn, grid, case.body, MOVES_MM[distances[k % len(MOVES_MM)]], rng)
            if found is not None and found.mask.voxels >= 0.8 * drawn.voxels:
                yield _Claim(parse.with_mask(entity, found.mask), entity, False, "moved")
    for _ in range(plan.hallucinations):
        claim = _hallucination(case, known, rng)
        if claim is not None:
            yield claim


def _hallucination(case: CalibrationCase, known: frozenset[str], rng: np.random.Generator) -> _Claim | None:
    """A lesion of 8 to 20 mm radius claimed inside an organ that can have one, away from its true ones."""
    parse = case.parse
    organs = [
        i
        for i in parse.present_ids
        if parse.entity(i).kind is Kind.organ and set(findings_of(parse.entity(i).name)) & known
    ]
    if not organs:
        return None
    organ = str(rng.choice(organs))
    names = sorted(set(findings_of(parse.entity(organ).name)) & known)
    radii = rng.uniform(8.0, 20.0) * rng.uniform(0.8, 1.25, size=3)
    placed = _placed(parse, organ, radii, rng)
    return None if placed is None else _invented(parse, organ, str(rng.choice(names)), placed)


def _twins(case: CalibrationCase, rng: np.random.Generator, plan: Plan) -> Iterable[_Claim]:
    """Claims of more findings like those that are there: of the name, the organ and the size of one of them, jittered
    as often as true ones, so that only the image can tell them apart."""
    parse = case.parse
    held = {i: holding(parse.masks[i], parse) for i in parse.present_ids if parse.entity(i).kind is Kind.finding}
    within = [(i, organ) for i, organ in held.items() if organ is not None and parse.masks[i].voxels >= MIN_VOXELS]
    for _ in range(plan.hallucinations if within else 0):
        finding, organ = within[int(rng.integers(len(within)))]
        radius = (0.75 / np.pi * parse.masks[finding].voxels * parse.geometry.voxel_ml * 1000.0) ** (1 / 3)
        stretch = rng.uniform(0.8, 1.25, size=3)
        radii = radius * stretch / np.prod(stretch) ** (1 / 3)
        placed = _placed(parse, organ, radii, rng)
        if placed is None:
            continue
        rough = rng.random() < plan.jitters / (plan.jitters + 1)
        mask = jitter(placed, parse.geometry, rng) if rough else placed
        yield _invented(parse, organ, parse.entity(finding).name, mask)


def _placed(parse: Parse, organ: str, radii_mm: NDArray[np.float64], rng: np.random.Generator) -> Mask | None:
    """An ellipsoid within an organ, away from its true lesions; None where there is no room."""
    lesions = [parse.masks[i] for i in parse.present_ids if parse.entity(i).kind is Kind.finding]
    blob = _blob(parse.masks[organ].shape, radii_mm / parse.geometry.spacing_mm[0])
    try:
        start = jittered_start(blob, parse, rng)
        return move_onto(start, parse.geometry, parse.masks[organ], away_from=lesions).mask
    except InputError:
        return None


def _invented(parse: Parse, organ: str, name: str, mask: Mask) -> _Claim:
    added = Entity(id="hallucinated_lesion", name=name)
    relation = Relation(type="located_in", subject=added.id, object=organ)
    return _Claim(parse.with_entity(added, mask, relations=[relation]), added.id, False, "hallucinated")


def jittered_start(blob: Mask, parse: Parse, rng: np.random.Generator) -> Mask:
    """The blob at a random place of the grid: `move_onto` prefers the nearest place, so this decides where it lands."""
    room = [n - b for n, b in zip(parse.geometry.shape, blob.box.shape, strict=True)]
    x, y, z = (int(rng.integers(0, max(r, 0) + 1)) for r in room)
    return Mask.from_box(blob.shape, (x, y, z), blob.box)


def _blob(shape: tuple[int, int, int], radii: NDArray[np.float64]) -> Mask:
    reach = [min(int(np.ceil(r)), (n - 1) // 2) for r, n in zip(radii, shape, strict=True)]
    x, y, z = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    return Mask.from_box(shape, (0, 0, 0), (x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2 <= 1.0)


def _fit(samples: Sequence[Sample]) -> Fusion:
    return Fusion.fit([s.features for s in samples], [s.truth for s in samples], [s.name for s in samples])


def _cross_fitted(samples: Sequence[Sample]) -> list[float]:
    """Each sample's score under a fusion that has not seen its case; under one of all where there is one case only."""
    folds = folds_of(s.case for s in samples)
    fusions = {}
    for k in set(folds.values()):
        others = [s for s in samples if folds[s.case] != k]
        enough = {s.truth for s in others} == {True, False}
        fusions[k] = _fit(others if enough else samples)
    return [fusions[folds[s.case]].score(s.features, s.name) for s in samples]
