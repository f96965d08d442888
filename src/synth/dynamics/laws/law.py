"""What a growth law is: the logarithm of a volume after some days, from the logarithm of the volume now.

Legend: V volume, t days, a growth rate (1/day), b decay or slowing rate (1/day), K capacity, lam exponent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.errors import InputError

Float64 = NDArray[np.float64]
Solution = Callable[[Float64, Float64, Mapping[str, Float64]], Float64]


@dataclass(frozen=True)
class Law:
    """A growth law in closed form, or integrated to machine-like accuracy where there is none.

    Attributes:
        name: key in the registry.
        equation: dV/dt, as text.
        ranges: name -> the (low, high) a parameter is searched in, per day or without unit.
        source: the paper.
        solution: ln V after dt, from ln V and the parameters; all broadcast.
    """

    name: str
    equation: str
    ranges: Mapping[str, tuple[float, float]]
    source: str
    solution: Solution = field(repr=False)

    def log_volume(self, log_volume: ArrayLike, dt_days: ArrayLike, **parameters: ArrayLike) -> Float64:
        """ln V after `dt_days`; exactly the argument at dt = 0. Shapes broadcast; volumes in ml, rates per day.

        Raises InputError for a missing or unknown parameter and for a negative time.

        Example:
            >>> from synth.dynamics.laws import LAWS
            >>> float(LAWS["exponential"].log_volume(0.0, 10.0, a=0.05))
            0.5
        """
        if set(parameters) != set(self.ranges):
            expected = f"parameters {sorted(self.ranges)}"
            raise InputError(f"law '{self.name}'", expected=expected, got=str(sorted(parameters)), fix="name them all")
        start, dt = np.asarray(log_volume, np.float64), np.asarray(dt_days, np.float64)
        if (dt < 0).any():
            got = f"{dt.min():g} days"
            raise InputError(f"law '{self.name}'", expected="a time from 0 on", got=got, fix="growth is run forwards")
        after = self.solution(start, dt, {k: np.asarray(v, np.float64) for k, v in parameters.items()})
        return np.where(dt == 0.0, start, after)


def expm1_over(rate: Float64, dt: Float64) -> Float64:
    """(1 - exp(-rate dt)) / rate, and its limit dt where the rate vanishes."""
    safe = np.where(np.abs(rate) < 1e-12, 1.0, rate)
    return np.where(np.abs(rate) < 1e-12, dt, -np.expm1(-safe * dt) / safe)
