"""Organs declared absent, asked about where they would lie: one that is there after all is `missing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synth.parse import Entity, Parse
from synth.pipeline.audit_search import FoundRegion
from synth.pipeline.tiers import Tier
from synth.population import Population
from synth.residual.absences import Denied, denied_organs
from synth.residual.findings import Candidate as CandidateName
from synth.residual.findings import EntityFinding, MissingFinding, Verdict, recorded
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.presence import Examined
from synth.volume import Mask, Volume, resample_mask

SURE = 0.0  # nats above which the image speaks for the organ
PREFIX = "missing_"


@dataclass(frozen=True, eq=False)
class SearchedAbsences:
    """What lies in the beds of absent organs: a region for each outline that may be the organ, with a verdict where the
    image speaks for it, and the ids of all whose bed is in the image."""

    regions: tuple[FoundRegion, ...] = ()
    asked: frozenset[str] = frozenset()

    def told(self, finding: EntityFinding) -> EntityFinding:
        """The finding about an absent entity with what was seen in its bed."""
        if finding.id not in self.asked:
            return finding
        seen = next((r.finding for r in self.regions if r.finding.denies == finding.id), None)
        reason = "declared absent; nothing like it lies in its bed"
        if seen is not None:
            reason = f"{seen.reason}: {seen.id}" if seen.verdict is Verdict.missing else seen.reason
        return finding.model_copy(update={"reason": reason})

    def added(self, parse: Parse, image: Volume) -> Parse:
        """The parse, on the decoder's grid, with the organs that are there after all, for the search for what else it
        leaves out; `image` is on the grid of the regions' masks."""
        for region in self.regions:
            mask = resample_mask(region.mask, image.geometry, parse.geometry)
            if region.finding.verdict is Verdict.missing and not mask.is_empty:
                parse = _claimed(parse, parse.entity(str(region.finding.denies)), mask)
        return parse


def search_absent(
    tier: Tier,
    parse: Parse,
    prior: IntensityPrior,
    population: Population,
    beds: Mapping[str, Mask] | None = None,
    *,
    image: Volume,
    seed: int,
) -> SearchedAbsences:
    """Look into the bed of every organ that is declared absent, first where a prior visit drew it.

    The parse and `beds`, organ to mask, are on the decoder's grid, the image on its own.
    """
    denied = denied_organs(tier.encoded.image, parse, prior, population, beds)
    regions = []
    for outlines in denied.values():
        asked = [(tier.ask(_claimed(parse, d.entity, d.mask), d.entity.id, prior, seed=seed), d) for d in outlines]
        if asked:
            ((score, found), best) = max(asked, key=lambda pair: pair[0][0])
            regions.append(_region(parse, score, best, found, tier.encoded.image, image))
    return SearchedAbsences(tuple(regions), frozenset(denied))


def _claimed(parse: Parse, own: Entity, mask: Mask) -> Parse:
    """The parse in which the organ is there."""
    return parse.without(own.id).with_entity(Entity(id=own.id, name=own.name), mask)


def _region(parse: Parse, score: float, denied: Denied, found: Examined, on_grid: Volume, image: Volume) -> FoundRegion:
    own, mask = denied.entity, denied.mask
    there = score > SURE
    x, y, z = (float(v) for v in mask.centroid_mm(parse.geometry))
    words = own.term.words
    reason = (
        f"declared absent, but the image is explained better with a {words} in its bed ({score:+.1f} nats)"
        if there
        else f"declared absent; what lies in its bed does not look like a {words} ({score:+.1f} nats)"
    )
    finding = MissingFinding(
        id=PREFIX + own.id,
        verdict=Verdict.missing if there else None,
        name=own.name,
        candidates=[CandidateName(name=own.name, share=1.0)],
        denies=own.id,
        score=score,
        volume_ml=mask.voxels * parse.geometry.voxel_ml,
        focus_mm=(x, y, z),
        mean_hu=round(float(mask.values(on_grid.array).mean()), 1),
        reason=reason,
        evidence=recorded(found.evidence.features),
    )
    return FoundRegion(finding, resample_mask(mask, parse.geometry, image.geometry), found)
