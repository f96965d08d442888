"""The reconstruction benchmark: how near a render comes to the image, from the parse alone.

Methods in one table: `ours` (a sample of the latent decoder), `ours_mean` (the mean of its samples), `direct` (the
direct decoder's location), `autoencoder` (the ceiling of every latent render), `mean_fill` (each mask filled with one
HU, the rest of the body with another), and `nearest_patient` (the CT of the training patient whose organ masks agree
best, once the centres of the organs are laid on each other). Controls, with everything told: `ours_no_relations`,
`ours_shuffled` (the measured values dealt out anew among the entities), and `ours_other` (another patient's parse);
`ours_undeclared` and `ours_mean_undeclared` are what the network draws before it is brought to the declared values
(`synth.decoder.declared`), `ours_temperature_1` begins with noise at full strength, and `mean_fill_declared` is the
mean fill with white noise, brought to them in the same way.

LPIPS is taken over the box of the body in the soft-tissue window; the Fréchet distance compares the slices of all
renders of a method with those of all images (`real`: one half of the images with the other). Of several samples, the
distance is the mean and `d_clin_worst` that of the farthest.

The group says what all methods were told: `tissue`, whether body, fat, bone and air were entities of the parse, and
`attributes`, whether the parse held each entity's appearance as measured in the image. Without it the mean fill takes
the mean HU that the entity has in the other patients. `terms` says which terms of the clinical distance count: `all`,
or those that were `not_told`: neither measured values of the parse nor, as the histogram, near to following from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from synth.benchmark.perceptual import Perceptual, frechet
from synth.benchmark.result import Row, bootstrap_interval
from synth.conditioning import paste
from synth.decoder import DirectDecoder, LatentDecoder
from synth.decoder.declared import as_declared
from synth.decoder.intensity import AIR_HU
from synth.distance import ENOUGH, clinical_distance
from synth.interop import with_tissues
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse
from synth.parse.derive import derive_appearance
from synth.phantom import make, sample_spec
from synth.pipeline.parallel import each
from synth.volume import Geometry, Mask, Volume
from synth.volume.tissue import body_mask

WINDOW_HU = (-1000.0, 1000.0)
SSIM_SIDE = 5  # voxels; seven, the usual, is 28 mm here
RESAMPLES = 500
LOOK_HU = (-200.0, 300.0)
HALVES = 20
FIRST_PHANTOM = 40_000
FILL_NOISE_HU = 20.0
REST = "rest of the body"
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Subject:
    """A patient on the decoder's grid.

    Attributes:
        parse: of the organs, nothing measured; with_tissue: the same and the tissue entities; body: the patient.
    """

    name: str
    image: Volume
    parse: Parse
    with_tissue: Parse
    body: Mask

    def told(self, told: Told) -> Parse:
        """The parse that the methods are given."""
        parse = self.parse if told.tissue == "none" else self.with_tissue
        return parse if told.attributes == "none" else derive_appearance(parse, self.image)


class Told(NamedTuple):
    """What the methods are told: `tissue` "none" or "all", `attributes` "none" or "measured"."""

    tissue: str
    attributes: str


EVERY = (Told("none", "none"), Told("all", "none"), Told("all", "measured"))
ALONE = Told("none", "none")  # methods that do not look at the parse, or at its masks only
EVERYTHING = Told("all", "measured")
MEASURED_TERMS = ("mean_attenuation", "histogram", "texture", "edge_sharpness")  # of d_clin, and told


@dataclass(frozen=True)
class Score:
    """One number about one patient."""

    patient: str
    method: str
    told: Told
    metric: str
    value: float
    organ: str = "all"
    terms: str = "all"


def read_subjects(folder: Path, spacing_mm: float, limit: int | None = None) -> list[Subject]:
    """All patients of a folder laid out like OpenKBP, resampled."""
    subjects = []
    for case in patient_folders(folder)[:limit]:
        patient = read_patient(case).resampled(spacing_mm)
        image, parse = patient.image, patient.parse
        subjects.append(Subject(patient.name, image, parse, with_tissues(parse, image), body_mask(image)))
    return subjects


def read_phantoms(spacing_mm: float, count: int) -> list[Subject]:
    """Phantoms of the abdomen that no training drew, with their lesions and what is declared of them."""
    subjects = []
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + count):
        spec = replace(sample_spec(seed), field_of_view="abdomen")
        made = make(seed, spec=spec, spacing_mm=(spacing_mm,) * 3)
        parse = made.parse.without_derived()
        name, body = f"phantom {seed}", body_mask(made.image)
        subjects.append(Subject(name, made.image, parse, with_tissues(parse, made.image), body))
    return subjects


@dataclass(frozen=True, eq=False)
class Look:
    """Features of the slices of one image (n, D); `method` is "image" for the patient's own."""

    patient: str
    method: str
    told: Told
    features: NDArray[np.float32]


