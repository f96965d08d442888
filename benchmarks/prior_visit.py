"""What a prior visit finds that the present parse leaves out, and what it brings up that is no longer there.

    python benchmarks/prior_visit.py DATA [--phantoms 16] [--organs 4] [--real 3] [--tier 1]

DATA is the folder that holds totalsegmentator. Phantoms: one patient is drawn twice, outlines jittered anew. The first
visit is turned by up to 3 degrees and shifted by 3 to 8 mm, every mask moved once more by up to 4 mm by itself, with
noise of its own. Lesions are left out of the second parse one at a time (`found`), and organs of the first `--organs`
patients. The last lesion is drawn away from the second image, and an organ that this image lacks is drawn in the first
(`false`). The real CT of the trunk is both visits, the second turned by 3 degrees, shifted by 6 mm and with 8 HU of
noise; organs are left out one at a time, and drawn 40 mm off where nothing of them is (`false`).

`ours` registers the images, `organs` has no image of the first visit. `blind` is the search without a prior visit, of
one lesion of each patient; a region counts with a Dice of 0.2, or with half of it on the place. `usual_bed` looks for
organs declared absent without one. Shares with 95% Wilson intervals. Writes prior-visit.json, after each patient.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from synth.benchmark.result import BenchmarkResult, Row
from synth.benchmark.verdict_phantoms import draw_spec, slab
from synth.decoder import load_decoder
from synth.fault import jittered
from synth.interop import import_labels
from synth.parse import Entity, Kind, Parse, Presence
from synth.phantom import Phantom, make
from synth.pipeline.audit import shipped_model
from synth.pipeline.audit_absences import search_absent
from synth.pipeline.audit_prior_visit import search_prior_visit
from synth.pipeline.audit_search import search_regions
from synth.pipeline.prior_alignment import PlacedPrior, PriorVisit, place_prior
from synth.pipeline.tiers import Tier, tiers_of
from synth.population import Population
from synth.residual.findings import PriorOutcome, PriorTried, Verdict
from synth.residual.held_out import render_held_out
from synth.residual.prior_visit import expected
from synth.residual.verdict import MIN_VOXELS
from synth.volume import Geometry, Mask, Volume, read_volume, resample, resample_mask, write_bytes
from synth.volume.tissue import body_mask

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 99_500
SPACING_MM, ALPHA = 4.0, 0.1
ORGANS = ("spleen", "kidney_left", "kidney_right", "gallbladder", "pancreas", "stomach", "liver", "aorta")
DENIED = ("spleen", "kidney_left", "kidney_right", "gallbladder")
Z = 1.96
Trials = dict[tuple[str, str, str, str], list[float]]  # arena, family, method, metric -> outcomes


@dataclass(frozen=True, eq=False)
class Visit:
    """An image and its parse on the audit's grid, and the exact outlines."""

    image: Volume
    parse: Parse
    outlines: Parse


