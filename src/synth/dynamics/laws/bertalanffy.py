"""Bertalanffy growth: dV/dt = a V^lam - b V; with u = V^(1-lam) it is linear, du/dt = (1 - lam)(a - b u)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synth.dynamics.laws.law import Float64, Law, expm1_over

SOURCE = "von Bertalanffy 1957, Q Rev Biol 32:217; Ghaffari Laleh et al. 2022, PLoS Comput Biol 18:e1009822, Table 1"


def _solution(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    a, b, lam = p["a"], p["b"], p["lam"]
    power = 1.0 - lam
    u = np.exp(power * start - power * b * dt) + power * a * expm1_over(power * b, dt)
    return np.log(np.maximum(u, 1e-300)) / power


def _classic(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    return _solution(start, dt, {**p, "lam": np.asarray(2.0 / 3.0)})


BERTALANFFY = Law(
    name="bertalanffy",
    equation="dV/dt = a V^(2/3) - b V",
    ranges={"a": (0.0, 0.5), "b": (0.0, 0.1)},
    source=SOURCE,
    solution=_classic,
)
GENERAL_BERTALANFFY = Law(
    name="general_bertalanffy",
    equation="dV/dt = a V^lam - b V, 0 <= lam < 1",
    ranges={"a": (0.0, 0.5), "b": (0.0, 0.1), "lam": (0.2, 0.95)},
    source=SOURCE,
    solution=_solution,
)
