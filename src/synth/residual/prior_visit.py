"""What a prior visit lets the audit of the present one expect: pure bookkeeping on two parses of one world and grid.

    left out   drawn then, not spoken of now: tried at its place
    beds       drawn then, declared absent now: its place is where the absent organ is looked for first
    denied     an organ declared absent then, and claimed now: organs do not grow back, so it is looked at sooner

Entities that the present parse speaks of in any way (present, absent, uncertain, not assessed) are never left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from synth.parse import Entity, Kind, Parse, Presence
from synth.parse.match import Matching, match
from synth.residual.hosts import holding
from synth.residual.verdict import cannot_check
from synth.volume import Mask

ASKED = (Kind.organ, Kind.finding)
LEAST_IN_VIEW = 0.5  # of its volume
COVERED = {Kind.organ: 0.7, Kind.finding: 0.3}  # share that another of its kind may draw before the place is taken
NATS_DENIED = math.log(20.0)  # against an organ that came back: one claim of twenty is wrong, at either visit


@dataclass(frozen=True, eq=False)
class Remembered:
    """An entity of the prior visit that the present parse does not speak of.

    Attributes:
        entity, mask: as drawn then, brought here.
        host: id of the organ of the present parse that holds a finding.
        denies: id of a present entity of its name that is declared absent, without a place.
        unchecked: why its place cannot be asked about, None where it can.
    """

    entity: Entity
    mask: Mask
    host: str | None = None
    denies: str | None = None
    unchecked: str | None = None


@dataclass(frozen=True, eq=False)
class Expected:
    """What the prior visit lets one expect; ids are those of the present parse unless said otherwise."""

    matching: Matching
    left_out: tuple[Remembered, ...]
    beds: Mapping[str, Mask]
    denied: tuple[str, ...]


def expected(before: Parse, original: Parse, parse: Parse, known: Collection[str]) -> Expected:
    """Compare the visits.

    Args:
        before: the prior parse on the grid of `parse`; original: the same on its own grid, where sizes are exact.
        parse: the present one; known: names that the decoder was trained on.
    """
    matching = match(before, parse)
    pairs = [(before.entity(p.first), parse.entity(p.second)) for p in matching.pairs]
    beds = {
        now.id: before.masks[then.id]
        for then, now in pairs
        if now.presence is Presence.absent and then.id in before.present_ids and now.kind is Kind.organ
    }
    denied = tuple(
        now.id
        for then, now in pairs
        if then.presence is Presence.absent and now.presence is Presence.present and now.kind is Kind.organ
    )
    return Expected(matching, tuple(_left_out(before, original, parse, matching, known)), beds, denied)


def _left_out(
    before: Parse, original: Parse, parse: Parse, matching: Matching, known: Collection[str]
) -> Iterator[Remembered]:
    merged = {id for regroup in matching.regroups if regroup.kind == "merge" for id in regroup.first}
    for id in matching.gone:
        entity = before.entity(id)
        if entity.kind not in ASKED or id in merged or original.entity(id).presence is not Presence.present:
            continue
        if id not in original.masks:
            continue  # nothing says where it was
        mask = before.masks.get(id, Mask.empty(parse.geometry.shape))
        reason = cannot_check(entity, original, before, known) or _out_of_view(id, mask, original, parse)
        reason = reason or _taken(entity, mask, parse)
        host = None if reason or entity.kind is not Kind.finding else holding(mask, parse)
        denies = next((e.id for e in parse.by_name(entity.name) if e.presence is Presence.absent), None)
        yield Remembered(entity.changed(presence=Presence.present), mask, host, denies, reason)


def _out_of_view(id: str, mask: Mask, original: Parse, parse: Parse) -> str | None:
    whole = original.masks[id].volume_ml(original.geometry)
    if mask.volume_ml(parse.geometry) < LEAST_IN_VIEW * whole:
        return "most of it is outside the field of view of the image"
    return None


def _taken(entity: Entity, mask: Mask, parse: Parse) -> str | None:
    """Whether the present parse draws its place as something else of its kind."""
    for other in parse.present_ids:
        alike = parse.entity(other).kind is entity.kind
        if alike and mask.overlap(parse.masks[other]) >= COVERED[entity.kind] * mask.voxels:
            return f"its place is drawn as {other}"
    return None
