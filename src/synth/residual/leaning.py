"""Which way the image points about an entity that the parse itself calls uncertain; no verdict, for nothing is claimed.

    speaks against    score <= -ln 3   and   p <= alpha    (unusual for a true one, and better explained without it)
    speaks for        score >= +ln 3   and   p > alpha
    does not decide   else

Each uncertain entity is looked at by itself: it is no part of the claims among which the false discovery rate is held,
and no false alarm is counted for it. Three to one is the least that a reader would call a hint.
"""

from __future__ import annotations

import math

from synth.residual.findings import Leaning

LEAST_NATS = math.log(3.0)

WORDS = {
    Leaning.speaks_for: "the image speaks for it",
    Leaning.speaks_against: "the image speaks against it",
    Leaning.does_not_decide: "the image does not decide",
}


def leaning(score: float, p_value: float | None, alpha: float) -> Leaning:
    """The direction of the evidence; without calibration (`p_value` None) the score alone says it.

    Example:
        >>> leaning(3.0, 0.4, 0.1).value, leaning(-3.0, 0.01, 0.1).value, leaning(-3.0, 0.4, 0.1).value
        ('speaks_for', 'speaks_against', 'does_not_decide')
    """
    if abs(score) < LEAST_NATS:
        return Leaning.does_not_decide
    unusual = score < 0 if p_value is None else p_value <= alpha
    if score < 0:
        return Leaning.speaks_against if unusual else Leaning.does_not_decide
    return Leaning.does_not_decide if unusual else Leaning.speaks_for
