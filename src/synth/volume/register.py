"""Rigid and affine registration of two images of one patient: the one door of SimpleITK (extra `visits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from synth.errors import InputError
from synth.volume.geometry import Float64, Geometry
from synth.volume.image import Volume
from synth.volume.mask import Mask
from synth.volume.resample import resample, resample_mask

Kind = Literal["rigid", "affine"]

COARSE_MM = 2.0  # in-plane grid on which the metric is taken: finer adds time and no accuracy beyond half a voxel
SMOOTHING_MM = (6.0, 3.0, 1.0)
BINS, SHARE = 32, 0.1
ITERATIONS = 120
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the points of a fixed image lie in a moving one.

    Attributes:
        matrix: (4, 4) world millimetres (RAS+) of the fixed image -> those of the moving image.
        before, after: similarity (mutual information, nats) without and with the alignment; larger is better.
    """

    matrix: Float64
    before: float
    after: float

    def moved(self, geometry: Geometry) -> Geometry:
        """The grid of the moving image, in the world of the fixed one."""
        return geometry.brought(self.matrix)

    def image(self, moving: Volume, grid: Geometry) -> Volume:
        """The moving image on a grid of the fixed one's world."""
        there = Volume(moving.array, self.moved(moving.geometry), moving.modality, moving.unit, moving.meta)
        return resample(there, grid)

    def mask(self, mask: Mask, geometry: Geometry, grid: Geometry) -> Mask:
        """A mask of the moving image on a grid of the fixed one's world."""
        return resample_mask(mask, self.moved(geometry), grid)


def register(moving: Volume, fixed: Volume, kind: Kind = "rigid") -> Alignment:
    """Align two images by mutual information, so that contrast and modality may differ; the same bytes at each run.

    Starts from the centres of mass. A start that explains the images better than the end is kept, so that an
    alignment never makes it worse.

    Source: Mattes et al. 2003, IEEE TMI 22:120, as in SimpleITK (Lowekamp et al. 2013, Front Neuroinform 7:45).

    Raises:
        InputError: an image without contrast, or too small to align.
    """
    import SimpleITK as sitk

    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums in another order would give other bytes
    try:
        return _registered(moving, fixed, kind)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _registered(moving: Volume, fixed: Volume, kind: Kind) -> Alignment:
    import SimpleITK as sitk

    still, other = (_prepared(volume, what) for volume, what in ((fixed, "fixed image"), (moving, "moving image")))
    shape = sitk.Euler3DTransform() if kind == "rigid" else sitk.AffineTransform(3)
    moments = sitk.CenteredTransformInitializerFilter.MOMENTS
    start = sitk.CenteredTransformInitializer(still, other, shape, moments)
    method = _method()
    nothing = sitk.Euler3DTransform()
    nothing.SetCenter(still.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in still.GetSize()]))
    found: list[tuple[float, Float64]] = []
    for first in (nothing, start):
        method.SetInitialTransform(first, inPlace=False)
        found.append((-method.MetricEvaluate(still, other), _matrix(first)))
    best = start if found[1][0] > found[0][0] else _as_kind(nothing, kind)
    method.SetInitialTransform(best, inPlace=False)
    end = method.Execute(still, other)
    method.SetInitialTransform(end, inPlace=False)
    found.append((-method.MetricEvaluate(still, other), _matrix(end)))
    after, matrix = max(found, key=lambda pair: pair[0])
    return Alignment(_LPS @ matrix @ _LPS, found[0][0], after)


def _method() -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SHARE, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-4, numberOfIterations=ITERATIONS, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([1] * len(SMOOTHING_MM))
    method.SetSmoothingSigmasPerLevel(list(SMOOTHING_MM))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _prepared(volume: Volume, what: str) -> Any:
    """The image on a grid no finer than `COARSE_MM`, between its 1st and 99th percentile."""
    import SimpleITK as sitk

    if min(volume.shape) < 4:
        raise InputError(
            what, expected="at least 4 voxels along each axis", got=str(volume.shape), fix="give more slices"
        )
    low, high = (float(v) for v in np.percentile(volume.array, (1, 99)))
    if high <= low:
        raise InputError(what, expected="different intensities", got=f"{low:g} nearly everywhere", fix="give an image")
    spacing = [max(step, COARSE_MM) for step in volume.spacing_mm]
    coarse = resample(volume, volume.geometry.with_spacing(spacing))
    image = sitk.GetImageFromArray(np.clip(coarse.array, low, high).transpose(2, 1, 0))
    affine = _LPS @ coarse.affine
    image.SetSpacing(coarse.spacing_mm)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / np.asarray(coarse.spacing_mm)).ravel().tolist())
    return image


def _as_kind(rigid: Any, kind: Kind) -> Any:
    import SimpleITK as sitk

    if kind == "rigid":
        return rigid
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    return affine


def _matrix(transform: Any) -> Float64:
    """(4, 4) of an affine map, from where it takes the axes."""
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.asarray(transform.TransformPoint(tuple(map(float, axis)))) - origin for axis in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.stack(axes, axis=1), origin
    return matrix