class Asker:
    """What every question needs, and where the answers go."""

    def __init__(self, tier: int) -> None:
        self.decoder = load_decoder("fused" if tier > 1 else "direct")
        self.model, self.population = shipped_model(), Population.load()
        self.trials: Trials = {}

    def on(self, image: Volume) -> Tier:
        """The tier that is asked, with an image."""
        return tiers_of(self.decoder, image, self.model, None)[-1]

    def tell(self, arena: str, family: str, method: str, metric: str, value: float) -> None:
        """Keep an outcome."""
        self.trials.setdefault((arena, family, method, metric), []).append(float(value))

    def recalled(self, tier: Tier, image: Volume, parse: Parse, placed: PlacedPrior, id: str) -> PriorTried | None:
        """What becomes of an entity of the prior visit; None where the parse speaks of it."""
        told = expected(placed.parse, placed.visit.parse, parse, self.decoder.vocabulary).left_out
        only = [r for r in told if r.entity.id == id]
        found = search_prior_visit(tier, parse, only, self.model, image=image, alpha=ALPHA, seed=0).tried
        sys.stderr.write(f"  {id}: {[(t.outcome.value, t.score, t.p_value, t.reason) for t in found]}\n")
        return found[0] if found else None

    def denied(self, tier: Tier, image: Volume, parse: Parse, beds: Mapping[str, Mask] | None, id: str) -> bool:
        """Whether an organ declared absent is called missing."""
        told = search_absent(tier, parse, self.model.prior, self.population, beds, image=image, seed=0)
        return any(r.finding.verdict is Verdict.missing and r.finding.denies == id for r in told.regions)

    def blind(self, tier: Tier, image: Volume, parse: Parse, place: Mask) -> bool:
        """Whether the search without a prior visit brings up a region there, beyond chance."""
        generator = torch.Generator().manual_seed(0)
        held = render_held_out(tier.decoder, tier.encoded, parse, body_mask(image), generator=generator)
        found = search_regions(tier, parse, held, self.model.prior, image=image, alpha=ALPHA, seed=0)
        masks = [r.mask for r in found if r.finding.verdict is Verdict.missing]
        return any(m.dice(place) >= 0.2 or m.overlap(place) >= 0.5 * m.voxels for m in masks)


def phantom(asker: Asker, seed: int, with_organs: bool) -> None:
    """One patient, all questions about its lesions, and those about its organs where they are asked for."""
    now, gone, before = visits(seed, np.random.default_rng([seed, 22]))
    ways = placed_both(asker, "phantoms", now, before)
    tier, without = asker.on(now.image), asker.on(gone.image)
    lesions = [e.id for e in now.parse.entities if e.kind is Kind.finding]
    for method, placed in ways.items():
        for id in (i for i in lesions if now.parse.masks[i].voxels >= MIN_VOXELS):
            called = asker.recalled(tier, now.image, now.parse.without(id), placed, id)
            asker.tell("phantoms", "lesion left out", method, "found", _missing(called))
        for id in (i for i in lesions if i not in gone.parse):
            called = asker.recalled(without, gone.image, gone.parse, placed, id)
            asker.tell("phantoms", "lesion gone", method, "false", _missing(called))
    last = lesions[-1]
    found = asker.blind(tier, now.image, now.parse.without(last), now.outlines.masks[last])
    asker.tell("phantoms", "lesion left out", "blind", "found", found)
    if with_organs:
        organs(asker, "phantoms", tier, now, ways["ours"])


def _missing(tried: PriorTried | None) -> bool:
    return tried is not None and tried.outcome is PriorOutcome.missing


def placed_both(asker: Asker, arena: str, now: Visit, before: Visit) -> dict[str, PlacedPrior]:
    """The prior visit by its image, and without it."""
    visits = {"ours": PriorVisit(before.parse, before.image), "organs": PriorVisit(before.parse)}
    placed = {method: place_prior(visit, now.image, now.parse) for method, visit in visits.items()}
    for method, each in placed.items():
        asker.tell(arena, "alignment", method, "dice", each.median_dice)
    return placed


def organs(asker: Asker, arena: str, tier: Tier, now: Visit, placed: PlacedPrior) -> None:
    """Organs that are there, left out or denied; organs that are not, not spoken of or denied with reason."""
    for id in (i for i in ORGANS if i in placed.parse.masks):
        there = id in now.parse.masks
        metric = "found" if there else "false"
        silent = now.parse.without(id) if id in now.parse else now.parse
        called = asker.recalled(tier, now.image, silent, placed, id)
        asker.tell(arena, "organ left out" if there else "organ gone", "ours", metric, _missing(called))
        if id not in DENIED:
            continue
        denied = silent.with_entity(Entity(id=id, name=id, presence=Presence.absent))
        family = "organ denied" if there else "organ absent"
        for method, beds in (("ours", {id: placed.parse.masks[id]}), ("usual_bed", None)):
            asker.tell(arena, family, method, metric, asker.denied(tier, now.image, denied, beds, id))


