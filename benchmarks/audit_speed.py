"""What an audit costs as the entities grow from 5 to 117, stage by stage, beside naive leave-one-out.

    OMP_NUM_THREADS=1 python benchmarks/audit_speed.py

Writes `audit-speed.json` beside this file. One phantom of the chest and the abdomen, 96 voxels of 4 mm a side, with
sixteen lesions; its parse is thinned to entities spread evenly over their sizes. Each audit runs in a process of its
own, whose peak memory is read from the kernel, those of 5 and 20 entities twice: the run with fewer processor seconds
counts. Those hold beside other work; wall seconds do not, and the load of the machine stands with them. Twenty entities
are audited once more on two threads, for the wall seconds of two cores.

Naive leave-one-out draws the whole volume once under the parse and once more for each entity without it: with the
direct decoder for tier 1, with both for all tiers. Two such renders are measured, and multiplied.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from synth.benchmark.result import BenchmarkResult, Row
from synth.parse import Kind, Parse
from synth.phantom import LesionSpec, Phantom, make, sample_spec

HERE = Path(__file__).resolve().parent
SEED, SIDE = 5, 96
COUNTS = (5, 20, 60, 117)
TWO_CORES = 20  # entities of the audit on two threads
TIERS: dict[str, tuple[int, ...] | None] = {"1": (1,), "all": None}
RUNS_BELOW, NAIVE_RENDERS = 60, 2  # smaller audits run twice
LESIONS = (
    ("liver_cyst", "liver", 30), ("metastasis", "liver", 26), ("metastasis", "liver", 18), ("metastasis", "liver", 22),
    ("liver_hemangioma", "liver", 24), ("hepatocellular_carcinoma", "liver", 36), ("kidney_stone", "kidney_left", 12),
    ("kidney_cyst_left", "kidney_left", 22), ("kidney_cyst_left", "kidney_left", 16),
    ("kidney_cyst_right", "kidney_right", 26), ("lung_nodule", "lung_upper_lobe_left", 16),
    ("lung_nodule", "lung_lower_lobe_left", 20), ("lung_nodule", "lung_upper_lobe_right", 14),
    ("lung_nodule", "lung_middle_lobe_right", 18), ("lung_nodule", "lung_lower_lobe_right", 24),
    ("lung_nodule", "lung_lower_lobe_right", 18),
)  # fmt: skip
STAGES = {
    "encode": "synth.pipeline.audit.tiers_of",
    "entities": "synth.pipeline.audit.audit_entities",
    "of these, features": "synth.residual.presence.entity_features",
    "of these, places nearby": "synth.residual.evidence.nearby_features",
    "declared": "synth.pipeline.audit.audit_declared",
    "held-out render": "synth.pipeline.audit.render_held_out",
    "search": "synth.pipeline.audit.search_regions",
}
"""Stage -> the function whose processor seconds it is; features are measured in the search too."""


def main() -> None:
    """Measure everything and write the table."""
    started = time.monotonic()
    phantom = patient()
    rows: list[Row] = []
    for count in COUNTS:
        for tiers in TIERS:
            group = {"entities": str(count), "tiers": tiers}
            done = apart(audited, phantom, count, tiers)
            sys.stderr.write(f"{group} {done}\n")
            rows += [row({**group, "stage": stage}, "ours", metric, value) for (stage, metric), value in done.items()]
    for tiers in TIERS:
        group = {"entities": str(TWO_CORES), "tiers": tiers, "threads": "2", "stage": "all"}
        done = apart(on_two_threads, phantom, TWO_CORES, tiers)
        sys.stderr.write(f"{group} {done}\n")
        rows += [row(group, "ours", metric, done["all", metric]) for metric in ("seconds", "cpu_seconds", "load")]
    for tiers in TIERS:
        seconds = apart(naive, phantom, tiers)
        sys.stderr.write(f"naive, tiers {tiers}: {seconds:.1f} s a render\n")
        for count in COUNTS:
            group = {"entities": str(count), "tiers": tiers, "stage": "all"}
            rows.append(row(group, "leave_one_out", "cpu_seconds", seconds * (count + 1)))
    result = BenchmarkResult(
        benchmark="audit-speed",
        command="OMP_NUM_THREADS=1 python benchmarks/audit_speed.py",
        weights=apart(weights),
        seconds=time.monotonic() - started,
        rows=tuple(rows),
    )
    (HERE / "audit-speed.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def patient() -> Phantom:
    """The phantom; it has the largest number of entities that any count asks for."""
    lesions = tuple(LesionSpec(*lesion) for lesion in LESIONS)
    spec = replace(sample_spec(SEED), field_of_view="chest_abdomen", lesions=lesions)
    return make(SEED, spec=spec, shape=(SIDE, SIDE, SIDE))


def thinned(parse: Parse, count: int) -> Parse:
    """The parse with so many entities, tissues none of them, spread evenly over the order of their sizes."""
    ids = [i for i in parse.present_ids if parse.entity(i).kind not in (Kind.tissue, Kind.target)]
    ids.sort(key=lambda i: (parse.masks[i].voxels, i))
    kept = {ids[round(k * (len(ids) - 1) / (count - 1))] for k in range(count)}
    return parse.without(*(i for i in parse.ids if i not in kept))


def audited(phantom: Phantom, count: int, tiers: str) -> dict[tuple[str, str], float]:
    """(stage, metric) -> value of an audit in this process, the cheaper of two where it is a small one."""
    from synth.decoder.registry import load_decoder
    from synth.pipeline.audit import AuditOptions, audit, shipped_model
    from synth.report import save_report

    parse, decoder, model = thinned(phantom.parse, count), load_decoder("fused", "cpu"), shipped_model()
    found = []
    for _ in range(1 + (count < RUNS_BELOW)):
        with timed() as spent, tempfile.TemporaryDirectory() as work:
            wall, start = time.perf_counter(), time.process_time()
            report = audit(phantom.image, parse, AuditOptions(tiers=TIERS[tiers]), decoder=decoder, model=model)
            whole, wall = time.process_time() - start, time.perf_counter() - wall
            save_report(report, Path(work) / "audit")
            files = time.process_time() - start - whole
        values = {(stage, "cpu_seconds"): seconds for stage, seconds in spent.items()}
        values |= {("report files, not in all", "cpu_seconds"): files, ("all", "cpu_seconds"): whole}
        values |= {("all", "seconds"): wall, ("all", "load"): os.getloadavg()[0]}
        values[("all", "asked_tier_2")] = sum(e.tier == 2 for e in report.entities)
        found.append(values)
    best = min(found, key=lambda values: values[("all", "cpu_seconds")])
    best[("all", "peak_gb")] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return best


def on_two_threads(phantom: Phantom, count: int, tiers: str) -> dict[tuple[str, str], float]:
    """What `audited` gives, on two threads whatever the environment says."""
    import torch

    torch.set_num_threads(2)
    return audited(phantom, count, tiers)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Processor seconds spent in each stage's function while this holds."""
    spent, before = dict.fromkeys(STAGES, 0.0), []
    for stage, path in STAGES.items():
        module, name = path.rsplit(".", 1)
        home = import_module(module)
        function = getattr(home, name)
        before.append((home, name, function))
        setattr(home, name, counting(function, spent, stage))
    try:
        yield spent
    finally:
        for home, name, function in before:
            setattr(home, name, function)


