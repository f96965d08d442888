"""The parser's own confidence beside the audit's evidence: how much each says, and the ranks that follow from both.

A confidence orders what the audit found; verdicts, scores and p-values stay as they are, and whatever is flagged comes
before whatever is not, so that no confidence can hide it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synth.pipeline.audit_entities import AuditedEntity
from synth.residual.confidence import Fused, fused
from synth.residual.findings import FINE, EntityFinding, FusedEvidence


def with_confidence(audited: Sequence[AuditedEntity], weight: float) -> tuple[AuditedEntity, ...]:
    """The findings ranked by both, where the parse gives confidences and there are p-values; as they came, else."""
    both = {a.finding.id: _fused(a.finding, weight) for a in audited if a.finding.suspicion_rank is not None}
    told = {id: each for id, each in both.items() if each is not None}
    if len(told) < len(both) or all(each.parser is None for each in told.values()):
        return tuple(audited)
    ranked = sorted((a.finding for a in audited if a.finding.id in told), key=lambda f: _order(f, told[f.id]))
    ranks = {finding.id: number for number, finding in enumerate(ranked, start=1)}
    return tuple(
        replace(a, finding=_told(a.finding, told[a.finding.id], weight, ranks)) if a.finding.id in told else a
        for a in audited
    )


def _fused(finding: EntityFinding, weight: float) -> Fused | None:
    return None if finding.p_value is None else fused(finding.p_value, finding.parser_confidence, weight)


def _order(finding: EntityFinding, both: Fused) -> tuple[bool, float, int]:
    return finding.verdict in FINE, both.total, finding.suspicion_rank or 0


def _told(finding: EntityFinding, both: Fused, weight: float, ranks: dict[str, int]) -> EntityFinding:
    said = FusedEvidence(
        audit_nats=round(both.audit, 4),
        parser_nats=None if both.parser is None else round(both.parser, 4),
        total_nats=round(both.total, 4),
        weight=weight,
        audit_rank=finding.suspicion_rank or 0,
    )
    return finding.model_copy(update={"fused": said, "suspicion_rank": ranks[finding.id]})
