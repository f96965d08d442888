"""Sampled patients with lesions of three sizes and an organ taken out, cut to the upper abdomen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from synth.parse import Kind, Parse, Presence
from synth.phantom.make import Phantom, make
from synth.phantom.spec import REMOVABLE, LesionSpec, PhantomSpec, sample_spec
from synth.volume import Slices3

LESIONS_MM: Mapping[str, tuple[float, float]] = {
    "12-16 mm": (12.0, 16.0),
    "16-24 mm": (16.0, 24.0),
    "24-36 mm": (24.0, 36.0),
}
LIVER_LESIONS = ("liver_cyst", "metastasis", "hepatocellular_carcinoma", "liver_hemangioma")
ASKED = 1.1  # of a diameter: a lesion is an ellipsoid with that as its longest axis, and its organ may cut it
HEIGHT_MM = 128.0  # of the slab: most of the liver and of the kidneys


def spec_with_lesions(seed: int, rng: np.random.Generator) -> PhantomSpec:
    """A sampled patient without one organ, with a lesion of each size in the liver or in a kidney that is left."""
    gone = str(rng.choice(REMOVABLE))
    kidneys = [k for k in ("kidney_left", "kidney_right") if k != gone]
    lesions = []
    for low, high in LESIONS_MM.values():
        kidney = str(rng.choice(kidneys))
        in_kidney = rng.random() < 0.25
        name = kidney.replace("kidney", "kidney_cyst") if in_kidney else str(rng.choice(LIVER_LESIONS))
        lesions.append(LesionSpec(name, kidney if in_kidney else "liver", float(rng.uniform(low, high)) * ASKED))
    return replace(sample_spec(seed), field_of_view="abdomen", absent=(gone,), lesions=tuple(lesions))


def make_with_lesions(seed: int, *, spacing_mm: float = 4.0) -> Phantom:
    """Patient `seed` of `spec_with_lesions`, cut to the slab; the same seed gives the same voxels.

    Example:
        >>> phantom = make_with_lesions(3, spacing_mm=8.0)
        >>> any(phantom.parse.entity(i).kind is Kind.finding for i in phantom.parse.present_ids)
        True
    """
    spec = spec_with_lesions(seed, np.random.default_rng([seed, 95]))
    made = make(seed, spec=spec, spacing_mm=(spacing_mm,) * 3)
    box = slab(made.parse)
    image, parse = made.image.cropped(box), within(made.parse, box)
    return replace(made, image=image, parse=parse.of_image(image))


def slab(parse: Parse) -> Slices3:
    """The body from side to side, `HEIGHT_MM` high around kidneys, spleen and lesions."""
    around = [i for i in ("kidney_left", "kidney_right", "spleen") if i in parse.masks]
    around += [i for i in parse.present_ids if parse.entity(i).kind is Kind.finding]
    middle = float(np.mean([parse.masks[i].centroid_voxel()[2] for i in around]))
    size = parse.geometry.shape[2]
    count = min(size, round(HEIGHT_MM / parse.geometry.spacing_mm[2]))
    low = max(0, min(round(middle) - count // 2, size - count))
    x, y, _ = parse.masks["body"].slices
    return x, y, slice(low, low + count)


def within(parse: Parse, box: Slices3) -> Parse:
    """The parse of the slab, without what lies outside and without segments of organs: no image shows those."""
    cut = parse.cropped(box)
    gone = [e.id for e in cut.entities if e.presence is Presence.not_assessed or e.kind is Kind.substructure]
    return cut.without(*gone)
