"""Declared attributes that only a comparison with other patients can check: a fatty liver, a rise after contrast.

    steatosis      d = liver - spleen, HU          expected: that of cases of the same phase + the grade's shift
    enhancement    u = measured - declared rise    expected: unenhanced HU of findings of that name

    z = |seen - expected| / sqrt(tolerance² + sd of the cases² + (2 sd of the outlines)²)

The spleen of the same image stands in for scanner and bolus: fat lowers the liver and leaves the spleen as it is
(Kodama et al. 2007, AJR 188:1307; Park et al. 2006, Radiology 239:105). One grade more or less is mostly within what
patients differ by, and then nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth.parse import Attribute, Parse, Phase
from synth.population import Population

TOLERANCE_HU = 10.0
LEAST_CASES = 5
MOST_SPREAD_HU = 25.0  # between cases: of what varies more nothing is expected
STEATOSIS, ENHANCEMENT = "steatosis_grade", "enhancement"
COMPARED = (STEATOSIS, ENHANCEMENT)
NO_STEATOSIS = "S0"


@dataclass(frozen=True)
class Usual:
    """What cases seen before have: mean and standard deviation, HU, and how many they are."""

    mean: float
    sd: float
    cases: int

    @classmethod
    def of(cls, values: list[float]) -> Usual | None:
        """None where too few cases have it, or they differ too much."""
        if len(values) < LEAST_CASES or np.std(values) > MOST_SPREAD_HU:
            return None
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))

    def off(self, seen: float, spread: float) -> float:
        """How far a measured value is from it, in standard deviations; `spread` is of the outlines, HU."""
        return float(abs(seen - self.mean) / np.sqrt(TOLERANCE_HU**2 + self.sd**2 + spread**2))


def usual_difference(population: Population, phase: Phase, grade: str) -> Usual | None:
    """Liver less spleen, HU, of patients with that grade in that phase.

    Example:
        >>> known = Population.load()
        >>> healthy, fatty = (usual_difference(known, Phase("unenhanced"), g) for g in ("S0", "S3"))
        >>> healthy.mean > 0 > -30 > fatty.mean
        True
    """
    told = (d.attenuation for d in population.donors if d.phase is phase)
    usual = Usual.of([hu["liver"] - hu["spleen"] for hu in told if {"liver", "spleen"} <= hu.keys()])
    if usual is None or grade == NO_STEATOSIS:
        return usual
    shift = population.shifts.get(STEATOSIS, {}).get(grade, {}).get("liver")
    return None if shift is None else Usual(usual.mean + shift, usual.sd, usual.cases)


def usual_unenhanced(population: Population, name: str) -> Usual | None:
    """Mean HU without contrast medium of findings of a name.

    Example:
        >>> round(usual_unenhanced(Population.load(), "liver_cyst").mean, -1)
        20.0
    """
    looks = (look for donor in population.donors for look in donor.findings)
    return Usual.of(
        [look.hu - look.enhancement for look in looks if look.name == name and look.enhancement is not None]
    )


def phase_of(attribute: Attribute, parse: Parse) -> Phase | None:
    """The phase that the attribute speaks of: its own, else the image's."""
    return attribute.phase or parse.circumstance.phase
