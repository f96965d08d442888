"""What an audit found, in the form of `findings.json`; a field that nothing has filled yet is null."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

FORM = "synth-findings-1"

Point = tuple[float, float, float]


class Verdict(StrEnum):
    """What the audit says about an entity, or about a place that the parse does not explain."""

    supported = "supported"
    hallucinated = "hallucinated"
    wrong_label = "wrong_label"
    wrong_extent = "wrong_extent"
    wrong_attribute = "wrong_attribute"
    wrong_relation = "wrong_relation"
    missing = "missing"
    not_checkable = "not_checkable"


FINE = (None, Verdict.supported, Verdict.not_checkable)
"""Verdicts that say nothing is wrong."""


class Leaning(StrEnum):
    """Which way the image points about an entity that the parse calls uncertain."""

    speaks_for = "speaks_for"
    speaks_against = "speaks_against"
    does_not_decide = "does_not_decide"


class PriorOutcome(StrEnum):
    """What became of an entity of the prior visit that the present parse does not speak of."""

    missing = "missing"
    not_seen = "not_seen"
    not_checkable = "not_checkable"


class Finding(BaseModel):
    """Base of the records: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Counterfactual(Finding):
    """The other parse that the entity was judged against, and what the decoder says of the two."""

    kind: str = Field(description="presence, extent, label, attribute or relation")
    alternative: str = Field(description="the other parse, in words")
    unit: str | None = Field(None, description="of total: nats, or flow-matching error")
    total: float | None = Field(None, description="sum over the hidden region; positive speaks for the parse")
    effect_hu: float | None = Field(None, description="mean change of the render inside the mask, HU")
    with_entity: str | None = Field(None, description="file with the render of the parse as it is")
    without_entity: str | None = Field(None, description="file with the render of the other parse")


class CalibrationCell(Finding):
    """Where a p-value comes from."""

    cell: str
    scores: int
    needed: int = Field(description="scores that a cell must have before one of this many entities can be flagged")


class ReachFinding(Finding):
    """One side on which an outline ends in the wrong place."""

    side: str = Field(description="right, anterior, superior, left, posterior or inferior")
    mm: float = Field(description="about how far it reaches beyond the image's border; negative where it stops short")


class ExtentFinding(Finding):
    """An outline, checked against where the image ends."""

    score: float = Field(description="log-likelihood ratio in nats; positive speaks for the outline")
    p_value: float | None = Field(None, description="conformal: share of correct outlines that score this low")
    wrong: bool = Field(description="beyond chance among the outlines of this parse")
    cell: str | None = Field(None, description="of calibration scores that the p-value was read from")
    scores: int | None = Field(None, description="how many it has")
    needed: int = Field(description="scores that a cell must have before one of this many outlines can be flagged")
    reaches: list[ReachFinding] = Field(default_factory=list, description="sides that seem wrong, worst first")


class FusedEvidence(Finding):
    """How much the audit and the parser's confidence each say of "the entity is there", nats; it orders, no more."""

    audit_nats: float = Field(description="of the p-value: ln 2 + ln(p) / 2")
    parser_nats: float | None = Field(None, description="weight times the log-odds of the confidence; null without one")
    total_nats: float = Field(description="both together; low is suspicious")
    weight: float = Field(description="of the parser's log-odds")
    audit_rank: int = Field(description="the rank that the audit alone would give")


class EntityFinding(Finding):
    """The verdict on one entity of the parse."""

    id: str
    name: str
    kind: str
    presence: str
    verdict: Verdict | None = Field(None, description="null where the parse claims nothing that could be checked here")
    score: float | None = Field(None, description="log-likelihood ratio in nats; positive speaks for the entity")
    p_value: float | None = Field(None, description="conformal: share of true entities that score this low")
    reason: str = Field(description="one sentence: why this verdict")
    evidence: dict[str, float] = Field(default_factory=dict, description="what was measured, by name")
    counterfactual: Counterfactual | None = None
    leaning: Leaning | None = Field(
        None, description="of an entity declared uncertain and delineated: which way the image points; no verdict"
    )
    suspicion_rank: int | None = Field(
        None, description="1 is the most suspicious of the checked entities; by `fused` where the parse has confidences"
    )
    calibration: CalibrationCell | None = None
    volume_ml: float | None = None
    focus_mm: Point | None = Field(None, description="where the image speaks most against it, RAS+ mm")
    tier: int | None = Field(None, description="tier that decided")
    parser_confidence: float | None = Field(None, description="of the parser, in what it claims of the presence")
    fused: FusedEvidence | None = Field(None, description="null where the parse gives no confidences")
    prior_nats: float | None = Field(
        None, description="what a prior visit adds to the rank, nats: negative where it declares the organ absent"
    )
    proposed_mask: str | None = Field(None, description="file with a better outline, where one was found")
    proposed_name: str | None = None
    extent: ExtentFinding | None = Field(None, description="its outline, checked; null where it was not")
    attributes: list[dict[str, JsonValue]] | None = Field(None, description="declared attributes, checked")
    relations: list[dict[str, JsonValue]] | None = Field(None, description="declared relations, checked")


class Candidate(Finding):
    """A name that would explain a region, with its share of the likelihood."""

    name: str
    share: float


def recorded(features: Mapping[str, float]) -> dict[str, float]:
    """What was measured, as a finding's `evidence` has it: by name, five digits, without what was not measured.

    Example:
        >>> recorded({"b": 0.1234567, "a": 1.0, "c": float("nan")})
        {'a': 1.0, 'b': 0.12346}
    """
    return {key: round(value, 5) for key, value in sorted(features.items()) if value == value}


