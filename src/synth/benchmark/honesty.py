"""Does a decoder use what it is told? Every field of the parse is changed, one at a time, and the render is compared.

    effect(v) = mean image of the changed parse (v) - mean image of the parse (v)

with the same noise. A field is *used* when the effect is at least `LEAST_HU` on average where the field speaks, twice
as large there as in the rest of the patient (for fields that speak of a place), and, where it has a direction, goes
there.

The spread, the texture and the edges of an entity are not in a mean image. They are measured back: in a sample of the
changed parse and in one of the parse, as they are measured in any image; the effect is the difference, in the
attribute's own unit, and at least `LEAST_SHARE` of what was asked for.

A field is asked of a parse in which nothing else says the same: the phase where no attenuation was measured, absence
where no tissue shows what is there, a relation of an entity whose mask is not given.

What the network makes of a field is one question, what `synth render` does with it another: findings without a mask are
placed by their relations before anything is drawn, what the parse leaves open is filled with what is usual where it
says so, and declared numbers are made to hold afterwards (`HELD`). Both are asked, and told apart: `drawn` is true of
what a user gets, and says nothing about the network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from synth.benchmark.fields import PLACING, Change, changes
from synth.benchmark.result import Row
from synth.contracts import Decoder, Render
from synth.decoder import DirectDecoder, LatentDecoder
from synth.errors import InputError
from synth.interop import with_tissues
from synth.parse import Parse
from synth.parse.derive import derive_appearance
from synth.parse.place import place_undrawn
from synth.phantom import LesionSpec, make, sample_spec
from synth.population import Population, completed
from synth.volume import Mask, Volume, dilated
from synth.volume.tissue import body_mask

LEAST_HU, LEAST_SHARE, LOCAL = 1.0, 0.1, 2.0
HELD = (
    "attribute: mean_attenuation",
    "attribute: attenuation_spread",
    "attribute: texture",
    "attribute: edge_sharpness",
    "relation: located_in",
    "relation: part_of",
    *(f"relation: {kind}" for kind in PLACING),
    "presence: absent, against left out",
    "attribute: steatosis_grade",
    "attribute: attenuation_class",
    "attribute: enhancement",
    "circumstance: phase",
)
"""Fields that hold by construction in what is drawn."""
MARGIN_MM = 12.0  # around a place, neither inside nor outside
SIDE = 64  # voxels of the crop around the left kidney
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Effect:
    """What one change did to the mean image, in HU, or to what is measured back, in its own unit.

    Attributes:
        inside, outside: mean absolute effect where the field speaks and in the rest of the patient; signed: mean effect
            inside; noise: standard deviation of the mean inside between samples of the patient's own parse.
        least: inside of a field that is used.
    """

    field: str
    inside: float
    outside: float
    signed: float
    noise: float
    direction: int
    local: bool
    least: float = LEAST_HU


class _Renders:
    """Renders of one patient's parses: mean images and samples, each drawn once.

    Args:
        decoder: that is examined; parse: the patient's; seed: of the noise; drawn: as `synth render` draws.
    """

    def __init__(self, decoder: Decoder, parse: Parse, seed: int, *, drawn: bool) -> None:
        if isinstance(decoder, DirectDecoder | LatentDecoder):
            decoder = decoder.with_declared(drawn)
        self.decoder, self.parse, self.seed, self.drawn = decoder, parse, seed, drawn
        # The mean image, all that is asked of most parses, takes no steps.
        self.quick = decoder.with_sampling(steps=1) if isinstance(decoder, LatentDecoder) else decoder
        self._held: dict[tuple[int, int], tuple[Parse, Image]] = {}

    def mean(self, parse: Parse) -> Image:
        """The mean image; a parse is kept with it, so that its id stays its own."""
        return self._kept(parse, -1, lambda: _centre(self._draw(self.quick, parse, self.seed)))

    def samples(self, parse: Parse) -> tuple[Image, Image]:
        """Two samples with different noise."""
        return self.sample(parse), self.sample(parse, self.seed + 1_000_003)

    def sample(self, parse: Parse, seed: int | None = None) -> Image:
        """A sample, with the noise of the patient's seed unless told another."""
        number = self.seed if seed is None else seed
        return self._kept(parse, number, lambda: self._draw(self.decoder, parse, number).images[0])

    def _draw(self, decoder: Decoder, parse: Parse, seed: int) -> Render:
        """Findings without a mask have the same place in every sample, and all entities the same usual means."""
        scene = completed(place_undrawn(parse, 0), Population.load(), 0) if self.drawn else parse
        return decoder.render(scene, n=1, generator=torch.Generator().manual_seed(seed))

    def _kept(self, parse: Parse, kind: int, draw: Callable[[], Image]) -> Image:
        key = (id(parse), kind)
        if key not in self._held:
            self._held[key] = parse, draw()
        return self._held[key][1]


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
    drawn: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> list[FieldUse]:
    """Try every field, or those named, on phantoms that the training did not draw.

    The network alone is asked; with `drawn`, what `synth render` makes of it, for the fields in `HELD`.

    Raises InputError for fewer than one patient.
    """
    if patients < 1:
        raise InputError("patients", expected="at least 1", got=str(patients), fix="ask for more")
    effects: list[Effect] = []
    for k in range(patients):
        parse, body = _patient(10_000 + seed + k, decoder.spacing_mm)
        renders = _Renders(decoder, parse, seed, drawn=drawn)
        for change in changes(parse, body):
            if (fields is None or change.field in fields) and (change.field in HELD or not drawn):
                effects.append(_effect(change, renders, body) if change.back is None else _back(change, renders))
        advance()
    found = dict.fromkeys(e.field for e in effects)
    return [_verdict([e for e in effects if e.field == field]) for field in found]


