"""The patients of the verdicts benchmark: phantoms that no training drew, cut to the upper abdomen, outlines jittered.

Each has one organ removed, three lesions of different sizes, and a parse that is true of it but for the jitter of every
outline. With `unseen`, from a generator setting that lies outside of everything `sample_spec` draws:

    noise 21-26 HU (2.5-20 seen), kernel 1.8-2.3 mm (0.6-1.6 seen), phase arterial or delayed in three to one (one to
    one and a half seen, beside two other phases), height 1.13-1.17 and width 1.19-1.23 (up to 1.12 and 1.18 seen), fat
    49-58 mm (up to 48 seen), and in every lesion a grain of 20 HU and 6 mm (5 HU at 9 and 22 mm seen)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from synth.fault import jitter, smooth_noise
from synth.parse import Entity, Kind, Parse, Presence
from synth.phantom import LesionSpec, PhantomSpec, make, sample_spec
from synth.phantom.spec import REMOVABLE
from synth.residual.verdict import MIN_VOXELS
from synth.volume import Mask, Slices3, Volume

FIRST_SEED, SEEDS = 95_000, 5_000  # below them trainings and other benchmarks draw
LESIONS_MM: Mapping[str, tuple[float, float]] = {
    "12-16 mm": (12.0, 16.0),
    "16-24 mm": (16.0, 24.0),
    "24-36 mm": (24.0, 36.0),
}
LIVER_LESIONS = ("liver_cyst", "metastasis", "hepatocellular_carcinoma", "liver_hemangioma")
ASKED = 1.1  # of a diameter: a lesion is an ellipsoid with that as its longest axis, and its organ may cut it
HEIGHT_MM = 128.0  # of the slab: most of the liver and of the kidneys
UNSEEN_GRAIN_HU, UNSEEN_GRAIN_MM = 20.0, 6.0


@dataclass(frozen=True, eq=False)
class Truth:
    """A patient and what is true of it.

    Attributes:
        image: the CT; outlines: the true parse with exact masks; parse: the same, every mask jittered.
        removed: the organ that is not there, and where it was; None where that is out of view.
        lesions: the size of a lesion (a key of `LESIONS_MM`) -> its id, of those that are whole and can be judged.
    """

    seed: int
    image: Volume
    outlines: Parse
    parse: Parse
    removed: tuple[Entity, Mask] | None
    lesions: Mapping[str, str]


def draw_truth(seed: int, *, spacing_mm: float = 4.0, unseen: bool = False) -> Truth:
    """Patient `seed`: the same seed and setting, the same voxels and outlines."""
    rng = np.random.default_rng([seed, 95])
    spec = draw_spec(seed, rng, unseen=unseen)
    spacing = (spacing_mm,) * 3
    whole = make(seed, spec=replace(spec, absent=()), spacing_mm=spacing)
    made = make(seed, spec=spec, spacing_mm=spacing)
    box = slab(made.parse)
    outlines = _within(made.parse, box)
    image = made.image.cropped(box)
    if unseen:
        image = _grained(image, outlines, rng)
    outlines = outlines.replace(circumstance=outlines.circumstance.changed(image_sha256=image.sha256()))
    masks = {i: jitter(mask, outlines.geometry, rng) for i, mask in outlines.masks.items()}
    removed, lesions = _removed(whole.parse, spec, box, rng), _sizes(made.parse, outlines)
    return Truth(seed, image, outlines, outlines.replace(masks=masks), removed, lesions)


def draw_spec(seed: int, rng: np.random.Generator, *, unseen: bool = False) -> PhantomSpec:
    """A sampled patient without one organ, with a lesion of each size in the liver or in a kidney that is left."""
    gone = str(rng.choice(REMOVABLE))
    kidneys = [k for k in ("kidney_left", "kidney_right") if k != gone]
    lesions = []
    for low, high in LESIONS_MM.values():
        kidney = str(rng.choice(kidneys))
        in_kidney = rng.random() < 0.25
        name = kidney.replace("kidney", "kidney_cyst") if in_kidney else str(rng.choice(LIVER_LESIONS))
        lesions.append(LesionSpec(name, kidney if in_kidney else "liver", float(rng.uniform(low, high)) * ASKED))
    spec = replace(sample_spec(seed), field_of_view="abdomen", absent=(gone,), lesions=tuple(lesions))
    return _unseen(spec, rng) if unseen else spec


def _unseen(spec: PhantomSpec, rng: np.random.Generator) -> PhantomSpec:
    phase = "arterial" if rng.random() < 0.75 else "delayed"
    return replace(
        spec,
        height=float(rng.uniform(1.13, 1.17)),
        width=float(rng.uniform(1.19, 1.23)),
        fat_mm=float(rng.uniform(49, 58)),
        phase=phase,
        phases=(phase,),
        noise_hu=float(rng.uniform(21, 26)),
        kernel_mm=float(rng.uniform(1.8, 2.3)),
    )


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


def _within(parse: Parse, box: Slices3) -> Parse:
    """The parse of the slab, without what lies outside and without segments of organs: no image shows those."""
    cut = parse.cropped(box)
    gone = [e.id for e in cut.entities if e.presence is Presence.not_assessed or e.kind is Kind.substructure]
    return cut.without(*gone)


def _grained(image: Volume, parse: Parse, rng: np.random.Generator) -> Volume:
    array = image.array.copy()
    for id in parse.present_ids:
        if parse.entity(id).kind is not Kind.finding:
            continue
        mask = parse.masks[id]
        grain = smooth_noise(mask.box.shape, image.geometry.spacing_mm, UNSEEN_GRAIN_MM, rng)
        array[mask.slices][mask.box] += np.rint(UNSEEN_GRAIN_HU * grain[mask.box])
    return image.with_array(array)


def _removed(whole: Parse, spec: PhantomSpec, box: Slices3, rng: np.random.Generator) -> tuple[Entity, Mask] | None:
    (gone,) = spec.absent
    if gone not in whole.masks:
        return None
    mask = whole.masks[gone].cropped(box)
    if mask.voxels < MIN_VOXELS:
        return None
    drawn = jitter(mask, whole.geometry.cropped(box), rng)
    return Entity(id=gone, name=gone, truncated=drawn.touches_border), drawn


def _sizes(whole: Parse, cut: Parse) -> dict[str, str]:
    """Lesions by the diameter of the sphere of their volume; those that the slab cuts, or of no size here, are not."""
    found: dict[str, str] = {}
    for id in cut.present_ids:
        if cut.entity(id).kind is Kind.finding and cut.masks[id].voxels == whole.masks[id].voxels >= MIN_VOXELS:
            diameter = (6000.0 * cut.masks[id].volume_ml(cut.geometry) / np.pi) ** (1 / 3)
            sizes = [size for size, (low, high) in LESIONS_MM.items() if low <= diameter < high]
            found = {**dict.fromkeys(sizes, id), **found}
    return found
