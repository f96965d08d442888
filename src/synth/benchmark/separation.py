"""How well a score tells what is wrong from what is right; lower scores are less believable.

auroc   chance that something wrong scores lower than something right, ties counting half
aupr    area under precision against recall, had `PREVALENCE` of all been wrong
fpr95   share of what is right that is flagged where 95% of what is wrong is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

PREVALENCE = 0.05
Measure = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]


def auroc(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Chance that something wrong is less believable than something right; both (n,), of either at least one."""
    rank = rankdata(-score)
    found = int(wrong.sum())
    return float((rank[wrong].sum() - found * (found + 1) / 2) / (found * (len(wrong) - found)))


def aupr(wrong: NDArray[np.bool_], score: NDArray[np.float64], *, prevalence: float = PREVALENCE) -> float:
    """Average precision where what is wrong weighs `prevalence` of all, whatever its share of the cases.

        AP = sum_k (R_k - R_(k-1)) P_k,    P_k = pi R_k / (pi R_k + (1 - pi) F_k)

    R_k, F_k: the shares of what is wrong and of what is right with a score up to the k-th distinct one, pi: prevalence.
    The same as average precision with a weight of (1 - pi) / pi x wrong / right on each that is right. Scores that tell
    nothing have pi, perfect ones 1. Both arguments are (n,), of either kind at least one.

    Example:
        >>> aupr(np.array([True, False, False]), np.array([-1.0, 0.0, 2.0]))
        1.0
    """
    order = np.argsort(score, kind="stable")
    last = np.append(np.diff(score[order]) > 0, True)  # of each run of ties
    found = np.cumsum(wrong[order])[last] / wrong.sum()
    false = np.cumsum(~wrong[order])[last] / (~wrong).sum()
    precision = prevalence * found / (prevalence * found + (1 - prevalence) * false)
    return float((np.diff(found, prepend=0.0) * precision).sum())


def fpr95(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Share of what is right flagged at the threshold that finds 95% of what is wrong; both (n,)."""
    lowest = np.sort(score[wrong])
    enough = np.searchsorted(np.arange(1, len(lowest) + 1) / len(lowest), 0.95)
    return float((score[~wrong] <= lowest[enough]).mean())


SEPARATIONS: Mapping[str, Measure] = {"auroc": auroc, "aupr": aupr, "fpr95": fpr95}
"""By the name of the metric."""
