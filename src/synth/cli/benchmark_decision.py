"""`synth benchmark decision`: predicted bundles against the truth, fact by fact."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from synth.cli.output import JsonOption, emit, log


def register(app: typer.Typer) -> None:
    """Add `decision` to the group of benchmarks."""
    app.command("decision")(run)


def run(
    pred: Annotated[Path, typer.Option("--pred", help="Folder of predicted bundles.", show_default=False)],
    gold: Annotated[Path, typer.Option("--gold", help="Folder of true bundles of the same names.", show_default=False)],
    declared_only: Annotated[
        bool, typer.Option("--declared-only", help="Leave out what was derived from masks or image.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Joint triple F1 of the predicted facts, what binding costs, and predictions that are no parse."""
    from synth.benchmark import decision
    from synth.errors import InputError

    if not pred.is_dir():
        raise InputError(str(pred), expected="a folder of bundles", got="none", fix="check the path")
    words = ["synth", "benchmark", "decision", "--pred", str(pred), "--gold", str(gold), "--seed", str(seed)]
    command = shlex.join([*words, *(["--declared-only"] if declared_only else [])])
    result = decision.run(pred, gold, command=command, declared_only=declared_only, seed=seed, note=log)
    emit(result.to_json(), as_json, result.table)
