"""`synth train TASK CONFIG`: train a decoder from an experiment file; run again to resume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from synth.cli.output import JsonOption, emit, log
from synth.errors import InputError


def register(app: typer.Typer) -> None:
    """Add `synth train`."""
    app.command("train")(train)


def train(
    task: Annotated[
        str,
        typer.Argument(
            help="direct, autoencoder, flow, audit (prior, fusion and calibration), dynamics or population."
        ),
    ],
    config: Annotated[Path, typer.Argument(help="Experiment file (TOML), see configs/.")],
    data: Annotated[Path, typer.Option(help="What {data} in the config stands for.")] = Path("data"),
    phantoms: Annotated[Path, typer.Option(help="What {phantoms} stands for: a folder of synth generate.")] = Path(
        "runs/phantoms"
    ),
    run: Annotated[Path | None, typer.Option(help="Checkpoints and log; default runs/NAME.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Where the weights go; default RUN/weights.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long; run again to go on.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps, instead of the config's.")] = None,
    autoencoder: Annotated[
        str | None, typer.Option(help="Weights that a flow works in, instead of the config's.")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="audit: take the intensities of this audit folder, do not count again.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="audit: keep this audit folder but for what --only names.")] = None,
    only: Annotated[
        str,
        typer.Option(
            help="audit, with --keep: fit search (for what is left out), findings, or drift (what is usual of a case)."
        ),
    ] = "search",
    as_json: JsonOption = False,
) -> None:
    """Train, averaging the weights, until the config's steps or minutes; a second call resumes the run."""
    from synth.residual import AuditModel
    from synth.training.audit import ANEW, fit_audit
    from synth.training.config import TrainConfig
    from synth.training.dynamics import fit_dynamics
    from synth.training.loop import speaks
    from synth.training.loop import train as run_training
    from synth.training.population import fit_population
    from synth.training.tasks import make_task

    settings = TrainConfig.read(config, {"data": str(data), "phantoms": str(phantoms)})
    if settings.task != task:
        raise InputError(f"task of {config.name}", expected=task, got=settings.task, fix="name the config's own task")
    settings = replace(
        settings,
        minutes=settings.minutes if minutes is None else minutes,
        steps=settings.steps if steps is None else steps,
        autoencoder=settings.autoencoder if autoencoder is None else autoencoder,
    )
    run = run or Path("runs") / settings.name
    out = weights or run / "weights"
    if task == "audit":
        if only not in ANEW:
            raise InputError("--only", expected=" or ".join(ANEW), got=only, fix="choose one of these")
        if keep is not None:
            facts = ANEW[only](settings, out, keep, log=log)
        else:
            known = AuditModel.load(prior).prior if prior else None
            facts = fit_audit(settings, out, log=log, prior=known)
        emit({"weights": str(out), "facts": facts}, as_json, f"weights in {out}")
        return
    if task in ("dynamics", "population"):
        facts = (fit_dynamics if task == "dynamics" else fit_population)(settings, out, log=log)
        emit({"weights": str(out), "facts": facts}, as_json, f"weights in {out}")
        return
    scores = run_training(make_task(settings), settings, run, out, log=_print)
    if not speaks():
        return
    finite = {name: score if math.isfinite(score) else None for name, score in scores.items()}
    emit({"weights": str(out), "validation": finite}, as_json, f"weights in {out}")


def _print(row: Mapping[str, Any]) -> None:
    log("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
