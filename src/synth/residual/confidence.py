"""The audit's evidence and the parser's own confidence, added in nats: an order of findings, never a verdict.

    total = ln 2 + (1/2) ln p  +  w ln(c / (1 - c))

The first part is minus the log of 1 / (2 sqrt(p)), which turns a p-value of "the entity is there" into an e-value (Vovk
and Wang 2021, "E-values: calibration, combination and applications", the family k p^(k-1) with k = 1/2): it speaks for
the entity by 0.7 nats at most, and against it without bound. The second is the parser's log-odds. Its weight w is less
than one for two reasons: networks are too sure of themselves (Guo et al. 2017), and parser and audit read the same
image, so that what misleads one may mislead the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from synth.errors import InputError

DEFAULT_WEIGHT = 0.5
MOST_WEIGHT = 4.0
CLIP = 0.01  # a confidence nearer to 0 or 1 than this is not believed to be: 4.6 nats at most
TRUST = 4.0  # of the default weight, as a precision: decisions that shift the weight by half are about a dozen


@dataclass(frozen=True)
class Fused:
    """What each side says of "the entity is there", in nats; positive speaks for it.

    Attributes:
        audit: of the p-value; parser: of the confidence, weighed; None where the parser gives none.
    """

    audit: float
    parser: float | None

    @property
    def total(self) -> float:
        """Both together."""
        return self.audit + (self.parser or 0.0)


@dataclass(frozen=True)
class Reviewed:
    """One entity that somebody has decided on: whether it is there, the audit's p-value and the parser's confidence."""

    accepted: bool
    p_value: float
    confidence: float


def fused(p_value: float, confidence: float | None, weight: float = DEFAULT_WEIGHT) -> Fused:
    """Both parts for one entity.

    Example:
        >>> doubtful = fused(0.25, 0.5)
        >>> round(doubtful.audit, 3), doubtful.parser
        (0.0, 0.0)
        >>> round(fused(0.001, 0.99).total, 2), round(fused(0.001, None).total, 2)
        (-0.46, -2.76)
    """
    return Fused(audit_nats(p_value), None if confidence is None else weight * log_odds(confidence))


def audit_nats(p_value: float) -> float:
    """ln 2 + ln(p) / 2: minus the log of a valid e-value against "the entity is there"."""
    return math.log(2.0) + 0.5 * math.log(p_value)


def log_odds(confidence: float) -> float:
    """ln(c / (1 - c)), c kept 0.01 away from 0 and 1."""
    return float(special.logit(np.clip(confidence, CLIP, 1.0 - CLIP)))


def fit_weight(reviewed: Sequence[Reviewed]) -> float:
    """The weight under which accepted and rejected entities are told apart best, from 0 to 4.

    Maximises sum ln sigmoid(± (audit + w logit(c) + b)) - TRUST (w - 1/2)²: few decisions leave it near the default,
    and the share of rejected ones is taken up by the offset b.

    Raises:
        InputError: all are accepted, or none is.

    Example:
        >>> knows = [Reviewed(ok, 0.5, 0.95 if ok else 0.2) for ok in (True, False) * 50]
        >>> fit_weight(knows) > DEFAULT_WEIGHT
        True
        >>> rolls = [Reviewed(ok, 0.9 if ok else 0.01, c) for ok in (True, False) * 10 for c in (0.1, 0.5, 0.9)]
        >>> fit_weight(rolls) < DEFAULT_WEIGHT
        True
    """
    accepted = np.array([r.accepted for r in reviewed], bool)
    if accepted.all() or not accepted.any():
        got = f"{int(accepted.sum())} of {accepted.size} accepted"
        raise InputError("reviewed entities", expected="accepted and rejected ones", got=got, fix="add the other kind")
    audit = np.array([audit_nats(r.p_value) for r in reviewed])
    parser = np.array([log_odds(r.confidence) for r in reviewed])
    sign = np.where(accepted, 1.0, -1.0)

    def loss(x: np.ndarray) -> float:
        margin = sign * (audit + x[0] * parser + x[1])
        return float(np.logaddexp(0.0, -margin).sum() + TRUST * (x[0] - DEFAULT_WEIGHT) ** 2)

    found = optimize.minimize(loss, [DEFAULT_WEIGHT, 0.0], method="L-BFGS-B", bounds=[(0.0, MOST_WEIGHT), (None, None)])
    return float(found.x[0])
