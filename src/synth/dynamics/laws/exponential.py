"""Exponential growth: dV/dt = a V, so ln V(t) = ln V(0) + a t."""

from __future__ import annotations

from collections.abc import Mapping

from synth.dynamics.laws.law import Float64, Law


def _solution(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    return start + p["a"] * dt


EXPONENTIAL = Law(
    name="exponential",
    equation="dV/dt = a V",
    ranges={"a": (-0.05, 0.05)},
    source="Ghaffari Laleh et al. 2022, PLoS Comput Biol 18:e1009822, Table 1",
    solution=_solution,
)
