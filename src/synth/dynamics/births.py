"""New lesions: a Poisson count whose hazard varies between patients.

    n(t) ~ Poisson(g h t),   g ~ Gamma(1/v, v)

h is the hazard (1/day), v the variance of the patient's frailty g. Source: Rondeau et al. 2007, Biostatistics 8:708.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import gamma, poisson

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Births:
    """The hazard of new lesions; no table that the shipped model is fitted on has any, so that it is assumed.

    Attributes:
        per_year: new lesions a year of a mean patient.
        frailty: variance of the patients' own factor.
    """

    per_year: float = 0.6
    frailty: float = 1.0

    def sample(self, days: Float64, patient: Float64, rng: np.random.Generator) -> NDArray[np.int64]:
        """(samples, H) counts so far, never falling; `patient` (samples,) is the standard normal of the frailty.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> Births().sample(np.array([0.0, 365.0]), np.zeros(3), rng)[:, 0].tolist()
            [0, 0, 0]
        """
        shape = 1.0 / self.frailty
        factor = gamma.ppf(np.clip(ndtr(patient), 1e-9, 1 - 1e-9), shape, scale=self.frailty)
        uniform = rng.uniform(size=len(patient))
        mean = factor[:, None] * self.per_year * days[None, :] / 365.25
        # One uniform a sample: the count is a quantile of a mean that only grows, so it never falls.
        return np.asarray(poisson.ppf(np.clip(uniform, 0.0, 1 - 1e-12)[:, None], mean), np.int64).clip(min=0)
