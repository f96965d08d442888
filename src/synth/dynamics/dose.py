"""How much of a drug is given: less than the usual dose kills less, by a law of the dose.

    ln V(t) rises by (1 - r^gamma) k_a [R_a(E(t)) - R_a(E(0))]

against the course at the usual dose: r the relative dose intensity, k_a and R_a the kill of class a of `rates`, E(t)
the days that it was given until t. It is 0 today, and stops to rise where the drug stops. Gamma comes from mice on dose
grids (`benchmarks/dose_response.py`), where no dose is the usual one: a power says the same wherever that lies.

Source: relative dose intensity, Hryniuk and Bush 1984, J Clin Oncol 2:1281.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.action import SystemicTherapy
from synth.dynamics.futures import EffectSource
from synth.dynamics.given import Given
from synth.dynamics.rates import Rates
from synth.errors import InputError
from synth.volume import write_bytes

Float64 = NDArray[np.float64]

SHIPPED = Path(__file__).with_name("dose.json")
Intensities = Mapping[str, tuple[float, ...]]
"""Class of drug -> the relative dose intensities of its agents."""


@dataclass(frozen=True)
class DoseResponse:
    """The power of the dose that the effect of a drug follows.

    Attributes:
        gamma: 1 is proportional to the dose, 0 any dose alike; low, high: its 95% interval over animals.
        drug_low, drug_high: the least and the most of the drugs, each by itself.
        classes: of those drugs; for another class gamma is assumed.
        source: where it is from, in words.

    Raises `InputError` for powers that are not above 0 and in order.

    Example:
        >>> law = DoseResponse(0.5, 0.4, 0.6, 0.1, 0.9, ("cytotoxic",), "an example")
        >>> law.lost((0.25,)), law.lost((1.0, 1.0)), law.lost((0.25, 1.0))
        (0.5, 0.0, 0.25)
    """

    gamma: float
    low: float
    high: float
    drug_low: float
    drug_high: float
    classes: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        inner, outer = (self.low, self.gamma, self.high), (self.drug_low, self.drug_high)
        if not all(math.isfinite(v) and v > 0 for v in (*inner, *outer)) or [*inner] != sorted(inner):
            got = f"{inner}, {outer}"
            raise InputError("dose response", expected="powers above 0, in order", got=got, fix="refit it")

    def lost(self, intensities: tuple[float, ...]) -> float:
        """The share of the kill that is lost, 1 - r^gamma, the mean over agents; below 0 for more than usual."""
        return 1.0 - sum(r**self.gamma for r in intensities) / len(intensities)

    def change(self, unusual: Intensities, rates: Rates, given: Given, early: Float64, late: Float64) -> Float64:
        """(H,) what ln V gains between the days `early` and `late` (H,), from now, of all that is `given`."""
        total = np.zeros(len(late))
        for name, intensities in unusual.items():
            kill = rates.kill(name)
            reached = kill.reached(given.exposed(name, late)) - kill.reached(given.exposed(name, early))
            total += self.lost(intensities) * kill.mean * reached
        return total

    def told(self, unusual: Intensities, rates: Rates) -> tuple[tuple[EffectSource, ...], tuple[str, ...]]:
        """How sure that is, and why, class by class."""
        sources: list[EffectSource] = []
        reasons: list[str] = []
        for name, intensities in unusual.items():
            fitted = name in self.classes and name in rates.kills
            sources.append("law" if fitted else "assumed")
            shares = ", ".join(f"{r:g}" for r in intensities)
            fits = f"gamma {self.gamma:.2f} ({self.low:.2f} to {self.high:.2f}; drugs {self.drug_low:.2f} to "
            fits += f"{self.drug_high:.2f}) from {self.source}"
            carried = "" if fitted else f", assumed for {name}"
            reasons.append(f"{name}: relative dose intensity {shares}, kill by law times r^gamma, {fits}{carried}")
        return tuple(sources), tuple(reasons)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_bytes(path, (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, path: Path = SHIPPED) -> DoseResponse:
        """Read it; raises InputError for what is no such file."""
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(classes=tuple(told.pop("classes")), **told)
        except (OSError, KeyError, TypeError, ValueError) as error:
            fix = "make it again with benchmarks/dose_response.py"
            raise InputError(str(path), expected="a dose response as JSON", got=str(error)[:200], fix=fix) from None

    @classmethod
    @cache
    def shipped(cls) -> DoseResponse:
        """Fitted to mice on dose grids."""
        return cls.load()


def unusual(therapies: Iterable[SystemicTherapy]) -> dict[str, tuple[float, ...]]:
    """The classes with an agent that is not given as usual, each with the intensities of all of its agents."""
    found: dict[str, tuple[float, ...]] = defaultdict(tuple)
    for therapy in therapies:
        for agent in therapy.agents:
            found[str(agent.agent_class)] += (agent.relative_dose_intensity,)
    return {name: found[name] for name in sorted(found) if any(r != 1.0 for r in found[name])}
