"""The tiers of an audit: which decoders are asked about an entity, in which order, and when the first has said enough.

Tier 1 asks the direct decoder, tier 2 both. An entity that tier 1 finds at least as well supported as most true ones is
not asked about again. That keeps the guarantee: with p1 and p2 valid and p = p1 where p1 > 1/2, else p2,

    P(p <= alpha) <= P(p2 <= alpha) <= alpha        for every alpha < 1/2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from synth.contracts import Decoder, EncodedImage, Tiered
from synth.errors import InputError
from synth.parse import Parse
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import AuditModel, Judge
from synth.residual.presence import Examined, examine
from synth.residual.verdict import Scored
from synth.volume import Volume

ALL = (1, 2)
DECIDED = 0.5  # p-value of the first tier above which it has said enough; no less, or the guarantee goes


@dataclass(frozen=True, eq=False)
class Tier:
    """A decoder with the image prepared for it, and the judge that was calibrated with it."""

    number: int
    decoder: Decoder
    encoded: EncodedImage
    judge: Judge

    def ask(
        self, parse: Parse, id: str, prior: IntensityPrior, *, seed: int, first: Examined | None = None
    ) -> tuple[float, Examined]:
        """Is a drawn entity there? The score in nats, and what it was read from.

        `first` is what the tier before has said of the same parse and entity; the parse is on the decoder's grid.
        """
        generator = torch.Generator().manual_seed(seed)
        found = examine(self.decoder, self.encoded, parse, id, prior, first=first, generator=generator)
        return self.judge.score(found.evidence.features, found.evidence.name), found


def tiers_of(decoder: Decoder, image: Volume, model: AuditModel, asked: Sequence[int] | None) -> tuple[Tier, ...]:
    """The tiers that are asked for, all that the decoder has for None; the image is on the decoder's grid.

    Raises:
        InputError: the decoder has no such tier, or nothing was calibrated for it.
    """
    numbers = ALL if isinstance(decoder, Tiered) else ALL[:1]
    asked = numbers if asked is None else asked
    if not set(asked) <= set(numbers):
        got = ", ".join(map(str, asked))
        fix = "use --decoder fused, or fewer tiers"
        raise InputError(f"tiers of decoder '{decoder.name}'", expected=str(list(numbers)), got=got, fix=fix)
    if not isinstance(decoder, Tiered):
        return (Tier(1, decoder, decoder.encode(image), model.judge(decoder.name)),)
    first = decoder.first
    if max(asked) == 1:
        return (Tier(1, first, first.encode(image), model.judge(first.name)),)
    encoded = decoder.encode(image)
    tiers = (
        Tier(1, first, decoder.for_first(encoded), model.judge(first.name)),
        Tier(2, decoder, encoded, model.judge(decoder.name)),
    )
    return tuple(t for t in tiers if t.number in asked)


def decided(scored: Scored, p_value: float | None) -> bool:
    """Whether an entity with this score and p-value need not be asked about again."""
    return p_value is not None and p_value > DECIDED and scored.score > 0
