"""Organs that took in a neighbour, told by whose place they cover: on phantoms and in a real abdomen.

    python benchmarks/merges.py DATA [--phantoms 16]     (DATA: the folder that holds totalsegmentator)

Outlines are jittered, tissues and parts of organs left out. In each case organs swallow a neighbour that they touch,
one at a time (family `merge`; by at least a fifth of their size, as in the verdicts benchmark). `power`: share of them
that are named, over all and over those that grew fourfold at most; `others`: share of these parses in which another
organ is named. `false_alarms`: share of parses in which any organ is named, where nothing is merged: `correct` ones,
the organs that are absent not declared so, the same with one organ left out (`unnamed`), and with every second one
(`half`). Writes merges.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval, mean_finite
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jittered
from synth.interop import import_labels
from synth.parse import Kind, Parse, Presence
from synth.phantom import make
from synth.phantom.patients import make_with_lesions
from synth.population import Population
from synth.residual.swallowed import swallowed
from synth.volume import read_volume

HERE = Path(__file__).resolve().parent
FIRST_ABDOMEN, FIRST_WHOLE = 93_000, 24_000
MERGED, UNNAMED = 12, 10  # a case
LEAST_GREW, FOURFOLD = 1.2, 4.0
SPACING_MM = 4.0
WITHOUT = ("correct", "unnamed", "half")


@dataclass(frozen=True)
class Asked:
    """One parse: what was done to it, by how much the organ grew, whether that organ was named, whether another was."""

    family: str
    grew: float
    named: bool
    others: bool


def main(data: Path, phantoms: int) -> None:
    """Both arenas, then the file."""
    started = time.monotonic()
    population = Population.load()
    arenas: dict[str, list[list[Asked]]] = {"phantoms": [], "real": []}
    for k in range(phantoms):
        for parse in (make_with_lesions(FIRST_ABDOMEN + k).parse, make(FIRST_WHOLE + k).parse):
            arenas["phantoms"].append(one(parse, population, np.random.default_rng(k), MERGED))
        sys.stderr.write(f"phantoms {k}\n")
    folder = data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz", modality="CT")
    labels = folder / "example_seg_fast_force_split.nii.gz"
    parse = import_labels(labels, source="totalsegmentator", image=image, derive=False)
    small = parse.resampled(image.geometry.with_spacing(SPACING_MM))
    arenas["real"].append(one(small, population, np.random.default_rng(0), 60))
    result = BenchmarkResult(
        "merges",
        f"python benchmarks/merges.py DATA --phantoms {phantoms}",
        {"population": population.sha256},
        time.monotonic() - started,
        tuple(row for arena, cases in arenas.items() for row in rows(arena, cases)),
    )
    (HERE / "merges.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")


def one(parse: Parse, population: Population, rng: np.random.Generator, merged: int) -> list[Asked]:
    """Everything about one patient."""
    other = (Kind.tissue, Kind.substructure)
    gone = [e.id for e in parse.entities if e.kind in other or e.presence is Presence.absent]
    parse = jittered(parse.without(*gone), rng)
    organs = [str(i) for i in rng.permutation([i for i in parse.present_ids if parse.entity(i).kind is Kind.organ])]

    def asked(family: str, told: Parse, organ: str = "", grew: float = 1.0) -> Asked:
        found = {s.entity.id for s in swallowed(told, population)}
        return Asked(family, grew, organ in found, bool(found - {organ}))

    done = [asked("correct", parse), asked("half", parse.without(*organs[::2]))]
    done += [asked("unnamed", parse.without(i)) for i in organs[:UNNAMED]]
    for id in organs:
        try:
            fault = inject(parse, FaultSpec("merge", entity=id), rng)
        except InputError:
            continue  # it touches nothing
        organ = parse.entity(str(fault.record.parameters["swallowed"])).kind is Kind.organ
        if organ and fault.record.severity >= LEAST_GREW:
            done.append(asked("merge", fault.parse, id, fault.record.severity))
        if sum(a.family == "merge" for a in done) == merged:
            break
    return done


def rows(arena: str, cases: Sequence[Sequence[Asked]]) -> Iterator[Row]:
    """Power and false alarms, with intervals over patients where there are several."""
    measures: list[tuple[dict[str, str], str, Callable[[Asked], bool], Callable[[Asked], bool]]] = [
        ({"family": "merge", "severity": "all"}, "power", lambda a: a.family == "merge", lambda a: a.named),
        (
            {"family": "merge", "severity": "up to fourfold"},
            "power",
            lambda a: a.family == "merge" and a.grew <= FOURFOLD,
            lambda a: a.named,
        ),
        ({"family": "merge", "severity": "all"}, "others", lambda a: a.family == "merge", lambda a: a.others),
    ]
    for family in WITHOUT:
        measures.append(({"parses": family}, "false_alarms", lambda a, f=family: a.family == f, lambda a: a.others))  # type: ignore[misc] # bound here
    for group, metric, chosen, hit in measures:

        def share(drawn: Sequence[Sequence[Asked]], chosen=chosen, hit=hit) -> float:  # type: ignore[no-untyped-def] # bound here
            return mean_finite(float(hit(a)) for case in drawn for a in case if chosen(a))

        low = high = float("nan")
        if len(cases) > 2:
            interval = bootstrap_interval(cases, share, rng=np.random.default_rng(0))
            low, high = interval.low, interval.high
        n = sum(chosen(a) for case in cases for a in case)
        yield Row({"arena": arena, **group}, "ours", metric, share(cases), low, high, n)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=16)
    arguments = parser.parse_args()
    main(arguments.data, arguments.phantoms)
