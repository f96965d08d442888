"""Names by place: organs under another organ's name, and true names, under jittered outlines.

    python benchmarks/labels.py DATA [--phantoms 16]     (DATA: the folder that holds totalsegmentator)

One organ that lies whole in the image is called by another name of the parse (family `relabel`), or two trade their
names (`trade`), in phantoms that nothing was counted on and in a real abdominal CT. `power`: share of the organs with a
wrong name for which the true one is proposed; `false_alarms`: of all organs with their own name; `apart_mm`: 99th
percentile of how far a true organ lies from where the others say. Writes labels.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jittered
from synth.interop import import_labels
from synth.parse import Kind, Parse
from synth.phantom import make
from synth.population import Population
from synth.population.place import centres_of, usual_centre
from synth.residual.labels import misnamed
from synth.volume import read_volume

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 98_000
RELABELLED, TRADED = 8, 4  # a case
FAMILIES = ("relabel", "trade")


@dataclass
class Case:
    """Of one patient: family -> whether each wrong name was corrected; true names called wrong, of how many; mm off."""

    corrected: dict[str, list[bool]] = field(default_factory=lambda: {f: [] for f in FAMILIES})
    wrongly: int = 0
    true: int = 0
    off_mm: list[float] = field(default_factory=list)


def main(data: Path, phantoms: int) -> None:
    """Both arenas, then the file."""
    started = time.monotonic()
    population = Population.load()
    arenas: dict[str, list[Case]] = {"phantoms": [], "real": []}
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + phantoms):
        arenas["phantoms"].append(one(make(seed).parse, population, np.random.default_rng(seed), RELABELLED, TRADED))
        sys.stderr.write(f"phantom {seed}\n")
    folder = data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz", modality="CT")
    labels = folder / "example_seg_fast_force_split.nii.gz"
    parse = import_labels(labels, source="totalsegmentator", image=image, derive=False)
    arenas["real"].append(one(parse, population, np.random.default_rng(0), 100, 20))
    result = BenchmarkResult(
        "labels",
        f"python benchmarks/labels.py DATA --phantoms {phantoms}",
        {"population": population.sha256},
        time.monotonic() - started,
        tuple(row for arena, cases in arenas.items() for row in rows(arena, cases)),
    )
    (HERE / "labels.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")


def one(parse: Parse, population: Population, rng: np.random.Generator, relabelled: int, traded: int) -> Case:
    """Everything about one patient."""
    parse = jittered(parse, rng)
    case = Case()
    centres = centres_of(parse)
    for name, centre in centres.items():
        usual = usual_centre(centres, name, population)
        if usual is not None:
            case.off_mm.append(float(np.linalg.norm(np.asarray(centre) - usual[0])))
    organs = [e.id for e in parse.entities if e.kind is Kind.organ and e.id in parse.masks and not e.truncated]
    count(case, None, parse, (), parse, population)
    for id in rng.permutation(organs)[:relabelled]:
        try:
            wrong = inject(parse, FaultSpec(family="relabel", entity=str(id)), rng).parse
        except InputError:
            continue
        count(case, "relabel", wrong, (str(id),), parse, population)
    for _ in range(traded if len(organs) > 1 else 0):
        a, b = (str(i) for i in rng.choice(organs, 2, replace=False))
        names = {a: parse.entity(b).name, b: parse.entity(a).name}
        entities = [e.changed(name=names[e.id]) if e.id in names else e for e in parse.entities]
        count(case, "trade", parse.replace(entities=entities), (a, b), parse, population)
    return case


def count(
    case: Case, family: str | None, told: Parse, wrong: Sequence[str], truth: Parse, population: Population
) -> None:
    """What is said of a parse in which the names of `wrong` are wrong."""
    found = {m.entity.id: m.proposed for m in misnamed(told, population)}
    if family is not None:
        case.corrected[family] += [found.get(i) == truth.entity(i).name for i in wrong]
    drawn = [i for i in told.masks if i not in wrong]
    case.true += len(drawn)
    case.wrongly += sum(i in found for i in drawn)


def rows(arena: str, cases: Sequence[Case]) -> Iterator[Row]:
    """The families, the false alarms and the distances, with intervals over patients where there are several."""

    def row(family: str, metric: str, statistic: object, n: int) -> Row:
        low = high = float("nan")
        if len(cases) > 2:
            interval = bootstrap_interval(cases, statistic, rng=np.random.default_rng(0))  # type: ignore[arg-type]
            low, high = interval.low, interval.high
        return Row({"arena": arena, "family": family}, "ours", metric, statistic(cases), low, high, n)  # type: ignore[operator]

    for family in FAMILIES:

        def power(drawn: Sequence[Case], family: str = family) -> float:
            return float(np.mean([hit for c in drawn for hit in c.corrected[family]]))

        yield row(family, "power", power, sum(len(c.corrected[family]) for c in cases))

    def false_alarms(drawn: Sequence[Case]) -> float:
        return sum(c.wrongly for c in drawn) / sum(c.true for c in drawn)

    def apart(drawn: Sequence[Case]) -> float:
        return float(np.percentile([mm for c in drawn for mm in c.off_mm], 99))

    yield row("all", "false_alarms", false_alarms, sum(c.true for c in cases))
    yield row("all", "apart_mm", apart, sum(len(c.off_mm) for c in cases))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=16)
    arguments = parser.parse_args()
    main(arguments.data, arguments.phantoms)
