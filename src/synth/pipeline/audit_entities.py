"""Steps 3 and 4 of the audit: examine every entity that can be checked, then judge them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from synth.contracts import Decoder, EncodedImage
from synth.parse import Entity, Parse, Presence
from synth.residual.findings import CalibrationCell, Counterfactual, EntityFinding, Verdict
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import Judge
from synth.residual.presence import Examined, examine
from synth.residual.verdict import NOT_CLAIMED, Judged, Scored, cannot_check, cannot_tell, family_of
from synth.residual.verdict import judge as judged_together

MARGINAL_P = 0.05


@dataclass(frozen=True, eq=False)
class AuditedEntity:
    """The finding about one entity, and what it was read from where it was examined."""

    finding: EntityFinding
    examined: Examined | None = None


def audit_entities(
    decoder: Decoder,
    encoded: EncodedImage,
    original: Parse,
    parse: Parse,
    prior: IntensityPrior,
    judge: Judge,
    *,
    alpha: float,
    seed: int,
    advance: Callable[..., None],
) -> tuple[AuditedEntity, ...]:
    """Judge the entities of `parse` (on the decoder's grid; `original` is the same parse on its own), in its order."""
    unchecked: dict[str, EntityFinding] = {}
    examined: dict[str, Examined] = {}
    for number, entity in enumerate(original.entities):
        reason = _not_asked(entity, original, parse, decoder)
        if reason is not None:
            unchecked[entity.id] = _without_verdict(entity, original, reason)
            continue
        generator = torch.Generator().manual_seed(seed + 1_000_003 * (number + 1) % 2**31)
        found = examine(decoder, encoded, parse, entity.id, prior, generator=generator)
        reason = cannot_tell(found.evidence)
        if reason is not None:
            unchecked[entity.id] = _without_verdict(entity, original, reason, Verdict.not_checkable)
        else:
            examined[entity.id] = found
        advance(1, message=f"entity {entity.id}")
    scored = [_scored(found, judge, original) for found in examined.values()]
    verdicts = judged_together(scored, judge.calibration, alpha)
    found_by_id = {
        id: AuditedEntity(_finding(original, parse, examined[id], each, verdict), examined[id])
        for id, each, verdict in zip(examined, scored, verdicts, strict=True)
    }
    return tuple(found_by_id.get(e.id) or AuditedEntity(unchecked[e.id]) for e in original.entities)


def _not_asked(entity: Entity, original: Parse, parse: Parse, decoder: Decoder) -> str | None:
    if entity.presence is not Presence.present:
        return NOT_CLAIMED[entity.presence]
    return cannot_check(entity, original, parse, decoder.vocabulary)


def _without_verdict(entity: Entity, original: Parse, reason: str, verdict: Verdict | None = None) -> EntityFinding:
    if entity.presence is Presence.present:
        verdict = Verdict.not_checkable
    return EntityFinding(
        id=entity.id,
        name=entity.name,
        kind=entity.kind.value,
        presence=entity.presence.value,
        verdict=verdict,
        reason=reason,
        volume_ml=_volume_ml(original, entity.id),
        parser_confidence=entity.confidence,
    )


def _scored(found: Examined, judge: Judge, original: Parse) -> Scored:
    evidence = found.evidence
    score = judge.presence.score(evidence.features, evidence.name)
    family = family_of(original.entity(evidence.entity_id).kind)
    return Scored(evidence.name, _volume_ml(original, evidence.entity_id) or 0.0, score, family)


def _volume_ml(parse: Parse, id: str) -> float | None:
    return parse.masks[id].voxels * parse.geometry.voxel_ml if id in parse.masks else None


def _finding(original: Parse, parse: Parse, found: Examined, scored: Scored, judged: Judged) -> EntityFinding:
    evidence, entity = found.evidence, original.entity(found.evidence.entity_id)
    conformal = judged.conformal
    x, y, z = (float(v) for v in parse.geometry.world(evidence.worst_voxel))
    cell = None
    if conformal is not None:
        cell = CalibrationCell(cell=conformal.cell, scores=conformal.scores, needed=judged.needed)
    return EntityFinding(
        id=entity.id,
        name=entity.name,
        kind=entity.kind.value,
        presence=entity.presence.value,
        verdict=judged.verdict,
        score=scored.score,
        p_value=None if conformal is None else conformal.p_value,
        reason=_reason(found, scored, judged),
        evidence={key: round(value, 5) for key, value in sorted(evidence.features.items()) if value == value},
        counterfactual=Counterfactual(
            kind="presence",
            alternative=f"the same parse without {entity.id}",
            unit=evidence.unit,
            total=evidence.total,
            effect_hu=evidence.effect_hu,
        ),
        suspicion_rank=judged.rank,
        calibration=cell,
        volume_ml=scored.volume_ml,
        focus_mm=(x, y, z),
        tier=1,
        parser_confidence=entity.confidence,
    )


def _reason(found: Examined, scored: Scored, judged: Judged) -> str:
    """One sentence with the numbers that decided."""
    name = found.evidence.name.replace("_", " ")
    usual = ""
    if judged.conformal is not None:
        usual = f"; {_share(judged.conformal.p_value)} of true ones score this low"
    if judged.verdict is Verdict.hallucinated:
        return f"the image looks more like this place without the {name} ({scored.score:+.1f} nats{usual})"
    weak = judged.conformal is not None and judged.conformal.p_value < MARGINAL_P
    if scored.score < 0 or weak:
        return f"weakly supported ({scored.score:+.1f} nats{usual}), not beyond chance among the entities checked"
    return f"the image is explained better with the {name} than without ({scored.score:+.1f} nats)"


def _share(p: float) -> str:
    return f"{100 * p:.1f}%" if p >= 0.001 else "under 0.1%"
