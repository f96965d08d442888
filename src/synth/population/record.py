"""A population as a weights folder: one donor for each case seen, numbers only, nothing of an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from synth.errors import InputError
from synth.parse import VOCABULARY, Phase
from synth.volume import Geometry, Mask, write_bytes
from synth.weights import CONFIG, weights_folder

NAME, CARD, FORMAT = "population", "README.md", 1
LARGEST_BYTES = 16 * 2**20
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Where an organ lies: its centroid, mm in the patient's RAS+ axes, and the covariance of its voxels, mm² (xx, yy,
    zz, xy, xz, yz)."""

    centre: Triple
    covariance: tuple[float, float, float, float, float, float]

    @classmethod
    def of(cls, mask: Mask, geometry: Geometry) -> Place:
        """Of a mask with voxels."""
        spots = np.argwhere(mask.box) + np.array([s.start for s in mask.slices])
        to_world = np.asarray(geometry.affine)
        world = spots @ to_world[:3, :3].T + to_world[:3, 3]
        x, y, z = (float(v) for v in world.mean(axis=0))
        # Each voxel is a box, not a point: what is one voxel thin has a covariance all the same.
        own = to_world[:3, :3] @ to_world[:3, :3].T / 12
        c = (np.cov(world.T, bias=True) if len(world) > 1 else np.zeros((3, 3))) + own
        xx, yy, zz, xy, xz, yz = (float(c[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
        return cls((x, y, z), (xx, yy, zz, xy, xz, yz))


@dataclass(frozen=True)
class FindingLook:
    """How one finding looks: mean HU, mean HU of the organ around it, what was read of it, HU above unenhanced."""

    name: str
    hu: float
    host_hu: float | None = None
    attenuation_class: str | None = None
    enhancement: float | None = None


@dataclass(frozen=True)
class Donor:
    """One case.

    Attributes:
        phase: of its image, None where it is not known; attenuation: name -> mean HU, of an organ without what
            `Population.shifts` tells; places: of the organs that lie whole in the field of view; findings: looks.
    """

    phase: Phase | None
    attenuation: Mapping[str, float]
    places: Mapping[str, Place] = field(default_factory=dict)
    findings: tuple[FindingLook, ...] = ()


@dataclass(frozen=True)
class Population:
    """Cases seen before.

    Attributes:
        donors: the cases; shifts: attribute type -> value -> organ -> HU by which it is brighter than without.
        facts: of what it was made; sha256: of the file it was read from.

    Example:
        >>> population = Population.load()
        >>> len(population.donors) > 20, population.shifts["steatosis_grade"]["S3"]["liver"] < -20
        (True, True)
    """

    donors: tuple[Donor, ...]
    shifts: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def save(self, folder: str | Path, card: str = "") -> None:
        """Write `config.json`; the same population gives the same bytes."""
        content = {
            "task": NAME,
            "format": FORMAT,
            "facts": dict(self.facts),
            "shifts": self.shifts,
            "donors": [_written(donor) for donor in self.donors],
        }
        text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":")).replace(
            '{"attenu', '\n{"attenu'
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_bytes(Path(folder) / CONFIG, (text + "\n").encode())
        if card:
            write_bytes(Path(folder) / CARD, card.encode())

    @classmethod
    def load(cls, path: str | Path | None = None) -> Population:
        """Read a folder; None is the shipped one. Raises InputError for what is no population."""
        return _load(weights_folder(NAME if path is None else str(path)).resolve())


@cache
def _load(folder: Path) -> Population:
    try:
        if (folder / CONFIG).stat().st_size > LARGEST_BYTES:
            raise ValueError("more than 16 MiB")
        data = (folder / CONFIG).read_bytes()
        content = json.loads(data)
        if content["task"] != NAME or content["format"] != FORMAT:
            raise ValueError(f"task {content['task']!r}, format {content['format']!r}")
        donors = tuple(_read(each) for each in content["donors"])
        return Population(donors, content["shifts"], content["facts"], hashlib.sha256(data).hexdigest())
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        expected, fix = f"{CONFIG} of a population, format {FORMAT}", "fetch the weights again"
        raise InputError(str(folder), expected=expected, got=f"{type(error).__name__}: {error}", fix=fix) from None


def _written(donor: Donor) -> dict[str, Any]:
    return {
        "phase": None if donor.phase is None else donor.phase.value,
        "attenuation": {name: round(hu) for name, hu in sorted(donor.attenuation.items())},
        "places": {
            name: [round(v) for v in (*place.centre, *place.covariance)] for name, place in sorted(donor.places.items())
        },
        "findings": [
            [f.name, round(f.hu), _short(f.host_hu), f.attenuation_class, _short(f.enhancement)] for f in donor.findings
        ],
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value)


def _read(content: Mapping[str, Any]) -> Donor:
    names = {*content["attenuation"], *content["places"], *(f[0] for f in content["findings"])}
    unknown = sorted(name for name in names if name not in VOCABULARY)
    if unknown:
        raise ValueError(f"names that no vocabulary has: {unknown[:3]}")
    if not np.isfinite([*content["attenuation"].values(), *(f[1] for f in content["findings"])]).all():
        raise ValueError("an attenuation that is no number")
    return Donor(
        None if content["phase"] is None else Phase(content["phase"]),
        {name: float(hu) for name, hu in content["attenuation"].items()},
        {name: _place(numbers) for name, numbers in content["places"].items()},
        tuple(FindingLook(*each) for each in content["findings"]),
    )


def _place(numbers: list[float]) -> Place:
    x, y, z, xx, yy, zz, xy, xz, yz = (float(n) for n in numbers)
    if not np.isfinite([x, y, z]).all() or np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])[0] <= 0:
        raise ValueError(f"a place that no organ can have: {numbers}")
    return Place((x, y, z), (xx, yy, zz, xy, xz, yz))
