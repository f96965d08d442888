"""How near the population comes to patients that are not in it: where an organ lies, and how bright it is.

    python benchmarks/population.py DATA [--phantoms 20]     (DATA: the folder that holds totalsegmentator and torso_ct)

Each organ in whose bed fat can lie is taken out of the parse, and its usual place is compared with its mask:
`dice`, and `mae` of the centroid in mm. With the phase declared and nothing measured, the usual means are compared with
the measured ones: `mae` in HU, beside the median of the population over all phases (`any_phase`). Real CTs are asked
for places alone: their phase is not known. Writes population.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.interop import import_labels
from synth.parse import Kind, Parse
from synth.parse.derive import derive_appearance
from synth.phantom import make
from synth.population import Population, usual_place, with_usual_look
from synth.population.look import MEAN
from synth.population.place import FILLED_BY_FAT
from synth.volume import read_volume, resample

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 93_000
SPACING_MM = 4.0
Found = dict[tuple[str, str, str, str], list[tuple[str, float]]]  # arena, organ, method, metric -> case, value


def main(data: Path, phantoms: int) -> None:
    """Both arenas, then the file."""
    started = time.monotonic()
    population = Population.load()
    found: Found = {}
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + phantoms):
        made = make(seed, spacing_mm=(SPACING_MM,) * 3)
        places(made.parse, population, "phantoms", str(seed), found)
        looks(derive_appearance(made.parse, made.image), population, str(seed), found)
        sys.stderr.write(f"phantom {seed}\n")
    for name, parse in real(data):
        places(parse, population, "real", name, found)
    rows = tuple(row(key, values) for key, values in sorted(found.items()))
    result = BenchmarkResult(
        "population",
        f"python benchmarks/population.py DATA --phantoms {phantoms}",
        {"population": population.sha256},
        time.monotonic() - started,
        rows,
    )
    (HERE / "population.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")


def real(data: Path) -> Iterator[tuple[str, Parse]]:
    """The two real CTs of the trunk whose organs are delineated."""
    seen = data / "totalsegmentator" / "example_ct.nii.gz", data / "torso_ct" / "ct.nii.gz"
    labels = data / "totalsegmentator" / "example_seg_fast_force_split.nii.gz", data / "torso_ct" / "labels.nii.gz"
    sources = {"source": "totalsegmentator"}, {"source": "names", "names": data / "torso_ct" / "labels.txt"}
    for image_path, label_path, how in zip(seen, labels, sources, strict=True):
        image = read_volume(image_path, modality="CT")
        parse = import_labels(label_path, image=image, derive=False, **how)  # type: ignore[arg-type]  # as it asks
        grid = resample(image, image.geometry.with_spacing(SPACING_MM)).geometry
        yield image_path.parent.name, parse.resampled(grid)


def places(parse: Parse, population: Population, arena: str, case: str, found: Found) -> None:
    """Each organ that lies whole in the image, left out and found again."""
    for entity in parse.entities:
        if entity.name in FILLED_BY_FAT and entity.id in parse.masks and not entity.truncated:
            truth = parse.masks[entity.id]
            guess = usual_place(parse.without(entity.id), entity.name, population)
            far = math.nan
            if guess is not None:
                far = float(np.linalg.norm(guess.centroid_mm(parse.geometry) - truth.centroid_mm(parse.geometry)))
            dice = 0.0 if guess is None else guess.dice(truth)
            found.setdefault((arena, entity.name, "ours", "dice"), []).append((case, dice))
            found.setdefault((arena, entity.name, "ours", "mae"), []).append((case, far))


def looks(measured: Parse, population: Population, case: str, found: Found) -> None:
    """The usual means of organs and findings against the measured ones."""
    truth = {a.entity: float(a.value) for a in measured.attributes if a.type == MEAN}
    told = with_usual_look(measured.without_derived(), population, 0)
    for a in told.attributes:
        if a.type == MEAN:
            entity = told.entity(a.entity)
            group = "findings" if entity.kind is Kind.finding else "organs"
            error = abs(float(a.value) - truth[a.entity])
            found.setdefault(("phantoms", group, "ours", "mae_hu"), []).append((case, error))
            known = [d.attenuation[entity.name] for d in population.donors if entity.name in d.attenuation]
            if known:
                off = abs(float(np.median(known)) - truth[a.entity])
                found.setdefault(("phantoms", group, "any_phase", "mae_hu"), []).append((case, off))


def row(key: tuple[str, str, str, str], values: list[tuple[str, float]]) -> Row:
    """The median over everything, its interval over cases."""
    arena, organ, method, metric = key
    by_case: dict[str, list[float]] = {}
    for case, value in values:
        by_case.setdefault(case, []).append(value)
    cases = list(by_case.values())
    low, high = math.nan, math.nan
    if len(cases) > 2:
        interval = bootstrap_interval(cases, _median, rng=np.random.default_rng(0))
        low, high = interval.low, interval.high
    return Row({"arena": arena, "organ": organ}, method, metric, _median(cases), low, high, len(values))


def _median(cases: Sequence[list[float]]) -> float:
    return float(np.nanmedian(np.concatenate([np.asarray(c) for c in cases])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=20)
    arguments = parser.parse_args()
    main(arguments.data, arguments.phantoms)