def rows_of(verdicts: Sequence[FieldUse], method: str) -> list[Row]:
    """One row a field and number; `method` is "network" or "drawn"."""
    rows = []
    for v in verdicts:
        for metric in ("inside", "outside", "signed", "noise", "used"):
            value = float(getattr(v, metric))
            rows.append(Row({"field": v.field}, method, metric, value, float("nan"), float("nan"), v.examples))
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


def _centre(render: Render) -> Image:
    return render.images[0] if render.location is None else render.location


def _effect(change: Change, renders: _Renders, body: Mask) -> Effect:
    difference = renders.mean(change.after) - renders.mean(change.before)
    far = body.dense()
    around = dilated(change.where, change.before.geometry, MARGIN_MM)
    far[around.slices] &= ~around.box
    inside = change.where.values(difference)
    means = [float(change.where.values(image).mean()) for image in renders.samples(renders.parse)]
    return Effect(
        change.field,
        float(np.abs(inside).mean()),
        float(np.abs(difference[far]).mean()) if far.any() else 0.0,
        float(inside.mean()),
        float(np.std(means, ddof=1)),
        change.direction,
        change.local,
        LEAST_HU * change.share,
    )


def _back(change: Change, renders: _Renders) -> Effect:
    """What is measured in a sample of the changed parse, less what is in one of the parse with the same noise."""
    back = change.back
    assert back is not None  # the caller asked
    images = (*renders.samples(change.before), renders.sample(change.after))
    first, second, changed = (_measured(change.before, image, back.kind) for image in images)
    common = first.keys() & second.keys() & changed.keys()
    if back.entity not in common:
        return Effect(change.field, 0.0, 0.0, 0.0, 0.0, change.direction, True, LEAST_SHARE * back.step)
    others = [abs(changed[i] - first[i]) for i in common if i != back.entity]
    own = changed[back.entity] - first[back.entity]
    return Effect(
        change.field,
        abs(own),
        float(np.median(others)) if others else 0.0,
        own,
        float(np.std([first[back.entity], second[back.entity]], ddof=1)),
        1,
        True,
        LEAST_SHARE * back.step,
    )


def _measured(parse: Parse, array: Image, kind: str) -> dict[str, float]:
    """Entity -> the numeric attribute as it is in the image."""
    plain = parse.without_derived()
    plain = plain.replace(attributes=(), relations=())
    found = derive_appearance(plain, Volume(array, parse.geometry, "CT", "HU")).attributes
    return {a.entity: float(a.value) for a in found if a.type == kind}


def _verdict(effects: Sequence[Effect]) -> FieldUse:
    inside, outside, signed, noise = (
        float(np.median([getattr(e, name) for e in effects])) for name in ("inside", "outside", "signed", "noise")
    )
    there = not effects[0].local or inside >= LOCAL * outside
    right = float(np.median([e.signed * e.direction for e in effects])) >= 0
    return FieldUse(
        effects[0].field, inside, outside, signed, noise, len(effects), inside >= effects[0].least and there and right
    )