def real(asker: Asker, data: Path, draw: int) -> None:
    """The real CT as both visits; every organ left out, denied, and drawn 40 mm off."""
    rng = np.random.default_rng([draw, 23])
    folder = data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz", modality="CT")
    labels = folder / "example_seg_fast_force_split.nii.gz"
    parse = import_labels(labels, source="totalsegmentator", image=image, derive=False).without_derived()
    grid = image.geometry.with_spacing(SPACING_MM)
    moved, exact = carried(noisy(image, 8.0, rng), parse, motion(image.geometry, rng, (3.0, 3.0), (6.0, 6.0)))
    exact = exact.resampled(grid)
    now = Visit(resample(moved, grid), jittered(exact, rng), exact)
    then = parse.resampled(grid)
    before = Visit(resample(image, grid), jittered(then, rng), then)
    placed = placed_both(asker, "real", now, before)["ours"]
    tier = asker.on(now.image)
    organs(asker, "real", tier, now, placed)
    for id in (i for i in ORGANS if {i} <= now.parse.masks.keys() & placed.parse.masks.keys()):
        drawn = (shifted(placed.parse.masks[id], placed.parse.geometry, 40.0, rng) for _ in range(20))
        off = next((m for m in drawn if not m.is_empty and m.dice(exact.masks[id]) < 0.05), None)
        if off is None:
            continue  # it is too large to be drawn where nothing of it is
        wrong = replace(placed, parse=placed.parse.with_mask(id, off))
        called = asker.recalled(tier, now.image, now.parse.without(id), wrong, id)
        if called is not None and called.score is not None:
            asker.tell("real", "organ drawn 40 mm off", "ours", "false", _missing(called))


def visits(seed: int, rng: np.random.Generator) -> tuple[Visit, Visit, Visit]:
    """The present visit, the same without its last lesion, and the prior one, on the same grid."""
    spec = draw_spec(seed, rng)
    spec = replace(spec, lesions=tuple(spec.lesions[i] for i in rng.permutation(len(spec.lesions))))
    spacing = (SPACING_MM,) * 3
    now = make(seed, spec=spec, spacing_mm=spacing)
    gone = make(seed, spec=replace(spec, lesions=spec.lesions[:-1]), spacing_mm=spacing)
    whole = make(seed, spec=replace(spec, absent=()), spacing_mm=spacing)
    box = slab(now.parse)
    seen, vanished, entire = (_cut(made, box) for made in (now, gone, whole))
    (removed,) = spec.absent
    drawn = seen.outlines.without(*[e.id for e in seen.outlines.by_name(removed)])
    if removed in entire.outlines.masks:
        drawn = drawn.with_entity(Entity(id=removed, name=removed), entire.outlines.masks[removed])
    silent = [e.id for e in seen.outlines.by_name(removed)]
    image, prior = carried(
        noisy(seen.image, 8.0, rng), jittered(drawn, rng), motion(seen.image.geometry, rng, (0.0, 3.0), (3.0, 8.0))
    )
    masks = {i: shifted(m, prior.geometry, float(rng.uniform(0, 4)), rng) for i, m in prior.masks.items()}
    prior = prior.replace(masks={i: m if not m.is_empty else prior.masks[i] for i, m in masks.items()})
    present = Visit(seen.image, jittered(seen.outlines.without(*silent), rng), seen.outlines)
    later = Visit(vanished.image, jittered(vanished.outlines.without(*silent), rng), vanished.outlines)
    return present, later, Visit(image, prior, drawn)


def _cut(made: Phantom, box: tuple[slice, slice, slice]) -> Visit:
    parse = made.parse.cropped(box).without_derived()
    outside = [e.id for e in parse.entities if e.presence is Presence.not_assessed or e.kind is Kind.substructure]
    image = made.image.cropped(box)
    parse = parse.without(*outside).replace(circumstance=parse.circumstance.changed(image_sha256=None))
    return Visit(image, parse, parse)


