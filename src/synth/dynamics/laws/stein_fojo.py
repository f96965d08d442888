"""Regression-growth: a part that shrinks and a part that grows, V = V0 (q exp(-d t) + (1 - q) exp(g t)).

Stein et al. write exp(-d t) + exp(g t) - 1; the share `q` of what responds makes the two parts explicit, so that the
law is the sum of two exponential ones: log-kill of the sensitive part beside growth of the resistant part.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synth.dynamics.laws.law import Float64, Law


def _solution(start: Float64, dt: Float64, p: Mapping[str, Float64]) -> Float64:
    share = np.clip(p["q"], 1e-9, 1 - 1e-9)
    return start + np.logaddexp(np.log(share) - p["d"] * dt, np.log1p(-share) + p["g"] * dt)


STEIN_FOJO = Law(
    name="stein_fojo",
    equation="V = V0 (q exp(-d t) + (1 - q) exp(g t))",
    ranges={"d": (0.0, 0.1), "g": (0.0, 0.05), "q": (0.0, 1.0)},
    source="Stein et al. 2008, Oncologist 13:1046; Stein et al. 2011, Clin Cancer Res 17:907",
    solution=_solution,
)
