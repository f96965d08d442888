"""What a prior visit drew and the present parse does not speak of: still there, or not seen any more.

An organ is asked about as any claim is, at its place then, and where the image does not support that, at outlines near
it. A finding is first compared with other places of its organ (`synth.residual.places`), the false discovery rate held
at alpha over all that are tried; where that says something is there the decoder is asked, and what the audit would
call hallucinated, were it claimed, is not called missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synth.parse import Entity, Kind, Parse, Relation
from synth.pipeline.audit_search import FoundRegion
from synth.pipeline.tiers import Tier
from synth.residual.absences import outlines
from synth.residual.conformal import benjamini_hochberg, scores_needed
from synth.residual.elsewhere import best_elsewhere
from synth.residual.findings import Candidate as CandidateName
from synth.residual.findings import MissingFinding, PriorOutcome, PriorTried, Verdict, recorded
from synth.residual.judge import NO_DECODER, AuditModel
from synth.residual.places import MOST_PLACES, PLACES, Ranked, drawn_within, other_places, ranked
from synth.residual.presence import Examined, unaided
from synth.residual.prior_visit import Remembered
from synth.residual.verdict import cannot_tell
from synth.volume import Mask, Volume, resample_mask

PREFIX = "missing_prior_"
OPEN_P = 0.1  # a finding with a smaller p-value is not said to have gone, whatever alpha and however many are tried
SURE = 0.0  # nats above which the image speaks for the entity
NEAR_SHARED = 0.3  # of the smaller of two outlines: with less in common they are two places


@dataclass(frozen=True, eq=False)
class SearchedPrior:
    """What became of each entity, a region for each that is missing, and the parse with these added."""

    tried: tuple[PriorTried, ...]
    regions: tuple[FoundRegion, ...]
    parse: Parse


@dataclass(frozen=True, eq=False)
class _Answer:
    """What was found of one entity; `examined` and `mask` where it is missing."""

    outcome: PriorOutcome
    reason: str
    score: float | None = None
    p_value: float | None = None
    examined: Examined | None = None
    mask: Mask | None = None


def search_prior_visit(
    tier: Tier,
    parse: Parse,
    left_out: Sequence[Remembered],
    model: AuditModel,
    *,
    image: Volume,
    alpha: float,
    seed: int,
) -> SearchedPrior:
    """Try each entity that was left out; the parse is on the decoder's grid, `image` on its own."""
    asked = _Asker(tier, parse, model, alpha, seed)
    different = _unlike_other_places(asked, left_out)
    tried, regions = [], []
    explained = parse
    for remembered in left_out:
        answer = asked(remembered, *different.get(remembered.entity.id, (None, False)))
        told = _tried(remembered, answer)
        tried.append(told)
        if answer.examined is not None and answer.mask is not None:
            found = replace(remembered, mask=answer.mask)
            regions.append(_region(parse, found, answer, told, tier.encoded.image, image))
            explained = _claimed(explained, found)[0]
    return SearchedPrior(tuple(tried), tuple(regions), explained)


def _unlike_other_places(asked: _Asker, left_out: Sequence[Remembered]) -> dict[str, tuple[Ranked | None, bool]]:
    """Id -> how the place of a finding ranks, and whether it is unlike the others beyond chance."""
    findings = [r for r in left_out if r.unchecked is None and r.host is not None]
    found = {r.entity.id: asked.rank(r, len(findings)) for r in findings}
    known = {id: rank for id, rank in found.items() if rank is not None}
    beyond = benjamini_hochberg([rank.p_value for rank in known.values()], asked.alpha)
    return dict.fromkeys(found, (None, False)) | {
        id: (rank, bool(b)) for (id, rank), b in zip(known.items(), beyond, strict=True)
    }


