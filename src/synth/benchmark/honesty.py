"""Does a decoder use what it is told? Every field of the parse is changed, one at a time, and the render is compared.

    effect(v) = mean image of the changed parse (v) - mean image of the parse (v)

with the same noise. A field is *used* when the effect is at least `LEAST_HU` on average where the field speaks, twice
as large there as in the rest of the patient (for fields that speak of a place), and, where it has a direction, goes
there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from synth.benchmark.result import Row
from synth.contracts import Decoder, Render
from synth.errors import InputError
from synth.interop import with_tissues
from synth.parse import ATTRIBUTE_TYPES, Attribute, Kind, Modality, Parse, Phase, Presence
from synth.parse.derive import derive_appearance
from synth.phantom import LesionSpec, make, sample_spec
from synth.volume import Geometry, Mask, dilated
from synth.volume.tissue import body_mask

LEAST_HU, LOCAL = 1.0, 2.0
MARGIN_MM = 12.0  # around a place, neither inside nor outside
SIDE = 64  # voxels of the crop around the left kidney
ENTITIES = 2  # a field is tried on so many entities of each patient, the largest first
STEPS = {
    "mean_attenuation": 60.0,
    "attenuation_spread": 30.0,
    "texture": 2.0,
    "edge_sharpness": 20.0,
    "enhancement": 60.0,
}
UP = ("mean_attenuation", "enhancement")
DENSER = {"steatosis_grade": -1, "attenuation_class": 1}  # the last category against the first
ENHANCING = ("aorta", "kidney_left", "kidney_right", "spleen", "portal_vein_and_splenic_vein")
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Change:
    """One field of a parse, before and after.

    Attributes:
        field: what was changed; where: the place that it speaks of; direction: 1 brighter, -1 darker, 0 neither;
        local: whether it speaks of that place only.
    """

    field: str
    before: Parse
    after: Parse
    where: Mask
    direction: int = 0
    local: bool = True


@dataclass(frozen=True)
class Effect:
    """What one change did to the mean image, in HU.

    Attributes:
        inside, outside: mean absolute effect where the field speaks and in the rest of the patient; signed: mean effect
            inside; noise: standard deviation of the mean inside between samples of the unchanged parse.
    """

    field: str
    inside: float
    outside: float
    signed: float
    noise: float
    direction: int
    local: bool


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A parse, kept so that its id stays its own, and two renders of it with different noise."""

    parse: Parse
    first: Render
    second: Render


@dataclass(frozen=True)
class FieldUse:
    """One field over all patients: medians of its effects, and whether it is used."""

    field: str
    inside: float
    outside: float
    signed: float
    noise: float
    examples: int
    used: bool


