"""What the categories of attenuation mean in HU."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

ABSOLUTE_HU: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "air": (-np.inf, -400.0),
        "fat": (-200.0, -20.0),
        "fluid": (-20.0, 25.0),
        "calcified": (130.0, np.inf),
        "metal": (2000.0, np.inf),
    }
)
"""HU of the categories that are what they are; fluid as Bosniak 2019 has it, with room for noise."""
AGAINST_HOST_HU: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"hypodense": (-np.inf, -10.0), "isodense": (-20.0, 20.0), "hyperdense": (10.0, np.inf)}
)
"""HU above the organ around for the others."""


def category_of(hu: float, host_hu: float | None) -> str | None:
    """The category of a mean, HU: air, fat or fluid by itself, else against the organ around; None without one.

    Calcified is not told by a mean: contrast medium is as bright.

    Example:
        >>> category_of(-90.0, 60.0), category_of(10.0, 110.0), category_of(70.0, 110.0), category_of(70.0, None)
        ('fat', 'fluid', 'hypodense', None)
    """
    for name in ("air", "fat", "fluid"):
        low, high = ABSOLUTE_HU[name]
        if low <= hu < high:
            return name
    if host_hu is None:
        return None
    # Isodense takes in a margin on both sides; what is clearly beyond the organ is said to be so.
    return next((n for n in ("hypodense", "hyperdense") if _between(hu - host_hu, *AGAINST_HOST_HU[n])), "isodense")


def _between(value: float, low: float, high: float) -> bool:
    return low < value < high
