"""How images look: LPIPS of each, and the Fréchet distance of the slices of a method from those of the real images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.controls import Image
from synth.benchmark.perceptual import Perceptual, frechet
from synth.benchmark.result import Row
from synth.benchmark.subjects import ALONE, Subject, Told

LOOK_HU = (-200.0, 300.0)
HALVES = 20


@dataclass(frozen=True, eq=False)
class Look:
    """Features of the slices of one image (n, D); `method` is "image" for the patient's own."""

    patient: str
    method: str
    told: Told
    features: NDArray[np.float32]


def seen(subject: Subject, array: Image | None) -> Image:
    """The box of the body through the soft-tissue window, 0 to 1; the patient's own image for None."""
    low, high = LOOK_HU
    shown = subject.image.array if array is None else array
    return np.asarray((np.clip(shown[subject.body.slices], low, high) - low) / (high - low), np.float32)


def lpips_of(subject: Subject, render: Image, perceptual: Perceptual) -> float:
    """LPIPS of a render and the patient's own image."""
    return perceptual(seen(subject, None), seen(subject, render))


def look_of(subject: Subject, render: Image | None, perceptual: Perceptual) -> NDArray[np.float32]:
    """Features of the slices (n, D) of a render, or of the patient's own image for None."""
    return perceptual.features(seen(subject, render))


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
