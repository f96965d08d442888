"""A presence test without any rendering: are the intensities under a mask those that its class has elsewhere?

Intensities are brought to 0..1, each class gets one Beta distribution, and a mask is compared with that of its class by
the statistic of Kolmogorov and Smirnov:

    u = clip((HU + 1000) / 2000, 0, 1)      a/(a+b), ab/((a+b)^2 (a+b+1)) = pooled mean, variance of u
    score = -max |F_mask(u) - F_Beta(u)|

The statistic and not its p-value is scored: with thousands of voxels every true organ has a p-value of zero. As in Zhao
et al. 2025, "A foundation model for joint segmentation, detection and recognition of biomedical objects across nine
modalities", where it rejects prompts for what is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synth.parse import VOCABULARY, Parse
from synth.volume import Volume

LOWEST_HU, WIDTH_HU = -1000.0, 2000.0
LEAST_VARIANCE = 1e-6  # of u: 2 HU, what a class of one tissue in one phantom still has


@dataclass(frozen=True)
class BetaPresence:
    """One Beta distribution a class: name -> (a, b)."""

    shapes: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, cases: Iterable[tuple[Volume, Parse]]) -> BetaPresence:
        """By moments over all voxels of a name, and of each of its ancestors, in correct parses.

        Example:
            >>> import numpy as np
            >>> from synth.parse import Entity
            >>> from synth.volume import Geometry, Mask
            >>> grid, hu = Geometry.regular((8, 8, 8), 4.0), np.random.default_rng(0).normal(60, 20, (8, 8, 8))
            >>> image = Volume(hu.astype(np.float32), grid, "CT", "HU")
            >>> mask = Mask.from_box((8, 8, 8), (2, 2, 2), np.ones((4, 4, 4), bool))
            >>> z = Parse([Entity(id="liver", name="liver")], geometry=grid, masks={"liver": mask})
            >>> fitted = BetaPresence.fit([(image, z)])
            >>> true, false = mask.values(image.array), np.full(64, -100.0)
            >>> fitted.score("liver", true) > -0.2 > -0.9 > fitted.score("liver", false)
            True
        """
        sums: dict[str, NDArray[np.float64]] = {}
        for image, parse in cases:
            for id in parse.present_ids:
                u = _unit(parse.masks[id].values(image.array))
                moments = np.array([u.size, u.sum(), np.square(u).sum()])
                name = parse.entity(id).name
                for each in (name, *VOCABULARY.ancestors(name)):
                    sums[each] = sums.get(each, np.zeros(3)) + moments
        return cls({name: _shape(*(total / total[0])[1:]) for name, total in sums.items()})

    def score(self, name: str, hu: NDArray[np.floating]) -> float:
        """0 (as the class is) to -1; NaN for a name of which neither it nor an ancestor was seen."""
        known = next((n for n in (name, *VOCABULARY.ancestors(name)) if n in self.shapes), None)
        if known is None or not hu.size:
            return float("nan")
        a, b = self.shapes[known]
        return -float(stats.ks_1samp(_unit(hu), stats.beta(a, b).cdf, method="asymp").statistic)


def _unit(hu: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.clip((np.asarray(hu, np.float64) - LOWEST_HU) / WIDTH_HU, 0.0, 1.0)


def _shape(mean: float, square: float) -> tuple[float, float]:
    """a, b of the Beta distribution of this mean and mean square."""
    mean = float(np.clip(mean, 1e-4, 1 - 1e-4))
    spread = mean * (1 - mean)
    variance = float(np.clip(square - mean * mean, LEAST_VARIANCE, 0.99 * spread))
    size = spread / variance - 1
    return mean * size, (1 - mean) * size
