"""What the declared relations add to the verdicts on their subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synth.parse import Parse
from synth.pipeline.audit_entities import AuditedEntity
from synth.residual.findings import EntityFinding, Verdict
from synth.residual.relations import CheckedRelation, check_relations

OPEN = (Verdict.supported, Verdict.not_checkable)  # verdicts that a wrong relation takes the place of


def audit_relations(parse: Parse, audited: Sequence[AuditedEntity]) -> tuple[AuditedEntity, ...]:
    """The findings with every declared relation checked, on the parse's own grid.

    A subject whose relation is wrong gets that verdict, unless it is itself not there, or the other end is not: then
    the relation is wrong because of that.
    """
    checked: dict[str, list[CheckedRelation]] = {}
    for each in check_relations(parse):
        checked.setdefault(each.relation.subject, []).append(each)
    absent = {a.finding.id for a in audited if a.finding.verdict is Verdict.hallucinated}
    return tuple(
        replace(a, finding=_judged(a.finding, checked[a.finding.id], absent)) if a.finding.id in checked else a
        for a in audited
    )


def _judged(finding: EntityFinding, checked: Sequence[CheckedRelation], absent: set[str]) -> EntityFinding:
    told = finding.model_copy(update={"relations": [c.to_json() for c in checked]})
    wrong = [c for c in checked if c.wrong and c.relation.object not in absent]
    if not wrong or finding.verdict not in OPEN:
        return told
    worst = min(wrong, key=lambda c: 0.0 if c.measured is None else c.measured.score)
    said = f"{worst.relation.type.replace('_', ' ')} {worst.relation.object}"
    more = "" if len(wrong) == 1 else f" (and {len(wrong) - 1} more)"
    reason = f"declared {said}, but by the masks {worst.reason}{more}"
    return told.model_copy(update={"verdict": Verdict.wrong_relation, "reason": reason})
