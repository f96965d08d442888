"""Gompertz growth: dV/dt = V^lam (a - b ln V); at lam = 1 ln V relaxes to a/b as exp(-b t)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synth.dynamics.laws.law import Float64, Law, expm1_over

SOURCE = "Laird 1964, Br J Cancer 18:490; Ghaffari Laleh et al. 2022, PLoS Comput Biol 18:e1009822, Table 1"
STEPS = 16
"""Runge-Kutta steps of the general law, which has no elementary closed form; the error is far below a voxel's."""


def _solution(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    return start * np.exp(-p["b"] * dt) + p["a"] * expm1_over(p["b"], dt)


def _general(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    """Fourth-order Runge-Kutta for y = ln V: dy/dt = exp((lam - 1) y) (a - b y)."""
    a, b, lam = p["a"], p["b"], p["lam"]

    def rate(y: Float64) -> Float64:
        return np.exp(np.clip((lam - 1.0) * y, -50.0, 5.0)) * (a - b * y)

    step = dt / STEPS
    y = start + 0.0 * dt
    for _ in range(STEPS):
        k1 = rate(y)
        k2 = rate(y + step * k1 / 2)
        k3 = rate(y + step * k2 / 2)
        y = np.clip(y + step * (k1 + 2 * k2 + 2 * k3 + rate(y + step * k3)) / 6, -30.0, 30.0)
    return y


GOMPERTZ = Law(
    name="gompertz",
    equation="dV/dt = V (a - b ln V)",
    ranges={"a": (-0.2, 0.3), "b": (0.0, 0.03)},
    source=SOURCE,
    solution=_solution,
)
GENERAL_GOMPERTZ = Law(
    name="general_gompertz",
    equation="dV/dt = V^lam (a - b ln V)",
    ranges={"a": (-0.2, 0.3), "b": (0.0, 0.03), "lam": (0.7, 1.0)},
    source=SOURCE,
    solution=_general,
)
