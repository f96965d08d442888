"""Rate against distortion: what latents of several sizes keep of real CT.

    python benchmarks/autoencoders.py --data ../shared/data --phantoms runs/phantoms [--steps 700]

Trains one autoencoder for each rate, all of configs/ct-4mm/autoencoder.toml but for their latents, for the same number
of steps (a second call takes up what is there), and measures them and the shipped one on OpenKBP's validation patients:
PSNR in the window -1000..1000 HU over the body, and for entities of several sizes how far the mean HU is off, and which
share of the spread within the entity is lost. Writes `autoencoders.json` beside this file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_trainings import config_of, log, options, write

from synth.benchmark.reconstruction import WINDOW_HU
from synth.benchmark.result import Row, bootstrap_interval
from synth.benchmark.subjects import Subject, read_subjects
from synth.decoder.autoencoder import Autoencoder
from synth.decoder.checkpoint import fill, load_checkpoint, weights_folder
from synth.decoder.grid import whole_box
from synth.decoder.holes import put_back, take
from synth.decoder.intensity import AIR_HU
from synth.training.loop import train
from synth.training.tasks import make_task

RATES = ((2, 4), (2, 8), (2, 16), (4, 4), (4, 16))  # voxels a side of a latent voxel, numbers in it
SIZES_ML = ((0.0, 3.0), (3.0, 15.0), (15.0, 1e9))
SHIPPED = "shipped"


def trained(factor: int, channels: int, asked: argparse.Namespace) -> Path:
    """The weights folder of one rate."""
    config = config_of("autoencoder.toml", asked)
    model: dict[str, Any] = config.model | {"factor": factor, "latent_channels": channels}
    steps: int = asked.steps
    config = replace(config, model=model, steps=steps, cache=asked.cases, checkpoint_every=steps, validate_every=steps)
    run: Path = asked.work / f"{factor}x-{channels}"
    if not (run / "weights" / "config.json").exists():
        train(make_task(config), config, run, run / "weights", log=lambda row: log(run.name, row))
    return run / "weights"


@torch.inference_mode()
def through(autoencoder: Autoencoder, subject: Subject) -> np.ndarray:
    """The patient's image through the latents and back, HU."""
    hole = whole_box(subject.image.shape, 4 * autoencoder.factor)
    cube = torch.from_numpy(take(subject.image.array, hole.box, AIR_HU))[None, None]
    with torch.autocast("cpu", torch.bfloat16):
        back = autoencoder.decode(autoencoder.encode(cube)).float()[0, 0].numpy()
    return back[put_back(hole.box, subject.image.shape)[1]]


def measured(subject: Subject, made: np.ndarray) -> dict[tuple[str, str], list[float]]:
    """(metric, size) -> values of one patient."""
    box = subject.body.slices
    true, drawn = (np.clip(a[box], *WINDOW_HU)[subject.body.box] for a in (subject.image.array, made))
    mse = float(((true - drawn) ** 2).mean())
    found = {("psnr", "all"): [10 * float(np.log10((WINDOW_HU[1] - WINDOW_HU[0]) ** 2 / mse))]}
    for organ in subject.parse.present_ids:
        mask = subject.parse.masks[organ]
        before, after = mask.values(subject.image.array), mask.values(made)
        ml = mask.voxels * subject.image.geometry.voxel_ml
        (size,) = [_size(low, high) for low, high in SIZES_ML if low <= ml < high]
        found.setdefault(("mae", size), []).append(abs(float(before.mean() - after.mean())))
        found.setdefault(("spread_lost", size), []).append(1 - float(after.std() / max(before.std(), 1e-6)))
    return found


def _size(low: float, high: float) -> str:
    return f"{low:g}-{high:g} mL" if high < 1e6 else f"over {low:g} mL"


def rows_of(name: str, group: dict[str, str], autoencoder: Autoencoder, subjects: list[Subject]) -> list[Row]:
    """Means over patients with their intervals."""
    found: dict[tuple[str, str], list[float]] = {}
    for subject in subjects:
        for key, values in measured(subject, through(autoencoder, subject)).items():
            found.setdefault(key, []).append(float(np.mean(values)))
    rows = []
    for (metric, size), values in found.items():
        ends = bootstrap_interval(values, np.mean, rng=np.random.default_rng(0), draws=500)
        mean = float(np.mean(values))
        rows.append(Row({**group, "size": size}, name, metric, mean, ends.low, ends.high, len(values)))
    return rows


def main() -> None:
    """Train, measure, write the table."""
    asked = options(__doc__, work="runs/autoencoders", steps=700)
    subjects = read_subjects(Path(asked.data) / "openkbp" / "validation", 4.0)
    weights: dict[str, str] = {}
    rows = []
    folders = {SHIPPED: weights_folder("autoencoder")}
    for factor, channels in RATES:
        folders[f"{factor}x, {channels} channels"] = trained(factor, channels, asked)
    for name, folder in folders.items():
        checkpoint = load_checkpoint(folder)
        weights[name] = checkpoint.sha256
        autoencoder = Autoencoder(**checkpoint.config["network"])
        fill(autoencoder, checkpoint, "autoencoder")
        autoencoder.eval()
        rate = autoencoder.latent_channels / autoencoder.factor**3
        group = {
            "arena": "openkbp",
            "numbers_a_voxel": f"{rate:g}",
            "steps": str(checkpoint.config["training"]["step"]),
        }
        rows += rows_of(name, group, autoencoder, subjects)
    write("autoencoders", asked, weights, rows)


if __name__ == "__main__":
    main()
