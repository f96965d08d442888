"""The patients of the verdicts benchmark: phantoms that no training drew, cut to the upper abdomen, outlines jittered.

Each has one organ removed, three lesions of different sizes, and a parse that is true of it but for the jitter of every
outline. With `unseen`, from a generator setting that lies outside of everything `sample_spec` draws:

    noise 21-26 HU (2.5-20 seen), kernel 1.8-2.3 mm (0.6-1.6 seen), phase arterial or delayed in three to one (one to
    one and a half seen, beside two other phases), height 1.13-1.17 and width 1.19-1.23 (up to 1.12 and 1.18 seen), fat
    49-58 mm (up to 48 seen), and in every lesion a grain of 20 HU and 6 mm (5 HU at 9 and 22 mm seen)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synth.benchmark.verdict_truth import Truth
from synth.fault import jitter, jittered, smooth_noise
from synth.parse import Entity, Kind, Parse
from synth.phantom import PhantomSpec, make
from synth.phantom.patients import LESIONS_MM, slab, spec_with_lesions, within
from synth.residual.verdict import MIN_VOXELS
from synth.volume import Mask, Slices3, Volume

FIRST_SEED, SEEDS = 95_000, 5_000  # below them trainings and other benchmarks draw
UNSEEN_GRAIN_HU, UNSEEN_GRAIN_MM = 20.0, 6.0


def draw_truth(seed: int, *, spacing_mm: float = 4.0, unseen: bool = False, drawn: int = 0) -> Truth:
    """Patient `seed`: the same seed and setting, the same voxels and outlines, jittered in way `drawn`."""
    rng = np.random.default_rng([seed, 95])
    spec = draw_spec(seed, rng, unseen=unseen)
    spacing = (spacing_mm,) * 3
    whole = make(seed, spec=replace(spec, absent=()), spacing_mm=spacing)
    made = make(seed, spec=spec, spacing_mm=spacing)
    box = slab(made.parse)
    outlines = within(made.parse, box)
    image = made.image.cropped(box)
    if unseen:
        image = _grained(image, outlines, rng)
    outlines = outlines.of_image(image)
    parse = jittered(outlines, rng if drawn == 0 else np.random.default_rng([seed, 95, drawn]))
    removed, lesions = _removed(whole.parse, spec, box, rng), _sizes(made.parse, outlines)
    return Truth(f"phantom-{seed}", seed, image, outlines, parse, removed, lesions, drawn)


def draw_spec(seed: int, rng: np.random.Generator, *, unseen: bool = False) -> PhantomSpec:
    """The patient of `spec_with_lesions`, or one outside of everything that is sampled."""
    spec = spec_with_lesions(seed, rng)
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
