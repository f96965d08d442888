"""`synth honesty`: which fields of a parse does a decoder use?"""

from __future__ import annotations

from typing import Annotated

import typer

from synth.cli.output import JsonOption, emit, log, progress

IGNORED = 3


def register(app: typer.Typer) -> None:
    """Add `synth honesty`."""
    app.command("honesty")(run)


def run(
    weights: Annotated[str, typer.Argument(help="direct, latent, or a weights folder.")],
    patients: Annotated[int, typer.Option(help="Phantoms that every field is tried on.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the phantoms and the noise.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Only this field; can be given again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Change each field of a parse and measure what that does to the render; fail where a used one has no effect."""
    import time

    from synth.benchmark.honesty import FieldUse, examine_fields, rows_of
    from synth.benchmark.result import BenchmarkResult
    from synth.decoder import load_decoder
    from synth.decoder.checkpoint import load_checkpoint, weights_folder
    from synth.errors import InputError

    started = time.monotonic()
    decoder = load_decoder(weights)
    config = load_checkpoint(weights_folder(weights)).config
    uses, holds = ([str(field) for field in config.get(key, [])] for key in ("uses", "holds"))
    found: dict[str, list[FieldUse]] = {}
    with progress("changing fields", total=2 * patients, as_json=as_json) as advance:
        for way in ("network", "drawn"):
            found[way] = examine_fields(
                decoder, patients=patients, seed=seed, fields=only, drawn=way == "drawn", advance=advance
            )
    result = BenchmarkResult(
        benchmark="honesty",
        command=f"synth honesty {decoder.name} --patients {patients} --seed {seed} --json",
        weights={decoder.name: decoder.weights_sha256},
        seconds=time.monotonic() - started,
        rows=tuple(row for way, verdicts in found.items() for row in rows_of(verdicts, way)),
    )
    if not found["network"]:
        raise InputError("--only", expected="a field of a parse", got=repr(only), fix="run it without --only")
    ignored = [
        v.field
        for way, claimed in (("network", uses), ("drawn", holds))
        for v in found[way]
        if v.field in claimed and not v.used
    ]
    lines = ["by       field                                      inside  outside  signed   noise  used"]
    lines += [
        f"{way:8} {v.field:42} {v.inside:6.1f} {v.outside:8.1f} {v.signed:7.1f} {v.noise:7.1f}  "
        + ("yes" if v.used else "no")
        for way, verdicts in found.items()
        for v in verdicts
    ]
    emit(
        {**result.to_json(), "uses": sorted(uses), "holds": sorted(holds), "ignored": ignored},
        as_json,
        "\n".join(lines),
    )
    if ignored:
        log(f"error: said to be used, and ignored: {', '.join(ignored)}")
        raise typer.Exit(IGNORED)
