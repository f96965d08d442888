"""An image in memory: float32 intensities with the geometry, modality and unit that give them meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.volume.geometry import Float64, Geometry, Index3, Slices3

Modality = Literal["CT", "MR", "unknown"]
Unit = Literal["HU", "au"]
AIR_HU = -1024.0


@dataclass(frozen=True, eq=False)
class Volume:
    """Intensities (X, Y, Z), float32 and read-only, closest to RAS+; CT in Hounsfield units, else arbitrary units.

    Raises InputError when array and geometry differ in shape, the axes are not RAS+, or a value is not finite.

    Example:
        >>> image = Volume(np.zeros((4, 4, 4)), Geometry.regular((4, 4, 4), 2.0), modality="CT", unit="HU")
        >>> image.shape, image.array.dtype.name
        ((4, 4, 4), 'float32')
    """

    array: NDArray[np.float32]
    geometry: Geometry
    modality: Modality = "unknown"
    unit: Unit = "au"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        array = np.ascontiguousarray(self.array, dtype=np.float32).view()
        if array.shape != self.geometry.shape:
            expected = f"shape {self.geometry.shape} of its geometry"
            raise InputError("image", expected=expected, got=str(array.shape), fix="give the geometry of this array")
        if self.geometry.axis_codes != "RAS":
            got = self.geometry.axis_codes
            raise InputError("image axes", expected="RAS", got=got, fix="reorient with synth.volume.to_ras")
        if self.modality not in get_args(Modality) or self.unit not in get_args(Unit):
            expected = f"modality of {get_args(Modality)} and unit of {get_args(Unit)}"
            raise InputError("image", expected=expected, got=f"{self.modality}, {self.unit}", fix="state one of these")
        # A sum is not finite when any term is not, and costs a tenth of an elementwise test.
        if not np.isfinite(array.sum(dtype=np.float64)):
            bad = int((~np.isfinite(array)).sum())
            raise InputError(
                "image values", expected="finite numbers", got=f"{bad} NaN or infinite voxels", fix="fill them first"
            )
        array.flags.writeable = False
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    @property
    def shape(self) -> Index3:
        """(X, Y, Z)."""
        return self.geometry.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres."""
        return self.geometry.spacing_mm

    @property
    def affine(self) -> Float64:
        """Voxel index to millimetres, (4, 4)."""
        return self.geometry.affine

    @property
    def fill_value(self) -> float:
        """What lies outside the field of view: air in CT, nothing otherwise."""
        return AIR_HU if self.unit == "HU" else 0.0

    def with_array(self, array: NDArray[Any], **meta: Any) -> Volume:
        """Same place, modality and unit, other intensities; `meta` is added to what is known."""
        return Volume(array, self.geometry, self.modality, self.unit, {**self.meta, **meta})

    def cropped(self, slices: Slices3) -> Volume:
        """The part within `slices` (step one), still in its place in the world."""
        return Volume(self.array[slices], self.geometry.cropped(slices), self.modality, self.unit, self.meta)

    def sha256(self) -> str:
        """Hash of intensities, shape and affine: the identity of the image, whatever file it came from."""
        digest = hashlib.sha256(repr(self.shape).encode())
        digest.update(np.ascontiguousarray(self.affine + 0.0, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.array, dtype="<f4").data)
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return Volume, (self.array, self.geometry, self.modality, self.unit, dict(self.meta))
