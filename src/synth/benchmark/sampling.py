"""The sampling benchmark: what fewer steps cost, and what drawing costs beside MONAI's own way of driving the network.

`ours` is Heun's method on the latent decoder at so many steps, every step count from the same noise, and `ours_euler`
the same without Heun's second evaluation. `d_clin` and `lpips` are distances to the patient's image; `d_clin_gap` and
`lpips_gap` say by how much they are above those of the most steps in the same run, as a share, over patients and seeds.
`evaluations` counts passes of the network.

`monai_inferer` hands the same network, in the same precision, to MONAI's `DiffusionInferer` with its `RFlowScheduler`,
which walks by Euler's method and knows nothing of a parse: what the parse says is computed at every pass. The latents
are decoded alike, and the images brought to what is declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synth.benchmark.controls import Image
from synth.benchmark.looks import LOOK_HU
from synth.benchmark.perceptual import Perceptual
from synth.benchmark.result import Row, bootstrap_interval
from synth.benchmark.subjects import EVERYTHING, Subject
from synth.conditioning import Scene, collate
from synth.decoder import LatentDecoder
from synth.decoder.declared import as_declared
from synth.decoder.monai_sampler import sampled_by_monai
from synth.distance import clinical_distance


@dataclass(frozen=True)
class Drawn:
    """One render, measured.

    Attributes:
        seconds: with decoding; evaluations: of the network.
        d_clin, lpips: to the patient's image, NaN where not measured.
    """

    patient: str
    method: str
    steps: int
    seed: int
    seconds: float
    evaluations: int
    d_clin: float
    lpips: float


def draw_with_steps(
    decoder: LatentDecoder,
    subjects: Sequence[Subject],
    steps: Sequence[int],
    *,
    seeds: Sequence[int] = (0,),
    perceptual: Perceptual | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Drawn]:
    """Each subject by each method at each number of steps; the side of every subject must divide by the network."""
    found = []
    for subject in subjects:
        for seed in seeds:
            for count in steps:
                for method, draw in (("ours", _ours), ("ours_euler", _euler), ("monai_inferer", _monai)):
                    started = time.perf_counter()
                    image, evaluations = draw(decoder, subject, count, seed)
                    seconds = time.perf_counter() - started
                    d_clin, lpips = _measured(subject, image, perceptual)
                    found.append(Drawn(subject.name, method, count, seed, seconds, evaluations, d_clin, lpips))
                    advance()
    return found


def rows_of(drawn: Sequence[Drawn], *, seed: int = 0) -> list[Row]:
    """Means over patients and seeds with bootstrap intervals; gaps to the most steps of `ours`, paired."""
    most = max(d.steps for d in drawn)
    best = {(d.patient, d.seed): d for d in drawn if d.method == "ours" and d.steps == most}
    rows = []
    for method, steps in sorted({(d.method, d.steps) for d in drawn}):
        chosen = [d for d in drawn if (d.method, d.steps) == (method, steps)]
        group = {"arena": "openkbp", "steps": str(steps)}
        values: dict[str, list[float]] = {
            name: [float(getattr(d, name)) for d in chosen] for name in ("d_clin", "lpips", "seconds", "evaluations")
        }
        for name in ("d_clin", "lpips"):
            usual = float(np.mean([getattr(d, name) for d in best.values()]))
            values[f"{name}_gap"] = [
                (getattr(d, name) - getattr(best[d.patient, d.seed], name)) / usual for d in chosen
            ]
        for name, some in values.items():
            if np.isfinite(some).all():
                interval = bootstrap_interval(some, np.mean, rng=np.random.default_rng(seed), draws=500)
                rows.append(Row(group, method, name, float(np.mean(some)), interval.low, interval.high, len(some)))
    return rows


def _measured(subject: Subject, image: Image, perceptual: Perceptual | None) -> tuple[float, float]:
    distance = clinical_distance(subject.image, subject.image.with_array(image), subject.parse).mean()
    if perceptual is None:
        return distance, float("nan")
    low, high = LOOK_HU
    shown = [
        np.asarray((np.clip(a[subject.body.slices], low, high) - low) / (high - low), np.float32)
        for a in (subject.image.array, image)
    ]
    return distance, perceptual(*shown)


def _ours(decoder: LatentDecoder, subject: Subject, steps: int, seed: int) -> tuple[Image, int]:
    drawing = decoder.with_sampling(steps=steps, location=False)
    drawn = drawing.render(subject.told(EVERYTHING), n=1, generator=torch.Generator().manual_seed(seed))
    return drawn.images[0], 2 * steps - 1


def _euler(decoder: LatentDecoder, subject: Subject, steps: int, seed: int) -> tuple[Image, int]:
    return _ours(decoder.with_sampling(corrected=False), subject, steps, seed)[0], steps


@torch.inference_mode()
def _monai(decoder: LatentDecoder, subject: Subject, steps: int, seed: int) -> tuple[Image, int]:
    shape = subject.image.shape
    box = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    scene = collate([Scene.from_parse(subject.told(EVERYTHING), decoder.codec).crop(box)])
    latent = [n // decoder.factor for n in shape]
    noise = torch.randn(
        (1, decoder.autoencoder.latent_channels, *latent), generator=torch.Generator().manual_seed(seed)
    )
    ones = torch.ones(1, 1, *latent)
    given = torch.zeros(noise.shape), ones, ones

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return decoder.net(x, t, scene, *given).float()

    latents = sampled_by_monai(velocity, decoder.sampling.temperature * noise, steps)
    with torch.autocast("cpu", torch.bfloat16):
        made = decoder.autoencoder.decode(latents).float()
    return as_declared(np.asarray(made[0, 0].numpy()), subject.told(EVERYTHING)), steps
