"""Logistic growth: dV/dt = a V (1 - V/K), so 1/V - 1/K decays as exp(-a t)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synth.dynamics.laws.law import Float64, Law


def _solution(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    log_k, a = p["log_k"], p["a"]
    # V = K / (1 + (K/V0 - 1) exp(-a t)), in logarithms; the inner sum is exp(-a t) K/V0 + (1 - exp(-a t)).
    inner = np.exp(np.minimum(log_k - start - a * dt, 700.0)) - np.expm1(-a * dt)
    return log_k - np.log(np.maximum(inner, 1e-300))


LOGISTIC = Law(
    name="logistic",
    equation="dV/dt = a V (1 - V/K), log_k = ln K",
    ranges={"a": (-0.05, 0.05), "log_k": (0.0, 16.0)},
    source="Ghaffari Laleh et al. 2022, PLoS Comput Biol 18:e1009822, Table 1",
    solution=_solution,
)
