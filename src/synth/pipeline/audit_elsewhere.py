"""Entities that the image does not support as they are drawn, but would if they ended or lay a little elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synth.parse import Kind, Parse
from synth.pipeline.audit_entities import AuditedEntity
from synth.pipeline.tiers import Tier
from synth.residual.elsewhere import SURE, Elsewhere, best_elsewhere
from synth.residual.findings import Verdict
from synth.residual.judge import NO_DECODER, AuditModel
from synth.residual.verdict import ANATOMY, family_of
from synth.volume import Volume, resample_mask


def audit_elsewhere(
    tier: Tier, parse: Parse, audited: Sequence[AuditedEntity], model: AuditModel, *, image: Volume, seed: int
) -> tuple[AuditedEntity, ...]:
    """The findings in which what is there, drawn wrongly, is `wrong_extent` and no longer `hallucinated`.

    The parse is on the decoder's grid, `image` on the grid of the masks that are proposed. The flag stays, with its
    p-value: only its name changes. Without a judge that needs no decoder nothing does. Findings are not tried: where
    no lesion is, a dark spot 14 mm away is no sign of one drawn wrongly.
    """
    if NO_DECODER not in model.judges:
        return tuple(audited)
    return tuple(_asked(tier, parse, each, model, image, seed) if _tried(each) else each for each in audited)


def _tried(audited: AuditedEntity) -> bool:
    finding = audited.finding
    return finding.verdict is Verdict.hallucinated and family_of(Kind(finding.kind)) == ANATOMY


def _asked(
    tier: Tier, parse: Parse, audited: AuditedEntity, model: AuditModel, image: Volume, seed: int
) -> AuditedEntity:
    id = audited.finding.id
    found = best_elsewhere(tier.encoded.image, parse, id, model.prior, model.judge(NO_DECODER))
    if found is None:
        return audited
    score, _ = tier.ask(parse.with_mask(id, found.mask), id, model.prior, seed=seed)
    if score <= SURE:
        return audited
    reason = f"something like it is there, but not as it is drawn: {_words(found, parse, id)} fits ({score:+.1f} nats)"
    finding = audited.finding.model_copy(update={"verdict": Verdict.wrong_extent, "reason": reason})
    proposed = resample_mask(found.mask, parse.geometry, image.geometry)
    return replace(audited, finding=finding, proposed=None if proposed.is_empty else proposed)


def _words(found: Elsewhere, parse: Parse, id: str) -> str:
    if found.how != "elsewhere":
        return f"a {found.how} outline"
    one, other = (np.asarray(m.centroid_mm(parse.geometry)) for m in (parse.masks[id], found.mask))
    return f"the same outline {np.linalg.norm(one - other):.0f} mm away"
