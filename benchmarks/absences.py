"""Organs that a parse declares absent: truly absent ones, and present ones that were denied.

    python benchmarks/absences.py DATA [--phantoms 24] [--tier 1]     (DATA: the folder that holds totalsegmentator)

One organ of each phantom was taken out by the generator; three that are there are denied, one at a time, all other
outlines jittered. The same is done with the organs of one real CT of the trunk. `power`: share of the denied ones that
are called missing; `false_alarms`: of the truly absent ones; `auroc` of the score, no outline counting as the lowest;
`dice` of the proposed outline. Writes absences.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.contracts import Decoder
from synth.decoder import load_decoder
from synth.fault import jittered
from synth.interop import import_labels
from synth.parse import Parse, Presence
from synth.phantom import make, sample_spec
from synth.pipeline.audit import shipped_model
from synth.pipeline.audit_absences import search_absent
from synth.pipeline.tiers import tiers_of
from synth.population import Population
from synth.residual.findings import Verdict
from synth.volume import Volume, read_volume, resample

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 97_000
SPACING_MM = 4.0
ORGANS = ("kidney_left", "kidney_right", "spleen", "gallbladder")
NOTHING = -99.0


@dataclass
class Case:
    """Of one patient: score and verdict of each truly absent organ, and score, verdict and Dice of each denied one."""

    absent: list[tuple[str, float, bool]] = field(default_factory=list)
    denied: list[tuple[str, float, bool, float]] = field(default_factory=list)


def main(data: Path, phantoms: int, tier: int) -> None:
    """Both arenas, then the file."""
    started = time.monotonic()
    population, decoder = Population.load(), load_decoder("fused" if tier > 1 else "direct")
    ask = Asker(decoder, population)
    arenas: dict[str, list[Case]] = {"phantoms": [], "real": []}
    for number in range(phantoms):
        seed = FIRST_PHANTOM + number
        spec = replace(sample_spec(seed), absent=(ORGANS[number % 4],), field_of_view="abdomen_pelvis")
        made = make(seed, spec=spec, spacing_mm=(SPACING_MM,) * 3)
        arenas["phantoms"].append(ask(made.image, made.parse, seed))
        sys.stderr.write(f"phantom {seed}: {arenas['phantoms'][-1]}\n")
    arenas["real"].append(ask(*real(data), 0))
    sys.stderr.write(f"real: {arenas['real'][-1]}\n")
    result = BenchmarkResult(
        "absences",
        f"python benchmarks/absences.py DATA --phantoms {phantoms} --tier {tier}",
        {"population": population.sha256, decoder.name: decoder.weights_sha256},
        time.monotonic() - started,
        tuple(row for arena, cases in arenas.items() for row in rows(arena, cases)),
    )
    (HERE / "absences.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")


def real(data: Path) -> tuple[Volume, Parse]:
    """The real CT, on the decoder's grid."""
    folder = data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz", modality="CT")
    labels = folder / "example_seg_fast_force_split.nii.gz"
    parse = import_labels(labels, source="totalsegmentator", image=image, derive=False)
    small = resample(image, image.geometry.with_spacing(SPACING_MM))
    return small, parse.resampled(small.geometry)


class Asker:
    """Denies the organs of a patient one after the other."""

    def __init__(self, decoder: Decoder, population: Population) -> None:
        self.decoder, self.population, self.model = decoder, population, shipped_model()

    def __call__(self, image: Volume, parse: Parse, seed: int) -> Case:
        """Everything about one patient, image and parse on the decoder's grid."""
        rng = np.random.default_rng(seed)
        parse = parse.without_derived()
        parse = jittered(parse, rng)
        last = tiers_of(self.decoder, image, self.model, None)[-1]
        case = Case()

        def look(told: Parse) -> dict[str, tuple[float, bool, float]]:
            found = search_absent(last, told, self.model.prior, self.population, image=image, seed=seed)
            seen = dict.fromkeys(found.asked, (NOTHING, False, 0.0))
            for region in found.regions:
                name = str(region.finding.name)  # also the id
                dice = region.mask.dice(parse.masks[name]) if name in parse.masks else 0.0
                seen[name] = float(region.finding.score or 0.0), region.finding.verdict is Verdict.missing, dice
            return seen

        case.absent = [(i, score, called) for i, (score, called, _) in look(parse).items()]
        for id in ORGANS:
            if id in parse.masks:
                told = look(parse.with_presence(id, Presence.absent))
                if id in told:
                    case.denied.append((id, *told[id]))
        return case


def rows(arena: str, cases: Sequence[Case]) -> Iterator[Row]:
    """The pool and each organ."""
    for organ in ("all", *ORGANS):
        kept = [
            Case([a for a in c.absent if organ in ("all", a[0])], [d for d in c.denied if organ in ("all", d[0])])
            for c in cases
        ]
        for metric, (statistic, count) in METRICS.items():
            n = sum(count(c) for c in kept)
            value = statistic(kept) if n else math.nan
            if math.isfinite(value):
                low, high = math.nan, math.nan
                if len(cases) > 2:
                    interval = bootstrap_interval(kept, statistic, rng=np.random.default_rng(0))
                    low, high = interval.low, interval.high
                yield Row({"arena": arena, "organ": organ}, "ours", metric, value, low, high, n)


def _share(values: Sequence[bool | float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _auroc(cases: Sequence[Case]) -> float:
    absent, denied = [a[1] for c in cases for a in c.absent], [d[1] for c in cases for d in c.denied]
    if not (absent and denied):
        return math.nan
    return float(roc_auc_score([0] * len(absent) + [1] * len(denied), absent + denied))


METRICS: dict[str, tuple[Callable[[Sequence[Case]], float], Callable[[Case], int]]] = {
    "power": (lambda cases: _share([d[2] for c in cases for d in c.denied]), lambda c: len(c.denied)),
    "false_alarms": (lambda cases: _share([a[2] for c in cases for a in c.absent]), lambda c: len(c.absent)),
    "auroc": (_auroc, lambda c: len(c.absent) + len(c.denied)),
    "dice": (
        lambda cases: _share([d[3] for c in cases for d in c.denied if d[2]]),
        lambda c: sum(d[2] for d in c.denied),
    ),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=24)
    parser.add_argument("--tier", type=int, default=1, choices=(1, 2))
    arguments = parser.parse_args()
    main(arguments.data, arguments.phantoms, arguments.tier)
