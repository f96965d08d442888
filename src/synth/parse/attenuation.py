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
