"""What each entity looks like in a population: HU histograms of its core, its border and what surrounds it.

    log ratio(voxel) = ln p(HU | zone of the entity) - ln p(HU | surroundings of the entity)      nats

Histograms are counted per patient (each weighs the same) and smoothed along the hierarchy of names: a name seen in few
patients, or in none, leans on its ancestors. Nothing of the image under audit enters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.parse import VOCABULARY
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
FLOOR = 1e-4  # of probability in each bin: one odd voxel must not decide


@dataclass(frozen=True, eq=False)
class IntensityPrior:
    """HU histograms per name.

    Attributes:
        mass: name -> (zones, bins) sum of the patients' normalised histograms, ancestors' included.
        patients: name -> (zones,) how many patients (weighted) each histogram has seen.
        variances: name -> (2,) sum over patients of the variance of HU within the core, and their number.
        spacing_mm: grid on which it was counted; zones are voxels of that grid.
    """

    mass: Mapping[str, NDArray[np.float32]]
    patients: Mapping[str, NDArray[np.float32]]
    variances: Mapping[str, NDArray[np.float32]]
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
        variances: dict[str, NDArray[np.float32]] = {}
        for image, masks in cases:
            counts = _patient(image, masks, variances)
            for name, counted in counts.items():
                weight = np.minimum(counted.sum(axis=1) / FULL_WEIGHT_VOXELS, 1.0)
                share = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1.0)
                mass[name] = mass.get(name, np.zeros((ZONES, BINS), np.float32)) + share * weight[:, None]
                patients[name] = patients.get(name, np.zeros(ZONES, np.float32)) + weight
        return cls(mass, patients, variances, spacing_mm)

    def knows(self, name: str) -> bool:
        """Whether the name or one of its ancestors has been counted."""
        return any(n in self.mass for n in lineage(name))

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

    def spread(self, name: str) -> float:
        """Usual standard deviation of HU within one patient's entity: 15 for a liver, far more for a bowel with gas."""
        variance = 0.0
        for known in (n for n in reversed(lineage(name)) if n in self.variances):
            total, count = self.variances[known]
            variance = float(total + SHRINKAGE * variance) / float(count + SHRINKAGE)
        return float(np.sqrt(variance))

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
            "variances": np.stack([self.variances[n] for n in names]).astype(np.float32),
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

        with safe_open(str(path), framework="numpy") as file:
            meta = file.metadata()
            mass, patients, variances, edges = (
                file.get_tensor(key) for key in ("mass", "patients", "variances", "edges")
            )
        if mass.shape[1:] != (ZONES, BINS) or not np.array_equal(edges, EDGES):
            raise InputError(
                f"intensity prior {path}",
                expected=f"{ZONES} zones of {BINS} bins",
                got=f"{mass.shape[1]} zones of {mass.shape[2]} bins",
                fix="fit it again with this version",
            )
        names = json.loads(meta["names"])
        counts, seen, spreads = (dict(zip(names, table, strict=True)) for table in (mass, patients, variances))
        return cls(counts, seen, spreads, float(meta["spacing_mm"]))


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
    variances: dict[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """(zones, bins) voxel counts of one patient for each name and each of its ancestors; adds to `variances`."""
    counts: dict[str, NDArray[np.float32]] = {}
    for name, given in masks.items():
        mask = given if isinstance(given, Mask) else Mask.from_dense(np.asarray(given, bool))
        if mask.is_empty:
            continue
        around = Neighbourhood.of(mask)
        hu = image[around.box]
        counted = _count(hu, around)
        variance = float(np.clip(hu[around.core], EDGES[0] - 100, EDGES[-1]).var())
        for ancestor in lineage(name):
            counts[ancestor] = counts.get(ancestor, np.zeros((ZONES, BINS), np.float32)) + counted
            variances[ancestor] = variances.get(ancestor, np.zeros(2, np.float32)) + np.array(
                [variance, 1.0], np.float32
            )
    return counts


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
