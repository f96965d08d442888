"""Fit how outlines are judged (src/synth/residual/extent.json): held-out OpenKBP patients and phantoms, none tested on.

    python benchmarks/extent_fit.py DATA [--phantoms 18]      (DATA: a folder laid out like openkbp/train)

The last 26 patients by number, which no decoder and no population was trained on, and some phantoms, each through
another scanner. Prints what the cross-fitted scores reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from synth.benchmark.extents import TRUE, ExtentClaim, cross_fitted, extent_claims, fit_extent
from synth.decoder.checkpoint import weights_folder
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Kind, Parse
from synth.phantom import make
from synth.residual.extent import SHIPPED
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import PRIOR
from synth.training.cases import HELD_OUT
from synth.training.scanner import another_scanner

FIRST_PHANTOM = 71_000
ENTITIES = 8  # of a phantom, beside its findings
JITTERS, JITTERS_PHANTOM = 4, 3
CHECKED = (Kind.organ, Kind.substructure, Kind.finding)


def chosen(parse: Parse, rng: np.random.Generator, count: int) -> list[str]:
    """All findings of a phantom and some of its organs and parts."""
    there = [i for i in parse.present_ids if parse.entity(i).kind in CHECKED and i in parse.masks]
    findings = [i for i in there if parse.entity(i).kind is Kind.finding]
    others = [i for i in there if i not in findings]
    return [*findings, *map(str, rng.permutation(others)[:count])]


def claims_of(data: Path, phantoms: int, prior: IntensityPrior) -> Iterator[ExtentClaim]:
    """The claims about every case."""
    for number, folder in enumerate(patient_folders(data)[-HELD_OUT:]):
        patient, rng = read_patient(folder), np.random.default_rng([11, number])
        ids = patient.parse.present_ids
        yield from extent_claims(patient.name, patient.image, patient.parse, prior, rng, ids=ids, jitters=JITTERS)
        sys.stderr.write(f"{patient.name}\n")
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + phantoms):
        phantom, rng = make(seed), np.random.default_rng([12, seed])
        image = phantom.image.with_array(another_scanner(phantom.image.array, rng))
        ids = chosen(phantom.parse, rng, ENTITIES)
        yield from extent_claims(f"phantom {seed}", image, phantom.parse, prior, rng, ids=ids, jitters=JITTERS_PHANTOM)
        sys.stderr.write(f"phantom {seed}\n")


def main() -> None:
    """Draw, fit, write, and print AUROC by family and arena."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=18)
    asked = parser.parse_args()
    prior = IntensityPrior.load(weights_folder("audit") / PRIOR)
    claims = list(claims_of(asked.data, asked.phantoms, prior))
    command = f"python benchmarks/extent_fit.py {asked.data.name} --phantoms {asked.phantoms}"
    fit_extent(claims, prior, {"command": command}).save(SHIPPED)
    scores = np.array(cross_fitted(claims))
    phantom = np.array([c.case.startswith("phantom") for c in claims])
    family = np.array([f"{c.family} {c.severity}" for c in claims])
    for where, here in (("openkbp", ~phantom), ("phantoms", phantom)):
        true = here & (family == f"{TRUE} {TRUE}")
        for each in sorted(set(family[here]) - {f"{TRUE} {TRUE}"}):
            wrong = here & (family == each)
            value = roc_auc_score(
                np.r_[np.zeros(true.sum()), np.ones(wrong.sum())], -np.r_[scores[true], scores[wrong]]
            )
            sys.stdout.write(f"{where:9} {each:14} {value:.3f} ({wrong.sum()})\n")


if __name__ == "__main__":
    main()
