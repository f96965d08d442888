"""Which data a prediction benchmark can be run on: each kind reads its files and makes its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from synth.benchmark.result import Row
from synth.dynamics.tables import read_pdxe, read_recist
from synth.errors import InputError

Advance = Callable[..., None]


def run_kind(kind: str, path: Path | None, train: Path | None, *, size: int, seed: int, advance: Advance) -> list[Row]:
    """All rows of one kind; `size` is the number of folds, of phantoms the number of patients.

    Raises InputError for files that are not laid out like that kind's.
    """
    if kind == "phantoms":
        from synth.benchmark.prediction_phantoms import run_phantoms

        return list(run_phantoms(size, seed=seed, advance=advance))
    if path is None:
        raise InputError("series", expected=f"the {kind} series", got="none", fix="give a path")
    if kind == "ffcd":
        from synth.benchmark.prediction_births import run_ffcd

        return list(run_ffcd(path, train, folds=size, seed=seed, advance=advance))
    return _growth(kind, path, train, size, seed, advance)


def _growth(kind: str, path: Path, train: Path | None, folds: int, seed: int, advance: Advance) -> list[Row]:
    from synth.benchmark.prediction import Table, run_pdxe, run_recist

    read, run = {"recist": (read_recist, run_recist), "pdxe": (read_pdxe, run_pdxe)}[kind]
    series = read(path)
    table = Table.split(read(train), series) if train else Table.folded(series, folds, seed)
    return list(run(table, seed=seed, advance=advance))
