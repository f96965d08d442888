"""Toy patients, a decoder fitted on them and an audit model calibrated with it: small, nothing in it pretended."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from synth.residual import AuditModel, CalibrationCase, IntensityPrior, Plan, Sample, collect, fit_judge
from synth.residual.calibration import collect_findings

HERE = Path(__file__).resolve().parent


def load(name: str) -> ModuleType:
    """A module beside this one; tests are not a package."""
    key = f"synth_tests_{name}"
    if key not in sys.modules:
        found = importlib.util.spec_from_file_location(key, HERE / f"{name}.py")
        assert found is not None
        assert found.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules[key])
    return sys.modules[key]


toy_patient = load("toy_patient").toy_patient
ball = load("toy_patient").ball
GaussianDecoder = load("gaussian_decoder").GaussianDecoder


@cache
def decoder() -> Any:
    """Fitted on eight patients."""
    return GaussianDecoder.fit([(t.image, t.parse) for t in (toy_patient(s, lesion=True) for s in range(8))])


@cache
def prior() -> IntensityPrior:
    """Counted over eight patients."""
    toys = [toy_patient(s, lesion=True) for s in range(8)]
    return IntensityPrior.fit(
        (t.image.array, {t.parse.entity(i).name: t.parse.masks[i] for i in t.parse.present_ids}) for t in toys
    )


def case_of(seed: int, *, lesion: bool) -> CalibrationCase:
    """A toy patient with its correct parse, as a calibration takes it."""
    toy = toy_patient(seed, lesion=lesion)
    return CalibrationCase.of(f"toy{seed}", decoder().encode(toy.image), toy.parse)


def claims_of_findings(seeds: range, plan: Plan) -> list[Sample]:
    """Claims about the findings of toy patients that have a lesion."""
    cases = ((seed, case_of(seed, lesion=True)) for seed in seeds)
    return [s for seed, case in cases for s in collect_findings(case, decoder(), prior(), seed=seed, plan=plan)]


@cache
def model() -> AuditModel:
    """Calibrated on twelve other patients, every second one with a lesion."""
    cases = [case_of(seed, lesion=seed % 2 == 0) for seed in range(100, 112)]
    drawn = collect(cases, decoder(), prior(), plan=Plan(jitters=1, moves=2, hallucinations=1, deletions=1))
    return AuditModel(prior(), {"gaussian": fit_judge(drawn, decoder())}, "toy")
