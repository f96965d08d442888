"""What a command says: its result on stdout (text, or one JSON object), its progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import typer

FINDINGS_EXIT = 3  # of the commands that take --fail-on-findings
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
"""The `--json` that every command takes: `as_json: JsonOption = False`."""


def emit(payload: Mapping[str, Any], as_json: bool, text: str | Callable[[], str]) -> None:
    """Print the result of a command: `payload` as JSON, or `text` (built only when it is shown).

    Non-finite numbers are not JSON; they must be `None` in the payload, so one in there is a `ValueError`.

    Example:
        >>> emit({"entities": 3}, True, "three entities")
        {
          "entities": 3
        }
        >>> emit({"entities": 3}, False, lambda: "three entities")
        three entities
    """
    if as_json:
        typer.echo(json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(text() if callable(text) else text)


def log(message: str) -> None:
    """Say something about the run on stderr, so that stdout stays the result."""
    typer.echo(message, err=True)


class Advance(Protocol):
    """What `progress` hands out; the arguments of a call are all optional."""

    def __call__(self, step: float = 1, *, message: str | None = None, total: float | None = None) -> None:
        """Move on by `step`; `message` replaces the text of the bar, `total` its end."""


def _silent(step: float = 1, *, message: str | None = None, total: float | None = None) -> None:
    """Advance nothing."""


@contextmanager
def progress(message: str, total: float | None = None, *, as_json: bool = False) -> Iterator[Advance]:
    """A progress bar on stderr; silent under `--json` and where stderr is no terminal.

    Example:
        >>> with progress("rendering", total=2) as advance:
        ...     advance()
        ...     advance(message="almost there")
    """
    if as_json or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(message, total=total)

        def advance(step: float = 1, *, message: str | None = None, total: float | None = None) -> None:
            bar.update(task, advance=step, description=message, total=total)

        yield advance