def counting(function: Callable[..., Any], spent: dict[str, float], stage: str) -> Callable[..., Any]:
    """The function, its processor seconds added to its stage."""

    def called(*arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[stage] += time.process_time() - start

    return called


def naive(phantom: Phantom, tiers: str) -> float:
    """Processor seconds of one whole-volume render without an entity, by each decoder that the tiers ask."""
    import torch

    from synth.decoder.registry import load_decoder

    fused: Any = load_decoder("fused", "cpu")
    decoders = [fused.direct, fused.latent] if tiers == "all" else [fused.direct]
    parse = phantom.parse.without_derived()
    start = time.process_time()
    for id in thinned(parse, NAIVE_RENDERS + 1).ids[:NAIVE_RENDERS]:
        for decoder in decoders:
            decoder.render(parse.without(id), n=1, generator=torch.Generator().manual_seed(0))
    return (time.process_time() - start) / NAIVE_RENDERS


def weights() -> dict[str, str]:
    """SHA-256 of what was used."""
    from synth.decoder.registry import load_decoder
    from synth.pipeline.audit import shipped_model

    return {"fused": load_decoder("fused", "cpu").weights_sha256, "audit": shipped_model().sha256}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(*arguments)))
    process.start()
    sender.close()  # the child's end alone is left: a child that dies ends the wait
    try:
        return receiver.recv()
    finally:
        process.join()


def row(group: dict[str, str], method: str, metric: str, value: float) -> Row:
    """One number; none of them has an interval."""
    return Row(group, method, metric, round(value, 3), math.nan, math.nan, 1)


if __name__ == "__main__":
    main()