def noisy(image: Volume, hu: float, rng: np.random.Generator) -> Volume:
    """The image with smooth noise of its own."""
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), 0.6)
    return image.with_array((image.array + hu * noise / noise.std()).astype(np.float32))


def motion(
    grid: Geometry, rng: np.random.Generator, degrees: tuple[float, float], mm: tuple[float, float]
) -> np.ndarray:
    """(4, 4) a turn about the middle and a shift, of sizes between these bounds, about and along random axes."""
    axis, shift = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(axis * rng.uniform(*degrees), degrees=True).as_matrix()
    middle = grid.world((np.array(grid.shape) - 1) / 2)
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + shift * rng.uniform(*mm)
    return matrix


def carried(image: Volume, parse: Parse, matrix: np.ndarray) -> tuple[Volume, Parse]:
    """Image and parse after a motion, on the same grid."""
    there = Geometry(image.shape, matrix @ image.geometry.affine)
    moved = resample(Volume(image.array, there, image.modality, image.unit), image.geometry)
    return moved, parse.replace(geometry=there).resampled(image.geometry)


def shifted(mask: Mask, grid: Geometry, mm: float, rng: np.random.Generator) -> Mask:
    """A mask by so many mm in a random direction."""
    way = rng.standard_normal(3)
    matrix = np.eye(4)
    matrix[:3, 3] = way * mm / np.linalg.norm(way)
    return resample_mask(mask, Geometry(grid.shape, matrix @ grid.affine), grid)


def rows(trials: Trials) -> Iterator[Row]:
    """Shares with Wilson intervals, means with normal ones."""
    for (arena, family, method, metric), values in sorted(trials.items()):
        n, mean = len(values), float(np.mean(values))
        if metric == "dice":
            half = Z * float(np.std(values)) / max(n, 1) ** 0.5
            low, high = mean - half, mean + half
        else:
            middle, half = mean + Z**2 / (2 * n), Z * (mean * (1 - mean) / n + Z**2 / (4 * n**2)) ** 0.5
            low, high = (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)
        yield Row({"arena": arena, "family": family}, method, metric, mean, low, high, n)


def main(data: Path, phantoms: int, organs_of: int, draws: int, tier: int) -> None:
    """Patient by patient, the file after each: of a run that is stopped it holds what it names."""
    started = time.monotonic()
    asker = Asker(tier)
    for number in range(1, draws + 1):
        real(asker, data, number - 1)
        save(asker, time.monotonic() - started, 0, 0, number, tier)
    for number in range(1, phantoms + 1):
        phantom(asker, FIRST_PHANTOM + number - 1, number <= organs_of)
        save(asker, time.monotonic() - started, number, min(number, organs_of), draws, tier)


def save(asker: Asker, seconds: float, phantoms: int, organs_of: int, draws: int, tier: int) -> None:
    """What there is by now, under the command that makes it."""
    told = f"--phantoms {phantoms} --organs {organs_of} --real {draws} --tier {tier}"
    weights = {"population": asker.population.sha256, asker.decoder.name: asker.decoder.weights_sha256}
    result = BenchmarkResult(
        "prior_visit", f"python benchmarks/prior_visit.py DATA {told}", weights, seconds, tuple(rows(asker.trials))
    )
    write_bytes(HERE / "prior-visit.json", (json.dumps(result.to_json(), indent=1) + "\n").encode())
    sys.stderr.write(f"{told}: {seconds:.0f} s\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=16)
    parser.add_argument("--organs", type=int, default=4)
    parser.add_argument("--real", type=int, default=3)
    parser.add_argument("--tier", type=int, default=1, choices=(1, 2))
    given = parser.parse_args()
    main(given.data, given.phantoms, given.organs, given.real, given.tier)