def cut(subject: Subject, side: int) -> Subject:
    """The cube of `side` voxels around the middle of the organs; air where the image is smaller."""
    ends = [subject.parse.masks[i].slices for i in subject.parse.present_ids]
    box = []
    for axis, size in enumerate(subject.image.shape):
        low, high = min(s[axis].start for s in ends), max(s[axis].stop for s in ends)
        start = max(0, min((low + high - side) // 2, size - side))
        box.append(slice(start, min(start + side, size)))
    slices = (box[0], box[1], box[2])
    image = padded(subject.image.cropped(slices), side)
    parse = subject.parse.cropped(slices).resampled(image.geometry)
    return Subject(subject.name, image, parse, with_tissues(parse, image), body_mask(image))


def padded(image: Volume, side: int) -> Volume:
    """The image with air behind its last voxels, up to `side` each way."""
    array = np.full((side,) * 3, AIR_HU, np.float32)
    array[tuple(slice(0, n) for n in image.shape)] = image.array
    geometry = Geometry((side,) * 3, image.geometry.affine)
    return Volume(array, geometry, "CT", "HU")


def score_subjects(
    subjects: Sequence[Subject],
    training: Sequence[Subject],
    direct: DirectDecoder,
    latent: LatentDecoder,
    *,
    seed: int = 0,
    samples: int = 1,
    perceptual: Perceptual | None = None,
    workers: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Score], list[Look]]:
    """Render every subject with every method and measure; looks need `perceptual`."""
    means = {s.name: mean_hu(s) for s in subjects}

    def one(subject: Subject) -> tuple[list[Score], list[Look]]:
        usual = pooled([m for name, m in means.items() if name != subject.name])
        renders = dict(_fills(subject, means[subject.name], usual))
        more: dict[Told, NDArray[np.float32]] = {}
        renders["autoencoder", ALONE] = latent.reconstruct(subject.image)
        for told in EVERY:
            parse = subject.told(told)
            drawn = latent.render(parse, n=samples, generator=torch.Generator().manual_seed(seed))
            plain = direct.render(parse, generator=torch.Generator().manual_seed(seed))
            assert drawn.location is not None  # both decoders always have one
            assert plain.location is not None
            renders |= {("ours", told): drawn.images[0], ("ours_mean", told): drawn.location}
            more[told] = drawn.images[1:]
            renders["direct", told] = plain.location
        everything = subject.told(EVERYTHING)
        plainly = latent.with_sampling(declared=False)
        drawn = plainly.render(everything, generator=torch.Generator().manual_seed(seed))
        assert drawn.location is not None  # as above
        various = latent.with_sampling(temperature=1.0, location=False)
        sample = various.render(everything, generator=torch.Generator().manual_seed(seed))
        renders["ours_temperature_1", EVERYTHING] = sample.images[0]
        renders |= {
            ("ours_undeclared", EVERYTHING): drawn.images[0],
            ("ours_mean_undeclared", EVERYTHING): drawn.location,
        }
        if ("mean_fill", EVERYTHING) in renders:
            noise = np.random.default_rng(seed).normal(0, FILL_NOISE_HU, subject.image.shape).astype(np.float32)
            fill = as_declared(renders["mean_fill", EVERYTHING] + noise, everything)
            renders["mean_fill_declared", EVERYTHING] = fill
        for name, parse in _controls(subject, subjects, np.random.default_rng([seed, *subject.name.encode()])):
            drawn = latent.render(parse, generator=torch.Generator().manual_seed(seed))
            renders[name, EVERYTHING] = _fitted(drawn.images[0], subject.image.shape)
        if training:
            renders["nearest_patient", ALONE] = nearest_patient(subject, training)
        scores = [s for (method, told), render in renders.items() for s in measure(subject, method, told, render)]
        for told, others in more.items():
            scores += _of_samples(subject, told, [renders["ours", told], *others])
        looks = [] if perceptual is None else [Look(subject.name, "image", ALONE, _look(subject, None, perceptual))]
        for (method, told), render in renders.items():
            if perceptual is not None:
                scores.append(Score(subject.name, method, told, "lpips", _lpips(subject, render, perceptual)))
                looks.append(Look(subject.name, method, told, _look(subject, render, perceptual)))
        return scores, looks

    scores: list[Score] = []
    looks: list[Look] = []
    for found, seen in each(one, subjects, workers):
        scores += found
        looks += seen
        advance()
    return scores, looks


def _of_samples(subject: Subject, told: Told, samples: Sequence[Image]) -> Iterator[Score]:
    """The clinical distance of several samples: their mean, and the farthest of them."""
    if len(samples) < 2:
        return
    found = [clinical_distance(subject.image, subject.image.with_array(s), subject.parse) for s in samples]
    for terms, without in (("all", ()), ("not_told", MEASURED_TERMS)):
        values = [d.mean(without) for d in found]
        for metric, value in (("d_clin_samples", np.mean(values)), ("d_clin_worst", np.max(values))):
            yield Score(subject.name, "ours", told, metric, float(value), terms=terms)


def _seen(subject: Subject, array: Image | None) -> Image:
    """The box of the body through the soft-tissue window, 0 to 1; the patient's own image for None."""
    low, high = LOOK_HU
    shown = subject.image.array if array is None else array
    return np.asarray((np.clip(shown[subject.body.slices], low, high) - low) / (high - low), np.float32)


def _lpips(subject: Subject, render: Image, perceptual: Perceptual) -> float:
    return perceptual(_seen(subject, None), _seen(subject, render))


def _look(subject: Subject, render: Image | None, perceptual: Perceptual) -> NDArray[np.float32]:
    return perceptual.features(_seen(subject, render))


def frechet_rows(looks: Sequence[Look], *, arena: str = "openkbp", seed: int = 0) -> list[Row]:
    """One row a method, and the real images against each other, halved at random; nothing without two patients."""
    real = {look.patient: look.features for look in looks if look.method == "image"}
    if len(real) < 2:
        return []
    names, rng = sorted(real), np.random.default_rng(seed)
    halves = []
    for _ in range(HALVES):
        order = rng.permutation(names).tolist()
        cut = len(order) // 2
        halves.append(frechet(_joined(real, order[:cut]), _joined(real, order[cut:])))
    group = {"arena": arena, "organ": "all"}
    low, high = (float(q) for q in np.quantile(halves, (0.025, 0.975)))
    everyone = {**group, **ALONE._asdict()}
    rows = [Row(everyone, "real", "frechet", float(np.mean(halves)), low, high, len(names))]
    for method, told in sorted({(look.method, look.told) for look in looks if look.method != "image"}):
        own = {look.patient: look.features for look in looks if (look.method, look.told) == (method, told)}
        value = frechet(_joined(own, sorted(own)), _joined(real, sorted(own)))
        rows.append(Row(group | told._asdict(), method, "frechet", value, math.nan, math.nan, len(own)))
    return rows


def _joined(features: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> NDArray[np.float32]:
    return np.concatenate([features[name] for name in names])


def _controls(subject: Subject, subjects: Sequence[Subject], rng: np.random.Generator) -> Iterator[tuple[str, Parse]]:
    """Parses that should draw a worse image."""
    parse = subject.told(EVERYTHING)
    if parse.relations:
        yield "ours_no_relations", parse.replace(relations=())
    yield "ours_shuffled", shuffled(parse, rng)
    others = [s for s in subjects if s.name != subject.name]
    if others:
        yield "ours_other", others[int(rng.integers(len(others)))].told(EVERYTHING)


def shuffled(parse: Parse, rng: np.random.Generator) -> Parse:
    """Every numeric attribute keeps its entity and type and gets the value of another entity."""
    values: dict[str, list[float]] = {}
    for a in parse.attributes:
        if isinstance(a.value, float):
            values.setdefault(a.type, []).append(a.value)
    dealt = {kind: iter(rng.permutation(some).tolist()) for kind, some in values.items()}
    attributes = [
        a.model_copy(update={"value": next(dealt[a.type])}) if isinstance(a.value, float) else a
        for a in parse.attributes
    ]
    return parse.replace(attributes=attributes)


def _fitted(image: Image, shape: tuple[int, ...]) -> Image:
    """Cut or filled up with air, centre on centre."""
    out = np.full(shape, -1000.0, np.float32)
    _lay(image, np.array([(n - m) // 2 for n, m in zip(shape, image.shape, strict=True)]), out)
    return out


def _fills(
    subject: Subject, own: Mapping[str, float], usual: Mapping[str, float]
) -> Iterator[tuple[tuple[str, Told], Image]]:
    """The mean fill told the truth, and the one told what is usual, where other patients have such entities."""
    for told in EVERY:
        means = own if told.attributes == "measured" else usual
        parse = subject.told(Told(told.tissue, "none"))
        if all(name in means for name in (REST, *_names(parse))):
            yield ("mean_fill", told), mean_fill(parse, means)


def measure(subject: Subject, method: str, told: Told, render: Image) -> list[Score]:
    """In the window -1000..1000 HU, PSNR over the body and SSIM over its box; mean-HU error per organ."""
    box = subject.body.slices
    truth, made = (np.clip(a[box], *WINDOW_HU) for a in (subject.image.array, render))
    width = WINDOW_HU[1] - WINDOW_HU[0]
    mse = float(((truth - made) ** 2)[subject.body.box].mean())
    side = min(SSIM_SIDE, min(truth.shape) - (min(truth.shape) + 1) % 2)
    ssim = float(structural_similarity(truth, made, data_range=width, win_size=side))
    scores = [
        Score(subject.name, method, told, "psnr", 10 * math.log10(width**2 / mse) if mse > 0 else math.inf),
        Score(subject.name, method, told, "ssim", ssim),
    ]
    for organ in subject.parse.present_ids:
        mask = subject.parse.masks[organ]
        error = abs(float(mask.values(render).mean() - mask.values(subject.image.array).mean()))
        scores.append(Score(subject.name, method, told, "mae", error, organ))
    distance = clinical_distance(subject.image, subject.image.with_array(render), subject.parse)
    for entity in distance.entities:
        for terms, without in (("all", ()), ("not_told", MEASURED_TERMS)):
            value = entity.value(without)
            scores.append(Score(subject.name, method, told, "d_clin", value, entity.entity_id, terms))
            within = float(value <= ENOUGH)
            scores.append(Score(subject.name, method, told, "d_clin_share", within, entity.entity_id, terms))
    return scores


def mean_hu(subject: Subject) -> dict[str, float]:
    """Mean HU of every organ and tissue by name, and of what no organ covers (`REST`: within the body)."""
    image = subject.image.array
    rest = subject.body.dense()
    for mask in subject.parse.masks.values():
        rest[mask.slices][mask.box] = False
    means = {REST: float(image[rest].mean())} if rest.any() else {}
    parse = subject.with_tissue
    return means | {parse.entity(i).name: float(parse.masks[i].values(image).mean()) for i in parse.present_ids}


def pooled(means: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over patients of each name that any of them has."""
    names = sorted({name for m in means for name in m})
    return {name: float(np.mean([m[name] for m in means if name in m])) for name in names}


def mean_fill(parse: Parse, means: Mapping[str, float]) -> Image:
    """Each mask filled with the mean HU of its name, smaller masks on larger ones.

    What no mask covers is the rest of the body, or air where the parse holds the body.
    """
    outside = -1000.0 if "body" in _names(parse) else means[REST]
    out = np.full(parse.geometry.shape, outside, np.float32)
    for entity in sorted(parse.present_ids, key=lambda i: -parse.masks[i].voxels):
        mask = parse.masks[entity]
        out[mask.slices][mask.box] = means[parse.entity(entity).name]
    return out


def _names(parse: Parse) -> list[str]:
    return [parse.entity(i).name for i in parse.present_ids]


def nearest_patient(subject: Subject, training: Sequence[Subject]) -> Image:
    """The CT of the training patient whose organs overlap best once the centres of the organs are laid on each other.

    An organ of the subject that the other patient lacks counts as no overlap.
    """
    best, score = None, -1.0
    for other in training:
        shared = [i for i in subject.parse.present_ids if i in other.parse.present_ids]
        if not shared:
            continue
        shift = np.rint(np.mean([_centre(subject, i) - _centre(other, i) for i in shared], axis=0)).astype(int)
        dice = sum(_dice(subject.parse.masks[i], other.parse.masks[i], shift) for i in shared)
        if dice > score:
            best, score = (other, shift), dice
    out = np.full(subject.image.shape, -1000.0, np.float32)
    if best is not None:
        _lay(best[0].image.array, best[1], out)
    return out


def rows_of(scores: Sequence[Score], *, arena: str = "openkbp", seed: int = 0) -> list[Row]:
    """Means over patients with 95% bootstrap intervals, per method and, for the mean HU, per organ and pooled."""
    rows = []
    keys = sorted({(s.method, s.told, s.metric, s.terms) for s in scores})
    for method, told, metric, terms in keys:
        chosen = [s for s in scores if (s.method, s.told, s.metric, s.terms) == (method, told, metric, terms)]
        organs = sorted({"all", *(s.organ for s in chosen)})
        for organ in organs:
            values = _per_patient([s for s in chosen if organ in ("all", s.organ)])
            interval = bootstrap_interval(list(values), np.mean, rng=np.random.default_rng(seed), draws=RESAMPLES)
            group = {"arena": arena, "organ": organ, **told._asdict()}
            if metric.startswith("d_clin"):
                group["terms"] = terms
            rows.append(Row(group, method, metric, float(values.mean()), interval.low, interval.high, len(values)))
    return rows


def _per_patient(scores: Sequence[Score]) -> NDArray[np.float64]:
    names = sorted({s.patient for s in scores})
    return np.array([np.mean([s.value for s in scores if s.patient == n]) for n in names])


def _centre(subject: Subject, organ: str) -> NDArray[np.float64]:
    return np.asarray(subject.parse.masks[organ].centroid_voxel())


def _dice(own: Mask, other: Mask, shift: NDArray[np.int64]) -> float:
    x, y, z = (slice(s.start + int(d), s.stop + int(d)) for s, d in zip(other.slices, shift, strict=True))
    under = np.zeros(other.box.shape, bool)
    paste(own, (x, y, z), under)
    return 2 * int(np.count_nonzero(under & other.box)) / (own.voxels + other.voxels)


def _lay(source: Image, shift: NDArray[np.int64], out: Image) -> None:
    """Copy `source` moved by `shift` voxels onto `out`, where both are."""
    into, take = [], []
    for size, step, room in zip(source.shape, shift, out.shape, strict=True):
        low, high = max(0, int(step)), min(room, size + int(step))
        into.append(slice(low, max(low, high)))
        take.append(slice(low - int(step), max(low, high) - int(step)))
    out[tuple(into)] = source[tuple(take)]
