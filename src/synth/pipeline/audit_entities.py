"""Steps 3 and 4 of the audit: examine every entity that can be checked, then judge them together.

An entity that the parse itself calls uncertain is asked about as if it were claimed, and judged by itself: which way
the image points. It gets no verdict, and no other entity's verdict depends on what is said of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synth.parse import Entity, Parse, Presence
from synth.pipeline.tiers import Tier, decided
from synth.residual.conformal import Conformal, scores_needed
from synth.residual.contrast import declared_like_its_organ, looks_like_its_organ
from synth.residual.evidence import EntityEvidence
from synth.residual.findings import CalibrationCell, Counterfactual, EntityFinding, Leaning, Verdict, recorded
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.leaning import WORDS
from synth.residual.leaning import leaning as leaning_of
from synth.residual.presence import Examined
from synth.residual.verdict import NOT_CLAIMED, Judged, Scored, cannot_check, cannot_tell, family_of
from synth.residual.verdict import judge as judged_together
from synth.volume import Mask

MARGINAL_P = 0.05


@dataclass(frozen=True, eq=False)
class AuditedEntity:
    """The finding about one entity, what it was read from where it was examined, and a better outline where one was
    found, on the image's grid."""

    finding: EntityFinding
    examined: Examined | None = None
    proposed: Mask | None = None


def audit_entities(
    tiers: Sequence[Tier],
    original: Parse,
    parse: Parse,
    prior: IntensityPrior,
    *,
    alpha: float,
    seed: int,
    advance: Callable[..., None],
) -> tuple[AuditedEntity, ...]:
    """Judge the entities of `parse` (on the decoder's grid; `original` is the same parse on its own), in its order."""
    unchecked: dict[str, EntityFinding] = {}
    asked: list[tuple[int, Entity]] = []
    for number, entity in enumerate(original.entities):
        reason = _not_asked(entity, original, parse, prior, tiers[-1])
        if reason is None:
            asked.append((number, entity))
        else:
            unchecked[entity.id] = _without_verdict(entity, original, reason)
    families = Counter(family_of(entity.kind) for _, entity in asked if _claimed(entity))
    answers: dict[str, _Answer] = {}
    leaning: dict[str, AuditedEntity] = {}
    for number, entity in asked:
        claimed = _claimed(entity)
        needed = scores_needed(families[family_of(entity.kind)] if claimed else 1, alpha)
        said = parse if claimed else parse.with_presence(entity.id, Presence.present)
        answer = _ask(tiers, original, said, entity, prior, seed=_seed(seed, number), needed=needed)
        reason = cannot_tell(answer.examined.evidence)
        if reason is None and answer.scored.score <= 0:
            reason = declared_like_its_organ(tiers[-1].encoded.image, entity, parse)
        if reason is not None:
            unchecked[entity.id] = _without_verdict(entity, original, reason)
        elif claimed:
            answers[entity.id] = answer
        else:
            leaning[entity.id] = _leaning(original, parse, answer, answer.scored.conformal(needed), alpha)
        advance(1, message=f"entity {entity.id}")
    verdicts = judged_together([a.scored for a in answers.values()], alpha)
    found_by_id = leaning | {
        id: AuditedEntity(_finding(original, parse, answer, verdict), answer.examined)
        for (id, answer), verdict in zip(answers.items(), verdicts, strict=True)
    }
    return tuple(found_by_id.get(e.id) or AuditedEntity(unchecked[e.id]) for e in original.entities)


@dataclass(frozen=True, eq=False)
class _Answer:
    """What the last tier that was asked about an entity said."""

    tier: int
    examined: Examined
    scored: Scored


def _ask(
    tiers: Sequence[Tier],
    original: Parse,
    parse: Parse,
    entity: Entity,
    prior: IntensityPrior,
    *,
    seed: int,
    needed: int,
) -> _Answer:
    """Ask tier after tier, until one has said enough."""
    volume = _volume_ml(original, entity.id) or 0.0
    said: Examined | None = None
    for tier in tiers:
        _, said = tier.ask(parse, entity.id, prior, seed=seed, first=said)
        scored = tier.judge.scored(said.evidence.features, said.evidence.name, volume)
        conformal = scored.conformal(needed)
        answer = _Answer(tier.number, said, scored)
        if decided(scored, None if conformal is None else conformal.p_value):
            break
    return answer


def _seed(seed: int, number: int) -> int:
    return seed + 1_000_003 * (number + 1) % 2**31


def _not_asked(entity: Entity, original: Parse, parse: Parse, prior: IntensityPrior, tier: Tier) -> str | None:
    uncertain = entity.presence is Presence.uncertain and entity.id in original.masks
    if not _claimed(entity) and not uncertain:
        return NOT_CLAIMED[entity.presence]
    known = tier.decoder.vocabulary
    reason = cannot_check(entity, original, parse, known)
    return looks_like_its_organ(entity, parse, prior, known) if reason is None else reason


def _claimed(entity: Entity) -> bool:
    return entity.presence is Presence.present


def _without_verdict(entity: Entity, original: Parse, reason: str) -> EntityFinding:
    """What is said of an entity that was not, or could not be, judged."""
    open_ = entity.presence is Presence.uncertain and entity.id in original.masks
    if open_:
        reason = f"declared uncertain, and {WORDS[Leaning.does_not_decide]}: {reason}"
    return EntityFinding(
        id=entity.id,
        name=entity.name,
        kind=entity.kind.value,
        presence=entity.presence.value,
        verdict=Verdict.not_checkable if _claimed(entity) else None,
        leaning=Leaning.does_not_decide if open_ else None,
        reason=reason,
        volume_ml=_volume_ml(original, entity.id),
        parser_confidence=entity.confidence,
    )


def _volume_ml(parse: Parse, id: str) -> float | None:
    return parse.masks[id].voxels * parse.geometry.voxel_ml if id in parse.masks else None


def _leaning(
    original: Parse, parse: Parse, answer: _Answer, conformal: Conformal | None, alpha: float
) -> AuditedEntity:
    """Which way the image points about an uncertain entity, judged by itself."""
    score, p = answer.scored.score, None if conformal is None else conformal.p_value
    judged = Judged(None, conformal, None, scores_needed(1, alpha))
    way = leaning_of(score, p, alpha)
    usual = "" if p is None else f"; {_share(p)} of true ones score this low"
    told = {"leaning": way, "reason": f"declared uncertain; {WORDS[way]} ({score:+.1f} nats{usual})"}
    found = _finding(original, parse, answer, judged).model_copy(update=told)
    return AuditedEntity(found, answer.examined)


def _finding(original: Parse, parse: Parse, answer: _Answer, judged: Judged) -> EntityFinding:
    scored, evidence = answer.scored, answer.examined.evidence
    entity = original.entity(evidence.entity_id)
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
        reason=_reason(evidence, scored, judged),
        evidence=recorded(evidence.features),
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
        tier=answer.tier,
        parser_confidence=entity.confidence,
    )


def _reason(evidence: EntityEvidence, scored: Scored, judged: Judged) -> str:
    """One sentence with the numbers that decided."""
    name = evidence.name.replace("_", " ")
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
