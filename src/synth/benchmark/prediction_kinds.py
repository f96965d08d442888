"""Which data a prediction benchmark can be run on: each kind reads its files and makes its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from synth.benchmark.result import Row
from synth.dynamics.series import Series
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

        if train is not None and train.resolve() == path.resolve():
            fix = "give another folder, or none for folds"
            raise InputError("--train", expected="no patient of --series", got="the same folder", fix=fix)
        return list(run_ffcd(path, train, folds=size, seed=seed, advance=advance))
    return _growth(kind, path, train, size, seed, advance)


def _growth(kind: str, path: Path, train: Path | None, folds: int, seed: int, advance: Advance) -> list[Row]:
    from synth.benchmark.prediction import Table, run_pdxe, run_recist

    read, run = {"recist": (read_recist, run_recist), "pdxe": (read_pdxe, run_pdxe)}[kind]
    series = read(path)
    if train is None:
        return list(run(Table.folded(series, folds, seed), seed=seed, advance=advance))
    learned = read(train)
    _check_apart(learned, series, "tumour" if kind == "pdxe" else "patient")
    return list(run(Table.split(learned, series), seed=seed, advance=advance))


def _check_apart(train: Sequence[Series], test: Sequence[Series], what: str) -> None:
    """Raise InputError where a patient that is tested is trained on as well."""
    tested = {s.patient for s in test}
    both = sorted({s.patient for s in train} & tested)
    if both:
        got = f"{len(both)} of the {len(tested)}, such as {both[0]}"
        fix = f"leave out every {what} of --series"
        raise InputError("--train", expected=f"no {what} of the table that is tested", got=got, fix=fix)
