"""The patient's own scan as it will look: what changes is drawn by a decoder, all else stays bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synth.contracts import Decoder
from synth.errors import InputError
from synth.parse import VOCABULARY, Attribute, Kind, Parse
from synth.pipeline.forecast import Forecast
from synth.pipeline.forecast_grain import with_grain
from synth.pipeline.render import RenderPipeline
from synth.volume import Mask, Volume, dilated

MARGIN_MM = 4.0
"""Around what changes, so that the decoder can draw the new border; one voxel of the decoder where that is more."""
GRAIN = 0.75
"""Width of the average beside which the scan has grain, in voxels of the decoder."""


@dataclass(frozen=True, eq=False)
class RenderedFuture:
    """A synthetic scan.

    Attributes:
        image: the last scan with `region` drawn anew; itself where nothing changes.
        region: what was drawn; None where nothing changes.
        mark: what its header says about its origin.
    """

    image: Volume
    region: Mask | None
    mark: str


def render_future(forecast: Forecast, sample: int, horizon: int) -> RenderedFuture:
    """Draw one future into the last scan.

    A decoder that draws in one pass gives the mean, at the level and with the grain of the scan (`forecast_grain`).

    Raises:
        InputError: no scan or decoder was given, or the decoder cannot draw it: another modality, or an entity without
            a known ancestor in its vocabulary.
    """
    image, decoder = forecast.image, forecast.decoder
    if image is None or decoder is None:
        got = "no scan" if image is None else "no decoder"
        raise InputError("render of a future", expected="the last scan and a decoder", got=got, fix="give both")
    then = forecast.future(sample, horizon).parse
    region = changed_region(forecast.now, then, margin_mm=max(MARGIN_MM, decoder.spacing_mm))
    check_drawable(image, forecast.now, then, decoder)
    mark = f"forecast, plan {forecast.plan.name}, day {forecast.days[horizon]:g}, sample {sample}"
    if region is None:
        return RenderedFuture(image, None, f"{mark}, nothing redrawn")
    seen = as_seen(forecast.now, then, image)
    one_pass = not hasattr(decoder, "with_sampling")  # its voxels are drawn one by one
    drawn = RenderPipeline(decoder)(seen, context=image, region=region, seed=forecast.seed + sample, mean=one_pass)
    if drawn.mean is None:
        return RenderedFuture(drawn.images[0], region, f"{mark}, {drawn.mark}")
    looks = with_grain(
        drawn.mean,
        image,
        forecast.now,
        seen,
        region=region,
        changed=_all_changed(forecast.now, then),
        width_mm=GRAIN * decoder.spacing_mm,
    )
    return RenderedFuture(looks, region, f"{mark}, {drawn.mark}, mean with the scan's grain")


def changed_region(now: Parse, then: Parse, *, margin_mm: float) -> Mask | None:
    """Findings that changed, as they were and as they will be, and what organs gained or lost, with a margin.

    The margin leaves out what nothing happens to: a rib, a vessel or another lesion beside it is not drawn again.

    Example:
        >>> from synth.volume import Geometry
        >>> z = Parse([], geometry=Geometry.regular((4, 4, 4), 3.0))
        >>> changed_region(z, z, margin_mm=4.0) is None
        True
    """
    total = _all_changed(now, then)
    if total.is_empty:
        return None
    margin = dilated(total, now.geometry, margin_mm) - total
    for mask in _bystanders(now, total):
        margin = margin - mask
    return total | margin


def _bystanders(now: Parse, changed: Mask) -> list[Mask]:
    """What is drawn and shares no voxel with what changes; parts of an organ that does are no bystanders."""
    drawn = [e for e in now.entities if e.id in now.masks and e.kind is not Kind.target]
    apart = [e for e in drawn if not now.masks[e.id].overlap(changed)]
    involved = {e.name for e in drawn} - {e.name for e in apart}
    return [now.masks[e.id] for e in apart if VOCABULARY.whole(e.name) not in involved]


def as_seen(now: Parse, then: Parse, image: Volume) -> Parse:
    """The future with the attenuation that its findings have in the last scan: they are drawn as this patient's.

    A new lesion, and a fragment, gets that of the largest finding of its name. It is for drawing alone; the forecast
    does not claim it.
    """
    seen = {e.id: now.masks[e.id] for e in now.entities if e.kind is Kind.finding and e.id in now.masks}
    mean = {id: float(mask.values(image.array).mean(dtype=np.float64)) for id, mask in seen.items()}
    said = {a.entity for a in then.attributes if a.type == "mean_attenuation"}
    fresh = []
    for entity in then.entities:
        if entity.kind is not Kind.finding or entity.id not in then.masks or entity.id in said:
            continue
        same = [id for id in seen if now.entity(id).name == entity.name]
        like = entity.id if entity.id in seen else max(same, key=lambda id: seen[id].voxels, default=None)
        if like is not None:
            fresh.append(
                Attribute(entity=entity.id, type="mean_attenuation", value=mean[like], phase=now.circumstance.phase)
            )
    return then.replace(attributes=(*then.attributes, *fresh))


def check_drawable(image: Volume, now: Parse, then: Parse, decoder: Decoder) -> None:
    """Raise InputError, with the reason, where this decoder cannot draw what changes in this image."""
    if image.modality not in decoder.modalities:
        got = f"{image.modality} ({image.unit})"
        fix = "the masks are forecast all the same; give a decoder of that modality to draw them"
        raise InputError(
            f"decoder '{decoder.name}'", expected=f"{', '.join(decoder.modalities)} images", got=got, fix=fix
        )
    names = {(then if id in then else now).entity(id).name for id in _changed_ids(now, then)}
    unknown = sorted(name for name in names if VOCABULARY.nearest(name, decoder.vocabulary) is None)
    if unknown:
        fix = "the masks are forecast all the same; give a decoder that was trained on it"
        raise InputError(f"decoder '{decoder.name}'", expected="entities that it can draw", got=unknown[0], fix=fix)


def _changed_ids(now: Parse, then: Parse) -> list[str]:
    ids = dict.fromkeys((*now.masks, *then.masks))
    return [id for id in ids if now.masks.get(id) != then.masks.get(id)]


def _all_changed(now: Parse, then: Parse) -> Mask:
    """Findings that changed, as they were and as they will be, and what organs gained or lost."""
    total = Mask.empty(now.geometry.shape)
    for old, new, kind in _changed(now, then):
        total = total | (old | new if kind is Kind.finding else (old - new) | (new - old))
    return total


def _changed(now: Parse, then: Parse) -> Iterator[tuple[Mask, Mask, Kind]]:
    nothing = Mask.empty(now.geometry.shape)
    for id in _changed_ids(now, then):
        kind = (now if id in now else then).entity(id).kind
        yield now.masks.get(id, nothing), then.masks.get(id, nothing), kind
