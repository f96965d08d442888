"""What each entity looks like in a population: HU histograms of its core, its border and what surrounds it.

    log ratio(voxel) = ln p(HU | zone of the entity) - ln p(HU | surroundings of the entity)      nats

Histograms are counted per patient (each weighs the same) and smoothed along the hierarchy of names: a name seen in few
patients, or in none, leans on its ancestors. Nothing of the image under audit enters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from synth.errors import InputError
from synth.parse import VOCABULARY, Kind
from synth.residual.neighbourhood import SECTORS, Neighbourhood
from synth.volume import Mask, write_bytes

EDGES = np.concatenate(
    [np.arange(-900, -200, 100), np.arange(-200, -60, 20), np.arange(-60, 200, 10), np.arange(200, 400, 25),
     np.arange(400, 1700, 100)]
).astype(np.float32)  # fmt: skip
"""HU edges of the bins, finest where soft tissues differ; the first and last bins are open."""
BINS = len(EDGES) + 1
CORE, SURROUND, RIM, OUTER = 0, 1, 2, 2 + SECTORS
ZONES = 2 + 2 * SECTORS
"""Histograms a name: core, surroundings, rim by direction, first outer layer by direction."""
SMOOTHING_BINS = 1.0
SHRINKAGE = 2.0  # patients' worth of trust in the ancestor
FULL_WEIGHT_VOXELS = 20.0  # a zone with fewer voxels in a patient counts in proportion
DEVIATION_EDGES = np.concatenate(
    [
        np.array([-1000, -800, -600, -450, -320, -230, -170, -130]),
        np.arange(-110, 120, 10),
        np.array([130, 170, 230, 320, 450, 600, 800, 1000]),
    ]
).astype(np.float32)
STEPS = len(DEVIATION_EDGES) + 1
MOST_UNUSUAL = 5.0
CLIP_NATS = 4.0  # one voxel's say in a robust mean of ratios
FLOOR = 1e-4  # of probability in each bin: one odd voxel must not decide


@dataclass(frozen=True, eq=False)
class IntensityPrior:
    """HU histograms per name.

    Attributes:
        mass: name -> (zones, bins) sum of the patients' normalised histograms, ancestors' included.
        patients: name -> (zones,) how many patients (weighted) each histogram has seen.
        deviations: name -> (steps,) sum of the patients' histograms (shares) of HU less their own median.
        spacing_mm: grid on which it was counted; zones are voxels of that grid.
    """

    mass: Mapping[str, NDArray[np.float32]]
    patients: Mapping[str, NDArray[np.float32]]
    deviations: Mapping[str, NDArray[np.float32]]
    spacing_mm: float = 4.0
    _tables: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @classmethod
    def fit(
        cls,
        cases: Iterable[tuple[NDArray[np.float32], Mapping[str, Mask | NDArray[np.bool_]]]],
        *,
        spacing_mm: float = 4.0,
    ) -> IntensityPrior:
        """Count over patients, each an image in HU on one grid and the masks of its entities by name.

        Example:
            >>> image = np.full((16, 16, 16), -100, np.float32)
            >>> liver = np.zeros(image.shape, bool)
            >>> liver[4:12, 4:12, 4:12], image[4:12, 4:12, 4:12] = True, 60
            >>> prior = IntensityPrior.fit([(image, {"liver": liver})])
            >>> bool(prior.log_ratio("liver", np.float32(60)) > 0 > prior.log_ratio("liver", np.float32(-100)))
            True
        """
        mass: dict[str, NDArray[np.float32]] = {}
        patients: dict[str, NDArray[np.float32]] = {}
        deviations: dict[str, NDArray[np.float32]] = {}
        for image, masks in cases:
            for name, counted in _patient(image, masks, deviations).items():
                weight = np.minimum(counted.sum(axis=1) / FULL_WEIGHT_VOXELS, 1.0)
                share = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1.0)
                mass[name] = mass.get(name, np.zeros((ZONES, BINS), np.float32)) + share * weight[:, None]
                patients[name] = patients.get(name, np.zeros(ZONES, np.float32)) + weight
        return cls(mass, patients, deviations, spacing_mm)

    def knows(self, name: str) -> bool:
        """Whether the name or one of its ancestors has been counted."""
        return any(n in self.mass for n in lineage(name))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything counted: what was measured with one population means nothing with another."""
        sha = hashlib.sha256(repr((self.spacing_mm, EDGES.tobytes())).encode())
        for name in sorted(self.mass):
            sha.update(name.encode())
            for table in (self.mass, self.patients, self.deviations):
                sha.update(np.ascontiguousarray(table[name], np.float32).tobytes() if name in table else b"-")
        return sha.hexdigest()

    def seen(self, name: str) -> int:
        """Patients in which this very name was counted."""
        return int(self.patients[name][CORE].round()) if name in self.patients else 0

    def log_density(self, name: str) -> NDArray[np.float32]:
        """(zones, bins) log probability of each HU bin in each zone."""
        if name not in self._tables:
            self._tables[name] = np.log(self._density(name))
        return self._tables[name]

    def log_ratio(self, name: str, hu: NDArray[np.float32] | np.float32, zone: int = CORE) -> NDArray[np.float32]:
        """Evidence of each voxel that it belongs to `zone` of the entity and not to its surroundings, in nats."""
        table = self.log_density(name)
        return (table[zone] - table[SURROUND])[bins_of(hu)]

    def expected_ratio(self, name: str) -> float:
        """Mean log ratio of the core where the entity is truly there: how visible it is by intensity alone."""
        table = self.log_density(name)
        return float((np.exp(table[CORE]) * (table[CORE] - table[SURROUND])).sum())

    def unusual(self, name: str, deviation: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far out a deviation (HU) from the entity's own median is, in standard normal units, signed.

        In a liver 60 HU are far out; in a bowel, which holds gas, 900 are not.
        """
        share = np.full(STEPS, 1.0 / STEPS)
        for known in (n for n in reversed(lineage(name)) if n in self.deviations):
            counted = self.deviations[known]
            share = (counted + share) / (counted.sum() + 1.0)
        below = np.cumsum(share) - 0.5 * share
        z = np.clip(special.ndtri(below), -MOST_UNUSUAL, MOST_UNUSUAL).astype(np.float32)
        return z[np.searchsorted(DEVIATION_EDGES, deviation, side="right")]

    def likelihood(self, name: str, hu: NDArray[np.float32]) -> float:
        """Mean log probability of these voxels as the core of the entity, in nats a voxel."""
        return float(self.log_density(name)[CORE][bins_of(hu)].mean())

    def _density(self, name: str) -> NDArray[np.float32]:
        density = np.full((ZONES, BINS), 1.0 / BINS, np.float32)
        line = [n for n in reversed(lineage(name)) if n in self.mass]
        for known in line:
            mass, patients = _pool_directions(self.mass[known], self.patients[known])
            density = (mass + SHRINKAGE * density) / (patients[:, None] + SHRINKAGE)
        if line and line[-1] == name:  # directions are the name's own: a rib's are not a vertebra's
            mass, patients = self.mass[name], self.patients[name]
            density = (mass + SHRINKAGE * density) / (patients[:, None] + SHRINKAGE)
        smooth = ndimage.gaussian_filter1d(density, SMOOTHING_BINS, axis=1, mode="nearest")
        smooth = (1.0 - FLOOR * BINS) * smooth / smooth.sum(axis=1, keepdims=True) + FLOOR
        return smooth.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as safetensors, atomically: the three tables stacked over names, the names in the header."""
        from safetensors.numpy import save

        names = sorted(self.mass)
        tensors = {
            "mass": np.stack([self.mass[n] for n in names]).astype(np.float32),
            "patients": np.stack([self.patients[n] for n in names]).astype(np.float32),
            "deviations": np.stack([self.deviations[n] for n in names]).astype(np.float32),
            "edges": EDGES,
        }
        write_bytes(path, save(tensors, metadata={"names": json.dumps(names), "spacing_mm": repr(self.spacing_mm)}))

    @classmethod
    def load(cls, path: Path) -> IntensityPrior:
        """Read what `save` wrote.

        Raises:
            InputError: the file counts other bins or zones than this version.
        """
        from safetensors import safe_open

        tables = ("mass", "patients", "deviations", "edges")
        with safe_open(str(path), framework="numpy") as file:
            meta, there = file.metadata() or {}, set(file.keys())
            if not {*tables} <= there or "names" not in meta:
                missing = ", ".join(sorted({*tables} - there)) or "names"
                raise InputError(
                    f"intensity prior {path}", expected=missing, got="none", fix="fit it with this version"
                )
            mass, patients, deviations, edges = (file.get_tensor(key) for key in tables)
        if mass.shape[1:] != (ZONES, BINS) or not np.array_equal(edges, EDGES):
            raise InputError(
                f"intensity prior {path}",
                expected=f"{ZONES} zones of {BINS} bins",
                got=f"{mass.shape[1]} zones of {mass.shape[2]} bins",
                fix="fit it with this version",
            )
        names = json.loads(meta["names"])
        counts, seen, apart = (dict(zip(names, table, strict=True)) for table in (mass, patients, deviations))
        return cls(counts, seen, apart, float(meta["spacing_mm"]))


def lineage(name: str) -> tuple[str, ...]:
    """The name and its ancestors, nearest first; a name outside the vocabulary stands alone."""
    return (name, *VOCABULARY.ancestors(name)) if name in VOCABULARY else (name,)


def bins_of(hu: NDArray[np.float32] | np.float32) -> NDArray[np.intp]:
    """Index of the bin of each value."""
    return np.searchsorted(EDGES, hu, side="right")


def histogram(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """(bins,) counts."""
    return np.bincount(bins_of(hu), minlength=BINS).astype(np.float32)


def _patient(
    image: NDArray[np.float32],
    masks: Mapping[str, Mask | NDArray[np.bool_]],
    deviations: dict[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """(zones, bins) voxel counts of one patient for each name and each of its ancestors; adds to `deviations`."""
    drawn = {n: m if isinstance(m, Mask) else Mask.from_dense(np.asarray(m, bool)) for n, m in masks.items()}
    findings = [m for n, m in drawn.items() if n in VOCABULARY and VOCABULARY.term(n).kind is Kind.finding]
    counts: dict[str, NDArray[np.float32]] = {}
    for name, mask in drawn.items():
        if mask.is_empty:
            continue
        around = Neighbourhood.of(mask)
        hu = image[around.box]
        counted, apart = _count(hu, around), _deviation(hu, around, mask, findings)
        for ancestor in lineage(name):
            counts[ancestor] = counts.get(ancestor, np.zeros((ZONES, BINS), np.float32)) + counted
            deviations[ancestor] = deviations.get(ancestor, np.zeros(STEPS, np.float32)) + apart
    return counts


def _deviation(
    hu: NDArray[np.float32], around: Neighbourhood, mask: Mask, findings: Iterable[Mask]
) -> NDArray[np.float32]:
    """(steps,) normalised histogram of the entity's HU less their median, the findings in it left out."""
    inside = around.inside.copy()
    for finding in findings:
        if finding is not mask:
            inside &= ~finding.crop(around.box)
    if not inside.any():
        return np.zeros(STEPS, np.float32)
    values = hu[inside]
    steps = np.searchsorted(DEVIATION_EDGES, values - np.median(values), side="right")
    return np.bincount(steps, minlength=STEPS).astype(np.float32) / np.float32(values.size)


def _count(hu: NDArray[np.float32], around: Neighbourhood) -> NDArray[np.float32]:
    rows = [histogram(hu[around.core]), histogram(hu[around.surround])]
    for layer in (around.rim, around.outer):
        rows += [histogram(hu[layer & (around.sector == k)]) for k in range(SECTORS)]
    return np.stack(rows)


def _pool_directions(
    mass: NDArray[np.float32], patients: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same arrays with every direction of a layer replaced by the layer's mean, in units of patients."""
    mass, patients = mass.copy(), patients.copy()
    for start in (RIM, OUTER):
        layer = slice(start, start + SECTORS)
        mass[layer], patients[layer] = mass[layer].mean(axis=0), patients[layer].mean()
    return mass, patients