class MissingFinding(Finding):
    """A region that the parse does not explain."""

    id: str
    verdict: Verdict | None = Field(None, description="missing where it is beyond chance, else null")
    name: str | None = Field(None, description="probable type")
    candidates: list[Candidate] = Field(default_factory=list)
    located_in: str | None = Field(None, description="id of the entity that holds it")
    denies: str | None = Field(None, description="id of the entity that is declared absent and lies here")
    prior: str | None = Field(None, description="id, at the prior visit, of what was drawn here then")
    score: float | None = Field(None, description="log-likelihood ratio in nats; positive speaks for a missing entity")
    p_value: float | None = Field(
        None,
        description="share of complete parses whose most suspicious region scores this high; of a finding of the prior "
        "visit, share of other places of its organ that look as much like one",
    )
    volume_ml: float
    longest_mm: float | None = Field(None, description="longest axis in an axial plane, as RECIST 1.1 measures it")
    focus_mm: Point
    peak: float | None = Field(None, description="largest smoothed standardised residual, where it was looked at")
    mean_hu: float
    mask: str | None = Field(None, description="file with the proposed outline")
    with_entity: str | None = Field(None, description="file with the render of the parse with the proposed entity")
    without_entity: str | None = Field(None, description="file with the render of the parse without it")
    reason: str
    evidence: dict[str, float] = Field(default_factory=dict)
    attributes: list[dict[str, JsonValue]] | None = Field(
        None, description="that it would be declared with, measured in the proposed outline"
    )

    @property
    def where(self) -> str:
        """Its place in words."""
        if self.denies or not self.prior:
            return "declared absent" if self.denies else f"in {self.located_in or 'no declared organ'}"
        return f"in {self.located_in}, as at the prior visit" if self.located_in else "as at the prior visit"


class PriorAlignment(Finding):
    """How the prior visit was brought onto the present image, and how well its organs lie there."""

    method: str = Field(description="images, organs or frame")
    shared: dict[str, float] = Field(description="organ that both visits draw -> Dice after the alignment")
    median_dice: float | None = Field(None, description="of the shared organs; null where there is none")
    shift_mm: float = Field(description="of the middle of the image")
    rotation_deg: float
    used: bool = Field(description="false where the organs agree so little that nothing was asked of the prior visit")


class PriorTried(Finding):
    """An entity of the prior visit that the present parse does not speak of, tried at its place."""

    id: str = Field(description="at the prior visit")
    name: str
    kind: str
    outcome: PriorOutcome
    region: str | None = Field(None, description="id of its record in `missing`, where it is missing")
    score: float | None = Field(None, description="log-likelihood ratio in nats; null where the decoder was not asked")
    p_value: float | None = Field(None, description="as in `missing`")
    reason: str


class PriorVisitFinding(Finding):
    """The prior visit: what it is, how it was aligned, and what it said of the present one."""

    image_sha256: str | None = Field(None, description="of the image that its parse was made from")
    day: float | None = Field(None, description="days after the patient's first visit")
    days_before: float | None = Field(None, description="between the two visits, where both state their day")
    alignment: PriorAlignment
    tried: list[PriorTried] = Field(default_factory=list, description="in the order of the prior parse")
    beds: list[str] = Field(
        default_factory=list, description="ids declared absent now, looked for where they were drawn then"
    )
    denied: list[str] = Field(default_factory=list, description="ids of organs claimed now that were declared absent")

    @property
    def missing(self) -> tuple[PriorTried, ...]:
        """What is still there and left out."""
        return tuple(t for t in self.tried if t.outcome is PriorOutcome.missing)


class Message(Finding):
    """Something the preflight has to say."""

    severity: str
    code: str
    message: str


class Findings(Finding):
    """All of `findings.json`."""

    form: str = FORM
    alpha: float
    seed: int
    tiers: list[int]
    entities: list[EntityFinding]
    missing: list[MissingFinding] | None = Field(None, description="beyond chance; null when the search was not run")
    unexplained: list[MissingFinding] | None = Field(None, description="regions that chance may explain, ranked")
    prior_visit: PriorVisitFinding | None = Field(None, description="null where no prior visit was given")
    preflight: list[Message] = Field(default_factory=list)
    calibration: dict[str, JsonValue]
    limits: list[str]
    provenance: dict[str, JsonValue]

    @property
    def flagged(self) -> tuple[EntityFinding, ...]:
        """Entities with a verdict that says something is wrong, most suspicious first."""
        return tuple(sorted((e for e in self.entities if e.verdict not in FINE), key=_rank))

    @property
    def checked(self) -> tuple[EntityFinding, ...]:
        """Entities whose presence was claimed and judged, the most suspicious first."""
        return tuple(e for e in self.ranked if e.suspicion_rank is not None)

    @property
    def uncertain(self) -> tuple[EntityFinding, ...]:
        """Entities that the parse calls uncertain and the image was asked about, in the order of the parse."""
        return tuple(e for e in self.entities if e.leaning is not None)

    @property
    def ranked(self) -> tuple[EntityFinding, ...]:
        """Every entity, the most suspicious first, those that were not checked last."""
        return tuple(sorted(self.entities, key=_rank))

    @property
    def count(self) -> int:
        """How many things are wrong."""
        return len(self.flagged) + len(self.missing or ())


def json_schema() -> dict[str, Any]:
    """JSON Schema of `findings.json`, as published in docs/schema/findings.schema.json."""
    schema = Findings.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "synth audit findings", **schema}


def _rank(finding: EntityFinding) -> tuple[bool, float]:
    return (finding.suspicion_rank is None, float(finding.suspicion_rank or 0))
