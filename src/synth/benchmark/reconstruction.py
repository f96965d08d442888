"""The reconstruction benchmark: how near a render comes to the image, from the parse alone.

Methods in one table: `ours` (latent decoder, from the parse), `direct` (the direct decoder's location), `autoencoder`
(the ceiling of every latent render), `mean_fill` (each mask filled with its own mean HU, the rest with the mean of the
rest of the body), and `nearest_patient` (the CT of the training patient whose organ masks agree best, once the centres
of the organs are laid on each other).
`tissue` in the group says whether body, fat, bone and air were entities of the parse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from synth.benchmark.result import Row, bootstrap_interval
from synth.conditioning import paste
from synth.decoder import DirectDecoder, LatentDecoder
from synth.interop import with_tissues
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse
from synth.volume import Mask, Volume, resample
from synth.volume.tissue import body_mask

WINDOW_HU = (-1000.0, 1000.0)
SSIM_SIDE = 5  # voxels; seven, the usual, is 28 mm here
RESAMPLES = 500
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Subject:
    """A patient on the decoder's grid: parse of the organs, the same with tissue entities, and the body."""

    name: str
    image: Volume
    parse: Parse
    with_tissue: Parse
    body: Mask


@dataclass(frozen=True)
class Score:
    """One number about one patient."""

    patient: str
    method: str
    tissue: str
    metric: str
    value: float
    organ: str = "all"


def read_subjects(folder: Path, spacing_mm: float, limit: int | None = None) -> list[Subject]:
    """All patients of a folder laid out like OpenKBP, resampled."""
    subjects = []
    for case in patient_folders(folder)[:limit]:
        patient = read_patient(case)
        grid = patient.image.geometry.with_spacing(spacing_mm)
        image = resample(patient.image, grid)
        parse = patient.parse.resampled(grid)
        subjects.append(Subject(patient.name, image, parse, with_tissues(parse, image), body_mask(image)))
    return subjects


def score_subjects(
    subjects: Sequence[Subject],
    training: Sequence[Subject],
    direct: DirectDecoder,
    latent: LatentDecoder,
    *,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[Score]:
    """Render every subject with every method and measure."""
    scores: list[Score] = []
    for subject in subjects:
        renders: dict[tuple[str, str], Image] = {
            ("autoencoder", "none"): latent.reconstruct(subject.image),
            ("mean_fill", "none"): mean_fill(subject.image.array, subject.parse, subject.body),
            ("mean_fill", "all"): mean_fill(subject.image.array, subject.with_tissue, subject.body),
        }
        for tissue, parse in (("none", subject.parse), ("all", subject.with_tissue)):
            generator = torch.Generator().manual_seed(seed)
            renders["ours", tissue] = latent.render(parse, generator=generator).images[0]
            location = direct.render(parse, generator=generator).location
            assert location is not None  # the direct decoder always has one
            renders["direct", tissue] = location
        if training:
            renders["nearest_patient", "none"] = nearest_patient(subject, training)
        for (method, tissue), render in renders.items():
            scores += measure(subject, method, tissue, render)
        advance()
    return scores


def measure(subject: Subject, method: str, tissue: str, render: Image) -> list[Score]:
    """In the window -1000..1000 HU, PSNR over the body and SSIM over its box; mean-HU error per organ."""
    box = subject.body.slices
    truth, made = (np.clip(a[box], *WINDOW_HU) for a in (subject.image.array, render))
    width = WINDOW_HU[1] - WINDOW_HU[0]
    mse = float(((truth - made) ** 2)[subject.body.box].mean())
    side = min(SSIM_SIDE, min(truth.shape) - (min(truth.shape) + 1) % 2)
    ssim = float(structural_similarity(truth, made, data_range=width, win_size=side))
    scores = [
        Score(subject.name, method, tissue, "psnr", 10 * math.log10(width**2 / mse) if mse > 0 else math.inf),
        Score(subject.name, method, tissue, "ssim", ssim),
    ]
    for organ in subject.parse.present_ids:
        mask = subject.parse.masks[organ]
        error = abs(float(mask.values(render).mean() - mask.values(subject.image.array).mean()))
        scores.append(Score(subject.name, method, tissue, "mae_mean_hu", error, organ))
    return scores


def mean_fill(image: Image, parse: Parse, body: Mask) -> Image:
    """Each mask its own mean, smaller masks on larger ones, and the mean of the rest of the body for what none covers.

    It is told the truth about every mean; what lies outside the body is air where the parse holds the body.
    """
    rest = body.dense()
    for mask in parse.masks.values():
        rest[mask.slices][mask.box] = False
    outside = any(parse.entity(i).name == "body" for i in parse.present_ids) or not rest.any()
    out = np.full(image.shape, -1000.0 if outside else image[rest].mean(), np.float32)
    for entity in sorted(parse.present_ids, key=lambda i: -parse.masks[i].voxels):
        mask = parse.masks[entity]
        out[mask.slices][mask.box] = mask.values(image).mean()
    return out


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


def rows_of(scores: Sequence[Score], *, seed: int = 0) -> list[Row]:
    """Means over patients with 95% bootstrap intervals, per method and, for the mean HU, per organ and pooled."""
    rows = []
    keys = sorted({(s.method, s.tissue, s.metric) for s in scores})
    for method, tissue, metric in keys:
        chosen = [s for s in scores if (s.method, s.tissue, s.metric) == (method, tissue, metric)]
        organs = ["all"] if metric != "mae_mean_hu" else ["all", *sorted({s.organ for s in chosen})]
        for organ in organs:
            values = _per_patient([s for s in chosen if organ in ("all", s.organ)])
            interval = bootstrap_interval(list(values), np.mean, rng=np.random.default_rng(seed), draws=RESAMPLES)
            group = {"arena": "openkbp", "organ": organ, "tissue": tissue}
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
