"""Whether the entities that are there end where their masks do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from synth.parse import Parse
from synth.pipeline.audit_entities import AuditedEntity
from synth.population import Population
from synth.residual.extent import CheckedExtent, check_extents
from synth.residual.findings import EntityFinding, ExtentFinding, Verdict
from synth.residual.fragments import fragments
from synth.residual.judge import AuditModel
from synth.residual.swallowed import swallowed
from synth.volume import Volume


def audit_extents(
    image: Volume,
    original: Parse,
    parse: Parse,
    audited: Sequence[AuditedEntity],
    model: AuditModel,
    population: Population,
    *,
    alpha: float,
) -> tuple[AuditedEntity, ...]:
    """The findings with the outline of every supported entity checked, organs and findings each by themselves.

    `image` and `parse` share the grid of the model's prior, `original` is the parse on its own. An organ that is cut in
    two, or that took in a neighbour whose place is known, is told by the masks alone; everything else by the image, and
    only with the population of intensities that the check was fitted with.
    """
    supported = [a.finding.id for a in audited if a.finding.verdict is Verdict.supported]
    judge = model.outlines
    checked = () if judge is None else check_extents(image, parse, supported, model.prior, judge, alpha)
    by_id = {c.entity_id: c for c in checked}
    drawn = {e.name for e in original.entities if e.id in original.masks}
    by_masks = {s.entity.id: s.reason for s in swallowed(parse, population, drawn=drawn)}
    by_masks |= {f.entity.id: f.reason for f in fragments(original)}
    told = {id: reason for id, reason in by_masks.items() if id in supported}
    return tuple(replace(a, finding=_judged(a.finding, by_id.get(a.finding.id), told)) for a in audited)


def _judged(finding: EntityFinding, checked: CheckedExtent | None, by_masks: dict[str, str]) -> EntityFinding:
    told: dict[str, Any] = {}
    if checked is not None:
        told["extent"] = ExtentFinding(**checked.to_json())
        if checked.wrong:
            told |= {"verdict": Verdict.wrong_extent, "reason": checked.reason}
    if finding.id in by_masks:
        told |= {"verdict": Verdict.wrong_extent, "reason": by_masks[finding.id]}
    return finding.model_copy(update=told) if told else finding
