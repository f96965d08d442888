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
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from synth.benchmark.controls import Image, fitted, mean_fills, mean_hu, nearest_patient, pooled, worse_parses
from synth.benchmark.looks import Look, look_of, lpips_of
from synth.benchmark.perceptual import Perceptual
from synth.benchmark.result import Row, bootstrap_interval
from synth.benchmark.subjects import ALONE, EVERY, EVERYTHING, Subject, Told
from synth.contracts import Render
from synth.decoder import DirectDecoder, LatentDecoder
from synth.decoder.declared import as_declared
from synth.distance import ENOUGH, clinical_distance
from synth.parse import Parse
from synth.pipeline.parallel import each

WINDOW_HU = (-1000.0, 1000.0)
SSIM_SIDE = 5  # voxels; seven, the usual, is 28 mm here
RESAMPLES = 500
FILL_NOISE_HU = 20.0
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


@dataclass(frozen=True, eq=False)
class Methods:
    """What draws the images: both decoders, and the patients that the fills and controls are made from.

    Attributes:
        subjects: all that are scored; training: candidates for the nearest patient, none to leave that method out.
        seed: of every draw; samples: of the latent decoder, for each thing that it is told.
    """

    direct: DirectDecoder
    latent: LatentDecoder
    subjects: Sequence[Subject]
    training: Sequence[Subject] = ()
    seed: int = 0
    samples: int = 1

    @cached_property
    def _means(self) -> Mapping[str, Mapping[str, float]]:
        """Mean HU of every patient's entities."""
        return {s.name: mean_hu(s) for s in self.subjects}

    def renders(self, subject: Subject) -> tuple[dict[tuple[str, Told], Image], dict[Told, list[Image]]]:
        """Every method's image of one patient, and further samples of `ours`."""
        renders = {("autoencoder", ALONE): self.latent.reconstruct(subject.image)}
        more: dict[Told, list[Image]] = {}
        for told in EVERY:
            drawn = _drawn(self.latent, subject.told(told), self.seed, self.samples)
            renders |= {("ours", told): drawn.images[0], ("ours_mean", told): _located(drawn)}
            renders["direct", told] = _located(_drawn(self.direct, subject.told(told), self.seed))
            more[told] = list(drawn.images[1:])
        renders |= {(name, EVERYTHING): image for name, image in self._variants(subject)}
        renders |= self._fills(subject)
        if self.training:
            renders["nearest_patient", ALONE] = nearest_patient(subject, self.training)
        return renders, more

    def _variants(self, subject: Subject) -> Iterator[tuple[str, Image]]:
        """The latent decoder in other ways, and from worse parses."""
        everything = subject.told(EVERYTHING)
        plain = _drawn(self.latent.with_sampling(declared=False), everything, self.seed)
        yield "ours_undeclared", plain.images[0]
        yield "ours_mean_undeclared", _located(plain)
        various = self.latent.with_sampling(temperature=1.0, location=False)
        yield "ours_temperature_1", _drawn(various, everything, self.seed).images[0]
        rng = np.random.default_rng([self.seed, *subject.name.encode()])
        for name, parse in worse_parses(subject, self.subjects, rng):
            yield name, fitted(_drawn(self.latent, parse, self.seed).images[0], subject.image.shape)

    def _fills(self, subject: Subject) -> dict[tuple[str, Told], Image]:
        """The mean fill, and the fill with noise brought to what is declared."""
        usual = pooled([means for name, means in self._means.items() if name != subject.name])
        fills = dict(mean_fills(subject, self._means[subject.name], usual))
        if ("mean_fill", EVERYTHING) in fills:
            noise = np.random.default_rng(self.seed).normal(0, FILL_NOISE_HU, subject.image.shape).astype(np.float32)
            noisy = fills["mean_fill", EVERYTHING] + noise
            fills["mean_fill_declared", EVERYTHING] = as_declared(noisy, subject.told(EVERYTHING))
        return fills


def _drawn(decoder: DirectDecoder | LatentDecoder, parse: Parse, seed: int, n: int = 1) -> Render:
    return decoder.render(parse, n=n, generator=torch.Generator().manual_seed(seed))


def _located(drawn: Render) -> Image:
    assert drawn.location is not None  # both decoders always have one
    return drawn.location


def score_subjects(
    methods: Methods,
    *,
    perceptual: Perceptual | None = None,
    workers: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Score], list[Look]]:
    """Render every subject with every method and measure; looks need `perceptual`."""

    def one(subject: Subject) -> tuple[list[Score], list[Look]]:
        renders, more = methods.renders(subject)
        scores = [s for (method, told), render in renders.items() for s in measure(subject, method, told, render)]
        for told, others in more.items():
            scores += _of_samples(subject, told, [renders["ours", told], *others])
        if perceptual is None:
            return scores, []
        looks = [Look(subject.name, "image", ALONE, look_of(subject, None, perceptual))]
        for (method, told), render in renders.items():
            scores.append(Score(subject.name, method, told, "lpips", lpips_of(subject, render, perceptual)))
            looks.append(Look(subject.name, method, told, look_of(subject, render, perceptual)))
        return scores, looks

    scores: list[Score] = []
    looks: list[Look] = []
    for found, seen in each(one, methods.subjects, workers):
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
