"""What the image does not support as it is drawn, but would elsewhere, smaller, larger or under another name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synth.parse import VOCABULARY, Kind, Parse
from synth.pipeline.audit_entities import AuditedEntity
from synth.pipeline.tiers import Tier
from synth.population import Population
from synth.residual.elsewhere import SURE, Elsewhere, best_elsewhere
from synth.residual.findings import Verdict
from synth.residual.fragments import fragments
from synth.residual.judge import NO_DECODER, AuditModel
from synth.residual.other_names import AHEAD_NATS, SURE_NATS, best_other_name, renamed, shares_its_name
from synth.residual.verdict import ANATOMY, family_of
from synth.volume import Mask, Volume, resample_mask


def audit_elsewhere(
    tier: Tier,
    parse: Parse,
    audited: Sequence[AuditedEntity],
    model: AuditModel,
    population: Population,
    *,
    image: Volume,
    seed: int,
) -> tuple[AuditedEntity, ...]:
    """The findings in which what is there, drawn wrongly or called otherwise, is no longer `hallucinated`.

    The parse is on the decoder's grid, `image` on the grid of the masks that are proposed. Of what fits, an outline
    under the claimed name (`wrong_extent`) or a name for the drawn outline (`wrong_label`), the decoder's score
    decides. The flag stays, with its p-value: only its name changes. One kind of entity is flagged here alone: of two
    with one name, the one that another name fits better. Without a judge that needs no decoder nothing is done.
    Findings are not tried: where no lesion is, a dark spot 14 mm away is no sign of one drawn wrongly.
    """
    if NO_DECODER not in model.judges:
        return tuple(audited)
    ask = _Asking(tier, parse, model, population, image, seed)
    cut = {f.entity.id for f in fragments(parse)}
    return tuple(ask.about(each, cut) for each in audited)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What the image supports instead: the decoder's score, and what the finding is told."""

    score: float
    told: dict[str, Any]
    proposed: Mask | None = None


@dataclass(frozen=True, eq=False)
class _Asking:
    tier: Tier
    parse: Parse
    model: AuditModel
    population: Population
    image: Volume
    seed: int

    def about(self, audited: AuditedEntity, cut: set[str]) -> AuditedEntity:
        finding = audited.finding
        if family_of(Kind(finding.kind)) != ANATOMY:
            return audited
        if finding.verdict is Verdict.hallucinated:
            fits = [*self._outline(finding.id), *self._name(finding.id)]
        elif finding.verdict is Verdict.supported and finding.id not in cut and shares_its_name(self.parse, finding.id):
            fits = [fit for fit in self._name(finding.id) if fit.score >= (finding.score or 0.0) + AHEAD_NATS]
        else:
            return audited
        best = max(fits, key=lambda fit: fit.score, default=None)
        if best is None:
            return audited
        return replace(audited, finding=finding.model_copy(update=best.told), proposed=best.proposed)

    def _outline(self, id: str) -> Iterator[_Fit]:
        model = self.model
        found = best_elsewhere(self.tier.encoded.image, self.parse, id, model.prior, model.judge(NO_DECODER))
        if found is None:
            return
        score = self._score(self.parse.with_mask(id, found.mask), id)
        if score > SURE:
            fits = f"{_words(found, self.parse, id)} fits ({score:+.1f} nats)"
            reason = f"something like it is there, but not as it is drawn: {fits}"
            proposed = resample_mask(found.mask, self.parse.geometry, self.image.geometry)
            told = {"verdict": Verdict.wrong_extent, "reason": reason}
            yield _Fit(score, told, None if proposed.is_empty else proposed)

    def _name(self, id: str) -> Iterator[_Fit]:
        model, image = self.model, self.tier.encoded.image
        found = best_other_name(image, self.parse, id, model.prior, model.judge(NO_DECODER), self.population)
        if found is None:
            return
        score = self._score(renamed(self.parse, id, found.name), id)
        if score >= SURE_NATS:
            own, other = self.parse.entity(id).term.words, VOCABULARY.term(found.name).words
            reason = f"the image does not look like {own} here, but like {other} ({score:+.1f} nats)"
            yield _Fit(score, {"verdict": Verdict.wrong_label, "reason": reason, "proposed_name": found.name})

    def _score(self, parse: Parse, id: str) -> float:
        return self.tier.ask(parse, id, self.model.prior, seed=self.seed)[0]


def _words(found: Elsewhere, parse: Parse, id: str) -> str:
    if found.how == "part":
        return f"{100 * found.mask.voxels / parse.masks[id].voxels:.0f}% of it"
    if found.how != "elsewhere":
        return f"a {found.how} outline"
    one, other = (np.asarray(m.centroid_mm(parse.geometry)) for m in (parse.masks[id], found.mask))
    return f"the same outline {np.linalg.norm(one - other):.0f} mm away"
