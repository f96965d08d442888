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

    from synth.benchmark.honesty import examine_fields, rows_of
    from synth.benchmark.result import BenchmarkResult
    from synth.decoder import load_decoder
    from synth.decoder.checkpoint import load_checkpoint, weights_folder
    from synth.errors import InputError

    started = time.monotonic()
    decoder = load_decoder(weights)
    uses = [str(field) for field in load_checkpoint(weights_folder(weights)).config.get("uses", [])]
    with progress("changing fields", total=patients, as_json=as_json) as advance:
        verdicts = examine_fields(decoder, patients=patients, seed=seed, fields=only, advance=advance)
    result = BenchmarkResult(
        benchmark="honesty",
        command=f"synth honesty {decoder.name} --patients {patients} --seed {seed} --json",
        weights={decoder.name: decoder.weights_sha256},
        seconds=time.monotonic() - started,
        rows=tuple(rows_of(verdicts)),
    )
    if not verdicts:
        raise InputError("--only", expected="a field of a parse", got=repr(only), fix="run it without --only")
    ignored = [v.field for v in verdicts if v.field in uses and not v.used]
    lines = ["field                                      inside  outside  signed   noise  used"]
    lines += [
        f"{v.field:42} {v.inside:6.1f} {v.outside:8.1f} {v.signed:7.1f} {v.noise:7.1f}  {'yes' if v.used else 'no'}"
        for v in verdicts
    ]
    emit({**result.to_json(), "uses": sorted(uses), "ignored": ignored}, as_json, "\n".join(lines))
    if ignored:
        log(f"error: said to be used, and ignored: {', '.join(ignored)}")
        raise typer.Exit(IGNORED)
