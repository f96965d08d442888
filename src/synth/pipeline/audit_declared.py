"""What the declared attributes and relations add to the verdicts on the entities that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synth.parse import Parse, Presence
from synth.pipeline.audit_entities import AuditedEntity
from synth.population import Population
from synth.population.place import centre_of
from synth.residual.attributes import CheckedAttribute, check_attributes
from synth.residual.findings import EntityFinding, Point, Verdict
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.labels import Misnamed, misnamed
from synth.residual.relations import CheckedRelation, check_relations
from synth.residual.sides import SwappedSides, swapped_sides
from synth.volume import Volume

OPEN = (Verdict.supported, Verdict.not_checkable)  # verdicts that a wrong declaration takes the place of


def audit_declared(
    image: Volume,
    parse: Parse,
    audited: Sequence[AuditedEntity],
    prior: IntensityPrior,
    population: Population,
    *,
    seed: int,
) -> tuple[AuditedEntity, ...]:
    """The findings with everything declared of their entities checked, on the parse's own grid.

    A pair with its sides swapped is `wrong_label`, whatever the image says of either name in its place, and so is an
    organ that lies where another one would lie. Any other
    entity of which something wrong is declared gets that verdict, the attribute's before the relation's, unless it is
    itself not there: then all else is wrong because of that. So is a relation to what is not there.
    """
    absent = {a.finding.id for a in audited if a.finding.verdict is Verdict.hallucinated}
    declared = _Declared.of(image, parse, prior, population, seed)
    return tuple(replace(a, finding=_judged(a.finding, declared, absent)) for a in audited)


@dataclass(frozen=True, eq=False)
class _Declared:
    """What was checked, by the id of the entity."""

    attributes: Mapping[str, Sequence[CheckedAttribute]]
    relations: Mapping[str, Sequence[CheckedRelation]]
    labels: Mapping[str, SwappedSides | Misnamed]
    centres: Mapping[str, Point]

    @classmethod
    def of(cls, image: Volume, parse: Parse, prior: IntensityPrior, population: Population, seed: int) -> _Declared:
        drawn = {
            number: entity
            for number, entity in enumerate(parse.entities)
            if entity.presence is Presence.present and entity.id in parse.masks and not parse.masks[entity.id].is_empty
        }
        attributes = {
            entity.id: check_attributes(image, parse, entity, prior, population, np.random.default_rng([seed, number]))
            for number, entity in drawn.items()
        }
        centres = {e.id: centre_of(parse, e.id) for e in drawn.values()}
        relations: dict[str, list[CheckedRelation]] = {}
        for each in check_relations(parse):
            relations.setdefault(each.relation.subject, []).append(each)
        labels: dict[str, SwappedSides | Misnamed] = {m.entity.id: m for m in misnamed(parse, population)}
        labels |= {each.entity.id: each for each in swapped_sides(parse)}
        return cls({i: some for i, some in attributes.items() if some}, relations, labels, centres)


def _judged(finding: EntityFinding, declared: _Declared, absent: set[str]) -> EntityFinding:
    attributes, relations = declared.attributes.get(finding.id, ()), declared.relations.get(finding.id, ())
    told: dict[str, Any] = {}
    if attributes:
        told["attributes"] = [c.to_json() for c in attributes]
    if relations:
        told["relations"] = [c.to_json() for c in relations]
    if finding.verdict in OPEN:
        told |= _wrong_relation(relations, absent) | _wrong_attribute(attributes)
    label = declared.labels.get(finding.id)
    if label is not None:
        told |= {"verdict": Verdict.wrong_label, "reason": label.reason, "proposed_name": label.proposed}
    if "verdict" in told and finding.focus_mm is None:
        told["focus_mm"] = declared.centres[finding.id]
    return finding.model_copy(update=told) if told else finding


def _wrong_attribute(checked: Sequence[CheckedAttribute]) -> dict[str, Any]:
    wrong = [c for c in checked if c.wrong]
    if not wrong:
        return {}
    worst = max(wrong, key=lambda c: c.z or 0.0)
    reason = f"its {worst.attribute.type.replace('_', ' ')}: {worst.reason}{_more(wrong)}"
    return {"verdict": Verdict.wrong_attribute, "reason": reason}


def _wrong_relation(checked: Sequence[CheckedRelation], absent: set[str]) -> dict[str, Any]:
    wrong = [c for c in checked if c.wrong and c.relation.object not in absent]
    if not wrong:
        return {}
    worst = min(wrong, key=lambda c: 0.0 if c.measured is None else c.measured.score)
    said = f"{worst.relation.type.replace('_', ' ')} {worst.relation.object}"
    return {
        "verdict": Verdict.wrong_relation,
        "reason": f"declared {said}, but by the masks {worst.reason}{_more(wrong)}",
    }


def _more(wrong: Sequence[object]) -> str:
    return "" if len(wrong) == 1 else f" (and {len(wrong) - 1} more)"