def examine_fields(
    decoder: Decoder,
    *,
    patients: int = 2,
    seed: int = 0,
    fields: Collection[str] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[FieldUse]:
    """Try every field, or those named, on phantoms that the training did not draw.

    Raises InputError for fewer than one patient.
    """
    if patients < 1:
        raise InputError("patients", expected="at least 1", got=str(patients), fix="ask for more")
    effects: list[Effect] = []
    quick = copy.copy(decoder)
    if hasattr(quick, "steps"):
        quick.steps = 1  # the mean image, all that is asked of a changed parse, takes none
    for k in range(patients):
        parse, body = _patient(10_000 + seed + k, decoder.spacing_mm)
        renders: dict[int, _Drawn] = {}
        for change in changes(parse, body):
            if fields is not None and change.field not in fields:
                continue
            key = id(change.before)
            if key not in renders:
                renders[key] = _Drawn(
                    change.before, *(_draw(decoder, change.before, s) for s in (seed, seed + 1_000_003))
                )
            after = _draw(quick, change.after, seed)
            effects.append(_effect(change, renders[key], after, body))
        advance()
    found = dict.fromkeys(e.field for e in effects)
    return [_verdict([e for e in effects if e.field == field]) for field in found]


def changes(parse: Parse, body: Mask) -> Iterator[Change]:
    """Every field that the parse holds, changed."""
    yield from _presence(parse)
    yield from _masks_and_names(parse)
    yield from _attributes(parse)
    yield from _relations(parse)
    yield from _circumstance(parse, body)


def rows_of(verdicts: Sequence[FieldUse]) -> list[Row]:
    """One row a field and number."""
    rows = []
    for v in verdicts:
        for metric in ("inside", "outside", "signed", "noise", "used"):
            value = float(getattr(v, metric))
            rows.append(Row({"field": v.field}, "ours", metric, value, float("nan"), float("nan"), v.examples))
    return rows


def _patient(seed: int, spacing_mm: float) -> tuple[Parse, Mask]:
    """A phantom with lesions, an absent organ and a fatty liver, everything measured."""
    lesions = (LesionSpec("metastasis", "liver", 30.0), LesionSpec("kidney_cyst_left", "kidney_left", 25.0))
    spec = replace(
        sample_spec(seed), lesions=lesions, absent=("gallbladder",), steatosis="S1", field_of_view="abdomen",
        phase="portal_venous", phases=("portal_venous",),
    )  # fmt: skip
    made = make(seed, spec=spec, spacing_mm=(spacing_mm,) * 3)
    centre = made.parse.masks["kidney_left"].centroid_voxel()
    low = [max(0, min(round(c) - SIDE // 2, n - SIDE)) for c, n in zip(centre, made.image.shape, strict=True)]
    box = (slice(low[0], low[0] + SIDE), slice(low[1], low[1] + SIDE), slice(low[2], low[2] + SIDE))
    image = made.image.cropped(box)
    parse = with_tissues(made.parse.cropped(box), image)
    return derive_appearance(parse, image), body_mask(image)


def _draw(decoder: Decoder, parse: Parse, seed: int) -> Render:
    return decoder.render(parse, n=1, generator=torch.Generator().manual_seed(seed))


def _centre(render: Render) -> Image:
    return render.images[0] if render.location is None else render.location


def _effect(change: Change, before: _Drawn, after: Render, body: Mask) -> Effect:
    difference = _centre(after) - _centre(before.first)
    far = body.dense()
    around = dilated(change.where, change.before.geometry, MARGIN_MM)
    far[around.slices] &= ~around.box
    inside = change.where.values(difference)
    means = [float(change.where.values(r.images[0]).mean()) for r in (before.first, before.second)]
    return Effect(
        change.field,
        float(np.abs(inside).mean()),
        float(np.abs(difference[far]).mean()) if far.any() else 0.0,
        float(inside.mean()),
        float(np.std(means, ddof=1)),
        change.direction,
        change.local,
    )


def _verdict(effects: Sequence[Effect]) -> FieldUse:
    inside, outside, signed, noise = (
        float(np.median([getattr(e, name) for e in effects])) for name in ("inside", "outside", "signed", "noise")
    )
    there = not effects[0].local or inside >= LOCAL * outside
    right = float(np.median([e.signed * e.direction for e in effects])) >= 0
    return FieldUse(
        effects[0].field, inside, outside, signed, noise, len(effects), inside >= LEAST_HU and there and right
    )


def _largest(parse: Parse, ids: Sequence[str]) -> list[str]:
    return sorted((i for i in ids if i in parse.masks), key=lambda i: -parse.masks[i].voxels)[:ENTITIES]


def _presence(parse: Parse) -> Iterator[Change]:
    for name in ("kidney_left", "spleen"):
        for entity in parse.by_name(name):
            if entity.id in parse.masks:
                where, without = parse.masks[entity.id], parse.without(entity.id)
                yield Change("presence: left out", parse, without, where)
                bare = parse.with_presence(entity.id, Presence.absent)
                yield Change("presence: absent, against left out", without, bare, where)
                yield Change("presence: uncertain", parse, parse.with_presence(entity.id, Presence.uncertain), where)
    for name in ("fat", "bone", "body"):
        for entity in parse.by_name(name):
            yield Change(
                f"tissue: {name}", parse, parse.without(entity.id), parse.masks[entity.id], local=name != "body"
            )


def _masks_and_names(parse: Parse) -> Iterator[Change]:
    for name in ("spleen", "kidney_left"):
        for entity in parse.by_name(name):
            if entity.id in parse.masks:
                own = parse.masks[entity.id]
                dense = np.roll(own.dense(), 4, axis=1)
                moved = parse.with_mask(entity.id, Mask.from_dense(dense))
                where = own.union(moved.masks[entity.id]).difference(own.intersection(moved.masks[entity.id]))
                yield Change("mask: moved", parse, moved, where)
                other = next((n for n in ("vertebrae_L3", "lung_lower_lobe_left") if not parse.by_name(n)), "sternum")
                named = entity.model_copy(update={"name": other})
                entities = [named if e.id == entity.id else e for e in parse.entities]
                yield Change("name: soft organ called bone or lung", parse, parse.replace(entities=entities), own)


def _attributes(parse: Parse) -> Iterator[Change]:
    untold = parse.without_derived()  # what is measured says some of what a category says
    for kind in dict.fromkeys(a.type for a in parse.attributes):
        base = untold if any(a.type == kind for a in untold.attributes) else parse
        held = {a.entity: a for a in base.attributes if a.type == kind}
        for entity in _largest(parse, [i for i in held if parse.entity(i).kind != Kind.tissue]):
            other, direction = _other(held[entity])
            after = base.replace(attributes=[other if a.key == other.key else a for a in base.attributes])
            yield Change(f"attribute: {kind}", base, after, parse.masks[entity], direction)


def _other(attribute: Attribute) -> tuple[Attribute, int]:
    """The attribute with another value, and where the image should go."""
    kind = ATTRIBUTE_TYPES[attribute.type]
    if kind.values is None:
        assert not isinstance(attribute.value, str)  # numeric
        value = attribute.value + STEPS.get(kind.name, 0.25 * ((kind.high or 100.0) - (kind.low or 0.0)))
        return attribute.model_copy(update={"value": value}), int(kind.name in UP)
    scale = [v for v in kind.values if v not in kind.beside_scale]
    value_of = scale[-1] if attribute.value != scale[-1] else scale[0]
    direction = DENSER.get(kind.name, 0) * (1 if value_of == scale[-1] else -1)
    return attribute.model_copy(update={"value": value_of}), direction


def _relations(parse: Parse) -> Iterator[Change]:
    for kind in dict.fromkeys(r.type for r in parse.relations):
        edges = [r for r in parse.relations if r.type == kind]
        ends = [i for r in edges for i in (r.subject, r.object) if i in parse.masks]
        if ends:
            where = _union([parse.masks[i] for i in dict.fromkeys(ends)], parse.geometry)
            kept = tuple(r for r in parse.relations if r.type != kind)
            yield Change(f"relation: {kind}", parse, parse.replace(relations=kept), where)


def _circumstance(parse: Parse, body: Mask) -> Iterator[Change]:
    bright = [parse.masks[e.id] for n in ENHANCING for e in parse.by_name(n) if e.id in parse.masks]
    plain = parse.circumstance.model_copy(update={"phase": Phase.unenhanced})
    # A parse that gives each organ's HU has said it already: the phase is asked of one that does not.
    untold = parse.without_derived()
    if bright:
        after = untold.replace(circumstance=plain)
        yield Change("circumstance: phase", untold, after, _union(bright, parse.geometry), -1)
    other = untold.circumstance.model_copy(update={"modality": Modality.mr})
    yield Change("circumstance: modality", untold, untold.replace(circumstance=other), body, local=False)


def _union(masks: Sequence[Mask], geometry: Geometry) -> Mask:
    dense = np.zeros(geometry.shape, bool)
    for mask in masks:
        dense[mask.slices] |= mask.box
    return Mask.from_dense(dense)