@dataclass(frozen=True, eq=False)
class _Asker:
    """Asks about one entity after the other."""

    tier: Tier
    parse: Parse
    model: AuditModel
    alpha: float
    seed: int

    def __call__(self, remembered: Remembered, rank: Ranked | None, beyond: bool) -> _Answer:
        if remembered.unchecked is not None:
            return _Answer(PriorOutcome.not_checkable, remembered.unchecked)
        if remembered.entity.kind is not Kind.finding:
            return self._organ(remembered)
        if rank is None:
            why = "no organ of the parse holds it" if remembered.host is None else "its organ has too little room"
            return _Answer(PriorOutcome.not_checkable, f"{why}: there is nothing to compare its place with")
        return self._finding(remembered, rank, beyond)

    def rank(self, remembered: Remembered, findings: int) -> Ranked | None:
        """The place of a finding among others of its organ, by what the population alone says of them."""
        host = self.parse.masks[str(remembered.host)]
        rng = np.random.default_rng([self.seed, zlib.crc32(remembered.entity.id.encode())])
        places = other_places(remembered.mask, host, drawn_within(self.parse, remembered.mask), rng)
        most = min(max(PLACES, scores_needed(findings, self.alpha)), MOST_PLACES)
        return ranked(
            lambda mask: self._seen(replace(remembered, mask=mask)),
            remembered.mask,
            places,
            alpha=self.alpha,
            most=most,
        )

    def _seen(self, remembered: Remembered) -> float:
        claimed, id = _claimed(self.parse, remembered)
        if NO_DECODER not in self.model.judges:
            return self.tier.ask(claimed, id, self.model.prior, seed=self.seed)[0]
        return unaided(self.tier.encoded.image, claimed, id, self.model.prior, self.model.judge(NO_DECODER))

    def _finding(self, remembered: Remembered, rank: Ranked, beyond: bool) -> _Answer:
        p, where = rank.p_value, f"other places of the {str(remembered.host).replace('_', ' ')}"
        if not beyond and p <= max(self.alpha, OPEN_P):
            reason = f"the image does not decide: {100 * p:.1f}% of {where} look as much like one"
            return _Answer(PriorOutcome.not_checkable, reason, p_value=p)
        if not beyond:
            reason = f"not seen any more: {100 * p:.0f}% of {where} look as much like one"
            return _Answer(PriorOutcome.not_seen, reason, p_value=p)
        score, usual, found = self._ask(remembered)
        open_ = cannot_tell(found.evidence)
        if open_ is not None:
            return _Answer(PriorOutcome.not_checkable, open_, score, p)
        if score < SURE and usual <= self.alpha:
            # Were it claimed, the audit would call it hallucinated.
            reason = f"not seen any more: something is there, but not like a {_words(remembered)} ({score:+.1f} nats)"
            return _Answer(PriorOutcome.not_seen, reason, score, p)
        reason = f"drawn there at the prior visit; {100 * p:.1f}% of {where} look as much like one ({score:+.1f} nats)"
        return _Answer(PriorOutcome.missing, reason, score, p, found, remembered.mask)

    def _organ(self, remembered: Remembered) -> _Answer:
        """The best of its place then and of outlines near it; the first that the image supports ends the asking."""
        best: tuple[float, Examined, Mask] | None = None
        for mask in self._outlines(remembered):
            score, usual, found = self._ask(replace(remembered, mask=mask))
            open_ = cannot_tell(found.evidence)
            if open_ is not None:
                return _Answer(PriorOutcome.not_checkable, open_, score)
            if score > SURE and usual > self.alpha:
                reason = f"drawn at the prior visit; the image is explained better with it ({score:+.1f} nats)"
                return _Answer(PriorOutcome.missing, reason, score, None, found, mask)
            best = max(best or (score, found, mask), (score, found, mask), key=lambda each: each[0])
        assert best is not None
        if best[0] > SURE:
            reason = f"somewhat like a {_words(remembered)}, but few true ones score this low ({best[0]:+.1f} nats)"
            return _Answer(PriorOutcome.not_checkable, reason, best[0])
        reason = f"not seen any more: what is there does not look like a {_words(remembered)} ({best[0]:+.1f} nats)"
        return _Answer(PriorOutcome.not_seen, reason, best[0])

    def _outlines(self, remembered: Remembered) -> Iterator[Mask]:
        image, name, prior = self.tier.encoded.image, remembered.entity.name, self.model.prior
        yield remembered.mask
        if NO_DECODER in self.model.judges:
            claimed, id = _claimed(self.parse, remembered)
            near = best_elsewhere(image, claimed, id, prior, self.model.judge(NO_DECODER))
            if near is not None and near.shared >= NEAR_SHARED:
                yield near.mask
        yield from outlines(image, self.parse, remembered.mask, name, prior)

    def _ask(self, remembered: Remembered) -> tuple[float, float, Examined]:
        """The score, the share of true ones that score as low (1 without calibration), and the evidence."""
        claimed, id = _claimed(self.parse, remembered)
        score, found = self.tier.ask(claimed, id, self.model.prior, seed=self.seed)
        volume = remembered.mask.volume_ml(self.parse.geometry)
        scored = self.tier.judge.scored(found.evidence.features, found.evidence.name, volume)
        conformal = scored.conformal(scores_needed(1, self.alpha))
        return score, 1.0 if conformal is None else conformal.p_value, found


def _claimed(parse: Parse, remembered: Remembered) -> tuple[Parse, str]:
    """The parse in which the entity is there, and its id in it."""
    own = remembered.entity
    parse = parse if remembered.denies is None or remembered.denies not in parse else parse.without(remembered.denies)
    taken = {id.casefold() for id in parse.ids}
    id = next(i for i in (own.id, *(f"prior_{k}" for k in range(len(taken) + 1))) if i.casefold() not in taken)
    held = [] if remembered.host is None else [Relation(type="located_in", subject=id, object=remembered.host)]
    return parse.with_entity(Entity(id=id, name=own.name), remembered.mask, relations=held), id


def _tried(remembered: Remembered, answer: _Answer) -> PriorTried:
    own = remembered.entity
    return PriorTried(
        id=own.id,
        name=own.name,
        kind=own.kind.value,
        outcome=answer.outcome,
        region=PREFIX + own.id if answer.outcome is PriorOutcome.missing else None,
        score=answer.score,
        p_value=answer.p_value,
        reason=answer.reason,
    )


def _region(
    parse: Parse, found: Remembered, answer: _Answer, told: PriorTried, on_grid: Volume, image: Volume
) -> FoundRegion:
    assert answer.examined is not None
    x, y, z = (float(v) for v in found.mask.centroid_mm(parse.geometry))
    finding = MissingFinding(
        id=str(told.region),
        verdict=Verdict.missing,
        name=told.name,
        candidates=[CandidateName(name=told.name, share=1.0)],
        located_in=found.host,
        denies=found.denies,
        prior=told.id,
        score=answer.score,
        p_value=answer.p_value,
        volume_ml=found.mask.volume_ml(parse.geometry),
        focus_mm=(x, y, z),
        mean_hu=round(float(found.mask.values(on_grid.array).mean()), 1),
        reason=answer.reason,
        evidence=recorded(answer.examined.evidence.features),
    )
    return FoundRegion(finding, resample_mask(found.mask, parse.geometry, image.geometry), answer.examined)


def _words(remembered: Remembered) -> str:
    return remembered.entity.term.words
