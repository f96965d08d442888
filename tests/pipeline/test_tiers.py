"""The cheap decoder is asked first, and the dear one only where that has not said enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from synth.contracts import Contrast, Decoder, EncodedImage, Tiered
from synth.decoder import DirectDecoder, LatentDecoder
from synth.decoder.fused import FusedDecoder
from synth.errors import InputError
from synth.parse import Entity, Parse
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.pipeline.tiers import decided
from synth.residual import AuditModel, Calibration, CalibrationScore
from synth.residual.conformal import p_value
from synth.residual.findings import Verdict
from synth.residual.verdict import FINDINGS, Scored
from synth.volume import Mask, Volume


@dataclass(frozen=True, eq=False)
class Twice:
    """The decoder of the toy world asked twice as closely; it keeps what it was asked about."""

    first: Any
    name: str = "twice"
    asked: list[Mask] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def encode(self, image: Volume) -> EncodedImage:
        return EncodedImage(image, self.name, self.first.encode(image))

    def for_first(self, encoded: EncodedImage) -> EncodedImage:
        own: EncodedImage = encoded.payload
        return own

    def render(self, parse: Parse, context: Any = None, region: Any = None, **more: Any) -> Any:
        return self.first.render(parse, None if context is None else self.for_first(context), region, **more)

    def contrast(
        self,
        encoded: EncodedImage,
        parse: Parse,
        alternatives: Sequence[Parse],
        region: Mask,
        *,
        draws: int = 1,
        generator: torch.Generator,
    ) -> tuple[Contrast, ...]:
        self.asked.append(region)
        found = self.first.contrast(
            self.for_first(encoded), parse, alternatives, region, draws=draws, generator=generator
        )
        return tuple(replace(c, features={**c.features, "again": 1.0}) for c in found)


@pytest.fixture
def twice(world: ModuleType) -> Twice:
    return Twice(world.decoder())


def _model(world: ModuleType) -> AuditModel:
    known = world.model()
    return AuditModel(known.prior, known.judges | {"twice": known.judges["gaussian"]}, "toy")


def _audit(world: ModuleType, decoder: Any, image: Volume, parse: Parse, **options: Any) -> AuditReport:
    return audit(image, parse, AuditOptions(search=False, **options), decoder=decoder, model=_model(world))


@pytest.fixture
def wrong(world: ModuleType) -> tuple[Volume, Parse]:
    toy = world.toy_patient(200, lesion=True, removed="kidney_right")
    kidney = Entity(id="kidney_right", name="kidney_right")
    return toy.image, toy.parse.without("kidney_right").with_entity(kidney, toy.places["kidney_right"])


def test_what_looks_as_usual_is_not_asked_about_again(
    world: ModuleType, twice: Twice, wrong: tuple[Volume, Parse]
) -> None:
    report = _audit(world, twice, *wrong)
    tier = {e.id: e.tier for e in report.entities}
    assert report.findings.tiers == [1, 2]
    assert tier["kidney_right"] == 2
    assert tier["lesion_1"] == 1
    assert 1 in tier.values()
    assert len(twice.asked) == sum(t == 2 for t in tier.values()) < len(tier)
    for e in report.entities:
        assert ("decoder_again" in e.evidence) == (e.tier == 2)
        assert e.tier == 2 or (e.p_value is not None and e.p_value > 0.5)
    assert {e.id for e in report.findings.flagged} == {"kidney_right"}
    assert report.findings.provenance["decoder"] == "twice"


def test_the_first_tier_alone_never_asks_the_second(
    world: ModuleType, twice: Twice, wrong: tuple[Volume, Parse]
) -> None:
    report = _audit(world, twice, *wrong, tiers=(1,))
    assert not twice.asked
    assert report.findings.tiers == [1]
    assert report.findings.provenance["decoder"] == "gaussian"
    plain = _audit(world, world.decoder(), *wrong)
    assert plain.to_json() == report.to_json()


def test_the_second_tier_alone_is_asked_about_everything(
    world: ModuleType, twice: Twice, wrong: tuple[Volume, Parse]
) -> None:
    report = _audit(world, twice, *wrong, tiers=(2,))
    assert {e.tier for e in report.entities if e.verdict is not Verdict.not_checkable} == {2}
    assert len(twice.asked) == len(report.entities)


def test_a_tier_that_the_decoder_does_not_have_is_refused(world: ModuleType, wrong: tuple[Volume, Parse]) -> None:
    with pytest.raises(InputError, match="gaussian"):
        _audit(world, world.decoder(), *wrong, tiers=(1, 2))


def test_stopping_early_keeps_the_share_of_false_alarms() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.sort(rng.normal(size=400)) for _ in range(2))
    values = []
    for one, two in rng.normal(size=(20_000, 2)):
        early = p_value(one, first)
        values.append(early if early > 0.5 else p_value(two, second))
    for alpha in (0.01, 0.05, 0.1, 0.3):
        assert np.mean(np.asarray(values) <= alpha) <= alpha * 1.25


def test_only_a_supported_entity_is_decided_early() -> None:
    known = Calibration((CalibrationScore("liver", 1500.0, 1.0),))
    for scored in (Scored("liver", 1500.0, 2.0, known), Scored("liver_cyst", 2.0, 2.0, known, FINDINGS)):
        assert decided(scored, 0.6)
        assert not decided(scored, 0.5)
        assert not decided(scored, None)
        assert not decided(replace(scored, score=-1.0), 0.9)


def test_the_fused_decoder_holds_the_direct_one() -> None:
    fused = FusedDecoder(DirectDecoder.from_pretrained(), LatentDecoder.from_pretrained())
    assert isinstance(fused, Tiered)
    assert isinstance(fused.first, Decoder)
    assert not isinstance(fused.first, Tiered)
