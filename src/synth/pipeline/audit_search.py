"""Step 7 of the audit: regions that the parse does not explain, tried as added entities and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pydantic import JsonValue

from synth.parse import Parse
from synth.parse.measure import axial_extent
from synth.pipeline.tiers import Tier
from synth.residual.findings import Candidate as CandidateName
from synth.residual.findings import MissingFinding, Verdict, recorded
from synth.residual.held_out import HeldOut
from synth.residual.hosts import NOT_JUDGED
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import Judge
from synth.residual.missing import Tried, attempt, find
from synth.residual.presence import Examined
from synth.residual.proposed import proposed_attributes
from synth.volume import Mask, Volume, resample_mask


@dataclass(frozen=True, eq=False)
class FoundRegion:
    """The finding about a region; its outline on the image's grid; what it was read from."""

    finding: MissingFinding
    mask: Mask
    tried: Tried | Examined


def search_regions(
    tier: Tier,
    parse: Parse,
    held_out: HeldOut,
    prior: IntensityPrior,
    *,
    image: Volume,
    alpha: float,
    seed: int,
) -> tuple[FoundRegion, ...]:
    """Find, try and judge; the strongest first. A region is `missing` when a complete parse has one as strong with
    probability at most alpha, and its site is one that is judged (`hosts.NOT_JUDGED`)."""
    generator = torch.Generator().manual_seed(seed)
    tried = []
    for candidate in find(tier.encoded.image, parse, held_out, prior):
        made = attempt(candidate, tier.decoder, tier.encoded, parse, prior, generator=generator)
        if made is not None:
            tried.append((tier.judge.missing_score(made.features, made.name, made.site), made))
    tried.sort(key=lambda pair: (-pair[0], pair[1].candidate.focus))
    return tuple(
        _region(f"missing_{number}", score, made, parse, tier.judge, image, alpha)
        for number, (score, made) in enumerate(tried, start=1)
    )


def described(region: FoundRegion, parse: Parse, image: Volume) -> FoundRegion:
    """The region with its longest axis and the attributes of what is proposed, measured in the image itself.

    The parse is on the image's grid.
    """
    mask = region.mask
    if mask.is_empty:
        return region
    found = proposed_attributes(parse, region.finding.name or "finding", mask, image)
    told: list[dict[str, JsonValue]] = [
        {"type": a.type, "value": a.value, "phase": None if a.phase is None else a.phase.value} for a in found
    ]
    longest = round(axial_extent(mask, image.geometry).longest_mm, 1)
    return replace(region, finding=region.finding.model_copy(update={"attributes": told, "longest_mm": longest}))


def _region(
    id: str, score: float, tried: Tried, parse: Parse, judge: Judge, image: Volume, alpha: float
) -> FoundRegion:
    found = tried.candidate
    p = None if tried.site in NOT_JUDGED else judge.missing_p_value(score)
    # Without calibration nothing can be called beyond chance.
    beyond = p is not None and p <= alpha and score > 0
    mask = resample_mask(found.mask, parse.geometry, image.geometry)
    x, y, z = (float(v) for v in parse.geometry.world(found.focus))
    finding = MissingFinding(
        id=id,
        verdict=Verdict.missing if beyond else None,
        name=tried.name,
        candidates=[CandidateName(name=n, share=round(s, 4)) for n, s in tried.shares.items()],
        located_in=found.host,
        score=score,
        p_value=p,
        volume_ml=found.mask.voxels * parse.geometry.voxel_ml,
        focus_mm=(x, y, z),
        peak=round(found.peak, 3),
        mean_hu=round(found.mean_hu, 1),
        reason=_reason(tried, score, p, beyond),
        evidence=recorded(tried.features),
    )
    return FoundRegion(finding, mask, tried)


def _reason(tried: Tried, score: float, p: float | None, beyond: bool) -> str:
    found = tried.candidate
    where = f"in {found.host}" if found.host else "outside every declared organ"
    step = f"{abs(found.step_hu):.0f} HU {'brighter' if found.step_hu > 0 else 'darker'} than expected"
    if beyond:
        name = tried.name.replace("_", " ")
        return f"{where}: {step}; the image is explained better with a {name} here ({score:+.1f} nats)"
    often = "" if p is None else f"; {100 * p:.0f}% of complete parses have a region as strong"
    why = f"; what stands out in {tried.site} is not judged" if tried.site in NOT_JUDGED else ""
    return f"{where}: {step} ({score:+.1f} nats{often}{why})"
