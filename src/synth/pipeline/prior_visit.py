"""What a prior visit tells the audit: where things were, what to look for, what not to expect.

It informs; it does not judge. No p-value and no verdict on an entity of the present parse depends on it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from synth.parse import Parse
from synth.parse.match import Matching
from synth.pipeline.audit_entities import AuditedEntity
from synth.pipeline.audit_prior_visit import SearchedPrior, search_prior_visit
from synth.pipeline.prior_alignment import PlacedPrior, PriorVisit, place_prior
from synth.pipeline.tiers import Tier
from synth.residual.confidence import audit_nats
from synth.residual.findings import FINE, EntityFinding, Message, PriorVisitFinding
from synth.residual.judge import AuditModel
from synth.residual.prior_visit import NATS_DENIED, Expected, expected
from synth.volume import Volume

NOTHING = Expected(Matching((), (), ()), (), {}, ())


@dataclass(frozen=True, eq=False)
class PriorKnowledge:
    """A prior visit, placed, and what it lets one expect; empty where there is none, or where it does not fit."""

    placed: PlacedPrior | None = None
    expected: Expected = NOTHING
    days_before: float | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """How it was aligned, and whether its day makes sense."""
        if self.placed is None:
            return ()
        told = (self.placed.message(),)
        if self.days_before is None or self.days_before > 0:
            return told
        words = f"the prior visit is no earlier than this one: {-self.days_before:g} days after it"
        return (*told, Message(severity="warning", code="prior_visit_later", message=words))

    def ranked(self, audited: Sequence[AuditedEntity]) -> tuple[AuditedEntity, ...]:
        """The findings, organs that were absent before looked at sooner; what is flagged stays before what is not."""
        denied = set(self.expected.denied)
        checked = [a.finding for a in audited if a.finding.suspicion_rank is not None]
        order = sorted(checked, key=lambda f: _order(f, f.id in denied))
        ranks = {f.id: number for number, f in enumerate(order, start=1)}
        return tuple(replace(a, finding=_told(a.finding, ranks, denied)) for a in audited)

    def search(
        self, tier: Tier, parse: Parse, model: AuditModel, *, image: Volume, alpha: float, seed: int
    ) -> SearchedPrior:
        """Try what the present parse leaves out; the parse is on the decoder's grid."""
        return search_prior_visit(tier, parse, self.expected.left_out, model, image=image, alpha=alpha, seed=seed)

    def record(self, searched: SearchedPrior | None) -> PriorVisitFinding | None:
        """All of it, for the findings; `searched` is None where nothing was searched for."""
        if self.placed is None:
            return None
        about = self.placed.visit.parse.circumstance
        return PriorVisitFinding(
            image_sha256=about.image_sha256,
            day=about.day,
            days_before=self.days_before,
            alignment=self.placed.record(),
            tried=[] if searched is None else list(searched.tried),
            beds=sorted(self.expected.beds),
            denied=list(self.expected.denied),
        )


def know(prior: PriorVisit | Parse | None, image: Volume, parse: Parse, known: Collection[str]) -> PriorKnowledge:
    """Place a prior visit on the grid of `parse` and compare the two.

    Args:
        parse: on the decoder's grid; image: on its own; known: names that the decoder was trained on.

    Raises:
        InputError: another patient, or nothing that tells how the visits lie.
    """
    if prior is None:
        return PriorKnowledge()
    placed = place_prior(prior if isinstance(prior, PriorVisit) else PriorVisit(prior), image, parse)
    now, then = parse.circumstance.day, placed.visit.parse.circumstance.day
    days = None if now is None or then is None else now - then
    if not placed.fits:
        return PriorKnowledge(placed, days_before=days)
    return PriorKnowledge(placed, expected(placed.parse, placed.visit.parse, parse, known), days)


def _order(finding: EntityFinding, denied: bool) -> tuple[bool, float, int]:
    if finding.fused is not None:
        nats = finding.fused.total_nats
    else:
        nats = 0.0 if finding.p_value is None else audit_nats(finding.p_value)
    return finding.verdict in FINE, nats - denied * NATS_DENIED, finding.suspicion_rank or 0


def _told(finding: EntityFinding, ranks: dict[str, int], denied: set[str]) -> EntityFinding:
    if finding.id not in ranks:
        return finding
    told: dict[str, object] = {"suspicion_rank": ranks[finding.id]}
    if finding.id in denied:
        reason = f"{finding.reason}; declared absent at the prior visit, and organs do not grow back"
        told |= {"prior_nats": round(-NATS_DENIED, 4), "reason": reason}
    return finding.model_copy(update=told)
