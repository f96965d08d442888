"""Where the patients of the verdicts benchmark come from: phantoms, or real ones with reference outlines.

A real patient's correct parse is its reference with every outline jittered, several times if asked. Its organs are
where the reference says; whether that is right is not known, so that a list of references known to be wrong goes with
the scores (`synth.benchmark.faults.read_reference_errors`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from synth.benchmark.faults import read_cases
from synth.benchmark.verdict_phantoms import FIRST_SEED, SEEDS, draw_truth
from synth.benchmark.verdict_truth import Truth
from synth.errors import InputError
from synth.fault import jittered
from synth.interop.openkbp import patient_folders, read_patient

OPENKBP = "openkbp"


class Patients(Protocol):
    """Patients that can be drawn by their number; `about` says in plain data which they are."""

    @property
    def names(self) -> Sequence[str]:
        """Of all patients, in the order of their numbers, as they are called in results and files."""

    @property
    def arena(self) -> str:
        """As it is called in results."""

    @property
    def about(self) -> str:
        """What a folder of results must agree on."""

    def truth(self, number: int, spacing_mm: float, *, drawn: int = 0) -> Truth:
        """One patient under one jitter of its outlines; the decoder's spacing is `spacing_mm`."""


@dataclass(frozen=True)
class Phantoms:
    """The first so many phantoms of the upper abdomen; with `unseen` of a setting that nothing was trained on."""

    count: int
    unseen: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= SEEDS:
            raise InputError("limit", expected=f"1 to {SEEDS}", got=str(self.count), fix="change --limit")

    @property
    def names(self) -> Sequence[str]:
        """By seed."""
        return [f"phantom-{FIRST_SEED + k}" for k in range(self.count)]

    @property
    def arena(self) -> str:
        """Known setting or not."""
        return "phantoms_unseen" if self.unseen else "phantoms"

    @property
    def about(self) -> str:
        """The arena: how many there are may change."""
        return self.arena

    def truth(self, number: int, spacing_mm: float, *, drawn: int = 0) -> Truth:
        """Phantom `number`, on the decoder's grid."""
        return draw_truth(FIRST_SEED + number, spacing_mm=spacing_mm, unseen=self.unseen, drawn=drawn)


@dataclass(frozen=True)
class Referenced:
    """The first so many patients of a folder in one of the arenas of `read_cases`, all of them for None."""

    folder: Path
    arena: str = "openkbp"
    count: int | None = None

    def __post_init__(self) -> None:
        found = len(self._all)
        if self.count is not None and not 1 <= self.count <= found:
            raise InputError("limit", expected=f"1 to {found}", got=str(self.count), fix="change --limit")

    @property
    def _all(self) -> list[Path]:
        return list(patient_folders(self.folder)) if self.arena == OPENKBP else [self.folder.resolve()]

    @property
    def names(self) -> Sequence[str]:
        """By folder."""
        return [p.name for p in self._all[: self.count]]

    @property
    def about(self) -> str:
        """The folder's own name, wherever it lies."""
        return f"{self.arena} {self.folder.resolve().name}"

    def truth(self, number: int, spacing_mm: float, *, drawn: int = 0) -> Truth:
        """Patient `number` on the grid of its own image; `spacing_mm` is not asked for."""
        folder = self._all[number]
        patient = read_patient(folder) if self.arena == OPENKBP else read_cases(folder, self.arena)[0]
        seed = zlib.crc32(patient.name.encode())
        parse = jittered(patient.parse, np.random.default_rng([seed, 95, drawn]))
        return Truth(patient.name, seed, patient.image, patient.parse, parse, None, {}, drawn)
