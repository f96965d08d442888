"""Declared attributes and relations against image and masks: true claims under jittered outlines, and planted faults.

    python benchmarks/declared.py DATA [--phantoms 24]      (DATA: a folder laid out like openkbp/validation)

On real CT each organ's mean, spread and edges are declared as measured under its own outline, and audited
under a jittered one; a fault is 4 to 10 tolerances off. On phantoms, with jittered outlines, the declared categories of
attenuation, grades of steatosis, rises after contrast medium, spatial relations and sides, against flipped attributes,
turned relations and relations to something else, and swapped sides. "steatosis_grade_far" are flips by two grades or
three.
`auroc` of the score, `power`: share of the faults called wrong, `false_alarms`: of the true claims. Writes
`declared.json` beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.decoder.checkpoint import weights_folder
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jittered
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Attribute, Parse
from synth.parse.derive import derive_appearance, derive_relations
from synth.phantom import make
from synth.population import Population
from synth.residual.against_usual import COMPARED, STEATOSIS
from synth.residual.attributes import MEASURED, CheckedAttribute, check_attributes
from synth.residual.judge import AuditModel
from synth.residual.relations import CheckedRelation, check_relations
from synth.residual.sides import swapped_sides
from synth.volume import Volume

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 61_000
SPACING_MM = 3.0
FAULTS = 3  # a claim
PLANTED = ("attenuation_class", *COMPARED)
FAR, FAR_GRADES = "steatosis_grade_far", 2
TOLERANCES = (4.0, 10.0)


@dataclass
class Found:
    """Of one family in one case: scores (high is suspicious) and verdicts of true claims and of faults."""

    true: list[tuple[float, bool]] = field(default_factory=list)
    faults: list[tuple[float, bool]] = field(default_factory=list)


Case = dict[str, Found]


@cache
def audit_model() -> AuditModel:
    """The shipped one, read once."""
    return AuditModel.load(weights_folder("audit"))


def checked(parse: Parse, image: Volume, rng: np.random.Generator, only: set[str]) -> Iterator[CheckedAttribute]:
    """The checked attributes of the entities `only`."""
    prior = audit_model().prior
    for i in sorted(only & set(parse.present_ids)):
        yield from check_attributes(image, parse, parse.entity(i), prior, Population.load(), rng)


def declared_numbers(image: Volume, parse: Parse, rng: np.random.Generator) -> Case:
    """What was measured under the true outlines, declared of jittered ones, true and off."""
    case: Case = {name: Found() for name in MEASURED} | {"sides": sides(jittered(parse, rng), rng)}
    measured = [a for a in derive_appearance(parse, image).attributes if a.type in MEASURED]
    true = [a.changed(derived=False, source=None) for a in measured]
    claimed = jittered(parse.replace(attributes=true), rng)
    ids = {a.entity for a in true}
    for c in checked(claimed, image, rng, ids):
        if c.z is not None:
            case[c.attribute.type].true.append((c.z, c.wrong is True))
    for _ in range(FAULTS):
        for c in checked(claimed.replace(attributes=[off(a, rng) for a in true]), image, rng, ids):
            if c.z is not None:
                case[c.attribute.type].faults.append((c.z, c.wrong is True))
    return case


def off(a: Attribute, rng: np.random.Generator) -> Attribute:
    """The attribute, 4 to 10 tolerances from its value."""
    kind = a.definition
    step = float(rng.uniform(*TOLERANCES) * kind.tolerance * rng.choice([-1, 1]))
    low, high = kind.low, kind.high
    assert low is not None  # all that are measured have a range
    assert high is not None
    value = a.value + step if low <= a.value + step <= high else a.value - step
    return a.changed(value=float(value))


def planted(image: Volume, parse: Parse, rng: np.random.Generator) -> Case:
    """Categories, grades, rises and relations of a phantom."""
    relations = [r.changed(derived=False) for r in derive_relations(parse).relations]
    claimed = jittered(parse.replace(relations=relations), rng)
    case = flips(image, claimed, rng)
    case["sides"] = sides(claimed, rng)
    for c in check_relations(claimed):
        note(case, c, "true")
    for _ in range(10 * FAULTS):
        try:
            fault = inject(claimed, FaultSpec("wrong_relation"), rng)
        except InputError:
            break
        key = tuple(fault.record.parameters["to"])
        only = fault.parse.replace(relations=[r for r in fault.parse.relations if r.key == key])
        for c in check_relations(only):
            note(case, c, "faults")
    return case


def flips(image: Volume, claimed: Parse, rng: np.random.Generator) -> Case:
    """The attributes that a phantom declares, as they are and flipped one at a time."""
    case: Case = {name: Found() for name in (*PLANTED, FAR)}
    told = [a for a in claimed.attributes if a.type in PLANTED and not a.derived]
    for c in checked(claimed, image, rng, {a.entity for a in told}):
        if c.attribute in told and c.z is not None:
            for name in names_of(c.attribute, c.attribute):
                case[name].true.append((c.z, c.wrong is True))
    for a in told:
        for _ in range(FAULTS):
            wrong = flipped(claimed, a, rng)
            for c in checked(wrong, image, rng, {a.entity}):
                if c.attribute.type == a.type and c.z is not None:
                    for name in names_of(c.attribute, a):
                        case[name].faults.append((c.z, c.wrong is True))
    return case


def names_of(declared: Attribute, true: Attribute) -> tuple[str, ...]:
    """Under which names a claim is counted."""
    if declared.type != STEATOSIS:
        return (declared.type,)
    grades = [int(str(a.value)[1:]) for a in (declared, true)]
    far = declared == true or abs(grades[0] - grades[1]) >= FAR_GRADES
    return (STEATOSIS, FAR) if far else (STEATOSIS,)


def sides(parse: Parse, rng: np.random.Generator) -> Found:
    """Every pair as it is, and some with their names swapped."""
    found, said = Found(), {s.entity.id for s in swapped_sides(parse)}
    there = {e.name for e in parse.entities if e.id in parse.present_ids}
    pairs = [e.id for e in parse.entities if {e.name, e.term.mirror} <= there]
    found.true += [(float(i in said), i in said) for i in pairs]
    for _ in range(FAULTS if pairs else 0):
        fault = inject(parse, FaultSpec("swap_sides"), rng)
        said = {s.entity.id for s in swapped_sides(fault.parse)}
        found.faults += [(float(e.entity in said), e.entity in said) for e in fault.record.expected]
    return found


def flipped(parse: Parse, a: Attribute, rng: np.random.Generator) -> Parse:
    """The parse with another category for one attribute."""
    return inject(parse, FaultSpec("flip_attribute", entity=a.entity, attribute=a.type), rng).parse


def note(case: Case, c: CheckedRelation, where: str) -> None:
    """Keep a relation's score."""
    if c.measured is not None:
        found = case.setdefault(c.relation.type, Found())
        getattr(found, where).append((-c.measured.score, c.wrong is True))


