"""Risk against coverage of scores in nats, of which the sign decides and the size says how sure it is.

coverage   share of the cases that are kept, the surest first
risk       share of wrong signs among those kept; generalised: among all, the kept ones with a wrong sign
aurc       mean risk over coverage; augrc: mean generalised risk (Traub et al. 2024, NeurIPS)

The cases count as they come: where few are wrong the areas are small whatever the score, and compare methods on the
same cases, not families or arenas.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.separation import Measure


def coverage_risk(
    wrong: NDArray[np.bool_], score: NDArray[np.float64], *, generalised: bool = False
) -> NDArray[np.float64]:
    """Risk by coverage from one case to all, (n,); a positive score says that a case is right. Both are (n,).

    Example:
        >>> coverage_risk(np.array([True, False, True]), np.array([-3.0, -2.0, -1.0])).round(2).tolist()
        [0.0, 0.5, 0.33]
    """
    error = (score > 0) == wrong
    errors = np.cumsum(error[np.argsort(-np.abs(score), kind="stable")])
    return errors / (len(score) if generalised else np.arange(1, len(score) + 1))


def aurc(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Mean of the risk over coverage, 0 to 1, lower is better."""
    return float(coverage_risk(wrong, score).mean())


def augrc(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Mean of risk x coverage, 0 to 1/2, lower is better."""
    return float(coverage_risk(wrong, score, generalised=True).mean())


SELECTIVE: Mapping[str, Measure] = {"aurc": aurc, "augrc": augrc}
"""By the name of the metric."""