def rows_of(arena: str, family: str, cases: list[Case]) -> Iterator[Row]:
    """Pooled over the cases, intervals over them."""
    for name in sorted({key for case in cases for key in case}):
        own = [case.get(name, Found()) for case in cases]
        group = {"arena": arena, "family": "swap_sides" if name == "sides" else family, "type": name}
        for metric in ("auroc", "power", "false_alarms"):
            value = score(own, metric)
            if math.isnan(value):
                continue
            ends = bootstrap_interval(
                own, lambda some, m=metric: score(list(some), m), rng=np.random.default_rng(0), draws=300
            )
            count = sum(len(f.faults if metric == "power" else f.true) for f in own)
            yield Row(group, "ours", metric, value, ends.low, ends.high, count)


def score(found: list[Found], metric: str) -> float:
    """One number; NaN without what it needs."""
    true, faults = ([x for f in found for x in getattr(f, name)] for name in ("true", "faults"))
    if metric == "false_alarms":
        return float(np.mean([w for _, w in true])) if true else math.nan
    if not faults or not true:
        return math.nan
    if metric == "power":
        return float(np.mean([w for _, w in faults]))
    return float(roc_auc_score([0] * len(true) + [1] * len(faults), [s for s, _ in (*true, *faults)]))


def main() -> None:
    """Measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=24)
    asked = parser.parse_args()
    started = time.monotonic()
    real, made = [], []
    for number, folder in enumerate(patient_folders(asked.data)):
        patient = read_patient(folder)
        real.append(declared_numbers(patient.image, patient.parse, np.random.default_rng([1, number])))
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + asked.phantoms):
        phantom = make(seed, spacing_mm=(SPACING_MM,) * 3)
        made.append(planted(phantom.image, phantom.parse.without_derived(), np.random.default_rng([2, seed])))
    rows = [*rows_of("openkbp", "flip_attribute", real)]
    classes = [{k: v for k, v in case.items() if k in (*PLANTED, FAR)} for case in made]
    edges = [{k: v for k, v in case.items() if k not in (*PLANTED, FAR)} for case in made]
    rows += [*rows_of("phantoms", "flip_attribute", classes), *rows_of("phantoms", "wrong_relation", edges)]
    sha = audit_model().sha256
    command = f"python benchmarks/declared.py {asked.data.name} --phantoms {asked.phantoms}"
    result = BenchmarkResult("declared", command, {"audit": sha}, time.monotonic() - started, tuple(rows))
    (HERE / "declared.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
