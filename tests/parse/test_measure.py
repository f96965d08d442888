"""Measurements of shapes whose answers are known, on grids of unequal spacing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse.measure import (
    axial_extent,
    centroid_mm,
    doubling_time_days,
    growth_per_day,
    surface_mm2,
    volume_ml,
)
from synth.volume import Geometry, Mask

SPACINGS = [(1.0, 1.0, 1.0), (0.8, 1.2, 2.0), (2.0, 2.0, 2.5), (3.0, 3.0, 3.0)]
Spacing = tuple[float, float, float]


def ellipsoid(radii_mm: tuple[float, float, float], spacing: Spacing, turn: float = 0.0) -> tuple[Mask, Geometry]:
    """An ellipsoid turned about the z axis, its centre off the grid's."""
    x, y, z = (int(2 * max(radii_mm) / step) + 6 for step in spacing)
    geometry = Geometry.regular((x, y, z), spacing)
    points = geometry.world(np.stack(np.meshgrid(*map(np.arange, (x, y, z)), indexing="ij"), axis=-1)) - (
        0.3,
        -0.2,
        0.1,
    )
    cos, sin = math.cos(turn), math.sin(turn)
    points = points @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return Mask.from_dense(((points / radii_mm) ** 2).sum(axis=-1) <= 1.0), geometry


def box(voxels: tuple[int, int, int], spacing: Spacing) -> tuple[Mask, Geometry]:
    x, y, z = (n + 6 for n in voxels)
    return Mask.from_box((x, y, z), (3, 2, 1), np.ones(voxels, bool)), Geometry.regular((x, y, z), spacing)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [15.0, 30.0])
def test_a_ball_has_its_volume_surface_diameter_and_centre(radius: float, spacing: Spacing) -> None:
    mask, geometry = ellipsoid((radius,) * 3, spacing)
    assert volume_ml(mask, geometry) == pytest.approx(4 / 3 * math.pi * radius**3 / 1000, rel=0.02)
    assert surface_mm2(mask, geometry) == pytest.approx(4 * math.pi * radius**2, rel=0.03)
    assert centroid_mm(mask, geometry) == pytest.approx((0.3, -0.2, 0.1), abs=0.25)
    extent = axial_extent(mask, geometry)
    in_plane = math.hypot(*spacing[:2])
    assert extent.longest_mm == pytest.approx(2 * radius, abs=in_plane)
    assert extent.perpendicular_mm == pytest.approx(2 * radius, abs=in_plane)
    assert abs(geometry.world((0, 0, extent.slice_index))[2]) <= 2 * spacing[2]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_box_has_its_volume_surface_and_diagonal(spacing: Spacing) -> None:
    mask, geometry = box((20, 14, 11), spacing)
    a, b, c = (n * step for n, step in zip((20, 14, 11), spacing, strict=True))
    assert volume_ml(mask, geometry) == pytest.approx(a * b * c / 1000)
    assert surface_mm2(mask, geometry) == pytest.approx(2 * (a * b + b * c + a * c), rel=0.03)
    assert axial_extent(mask, geometry).longest_mm == pytest.approx(math.hypot(a, b), abs=math.hypot(*spacing[:2]))
    centre = geometry.world([3 + 9.5, 2 + 6.5, 1 + 5.0])
    assert centroid_mm(mask, geometry) == pytest.approx(tuple(centre))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_rod_along_an_axis_is_as_long_and_as_wide_as_it_is(spacing: Spacing) -> None:
    for voxels in ((25, 1, 1), (1, 25, 1)):
        mask, geometry = box(voxels, spacing)
        along, across = sorted((voxels[0] * spacing[0], voxels[1] * spacing[1]), reverse=True)
        extent = axial_extent(mask, geometry)
        assert extent.longest_mm == pytest.approx(along)
        assert extent.perpendicular_mm == pytest.approx(across)
        ends = np.array(extent.ends_mm)
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(along)


def test_a_rod_across_the_slices_is_measured_in_the_plane() -> None:
    mask, geometry = box((2, 3, 20), (1.0, 1.0, 5.0))
    assert axial_extent(mask, geometry).longest_mm < 4.0


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.1])
@pytest.mark.parametrize("spacing", SPACINGS[:3])
def test_an_ellipse_has_both_its_axes_however_it_is_turned(turn: float, spacing: Spacing) -> None:
    mask, geometry = ellipsoid((30.0, 15.0, 10.0), spacing, turn)
    extent = axial_extent(mask, geometry)
    assert extent.longest_mm == pytest.approx(60.0, abs=math.hypot(*spacing[:2]))
    assert extent.perpendicular_mm == pytest.approx(30.0, abs=2 * math.hypot(*spacing[:2]))


def test_measurements_do_not_depend_on_where_the_grid_lies() -> None:
    mask, geometry = ellipsoid((20.0, 12.0, 9.0), (1.5, 1.5, 3.0))
    turn = np.array([[0.8, -0.6, 0, 40], [0.6, 0.8, 0, -7], [0, 0, 1, 300], [0, 0, 0, 1]])
    moved = Geometry(geometry.shape, turn @ geometry.affine)
    there, here = axial_extent(mask, moved), axial_extent(mask, geometry)
    assert (there.longest_mm, there.perpendicular_mm) == pytest.approx((here.longest_mm, here.perpendicular_mm))
    assert surface_mm2(mask, moved) == pytest.approx(surface_mm2(mask, geometry))
    assert centroid_mm(mask, moved) == pytest.approx(tuple(turn[:3, :3] @ centroid_mm(mask, geometry) + turn[:3, 3]))


def test_one_voxel_can_be_measured() -> None:
    mask, geometry = box((1, 1, 1), (1.0, 2.0, 3.0))
    extent = axial_extent(mask, geometry)
    assert (extent.longest_mm, extent.perpendicular_mm) == pytest.approx((2.0, 1.0))
    assert 8.0 < surface_mm2(mask, geometry) < 24.0


def test_an_empty_mask_cannot_be_measured() -> None:
    geometry = Geometry.regular((4, 4, 4), 1.0)
    for measure in (axial_extent, surface_mm2, centroid_mm):
        with pytest.raises(InputError, match="empty mask"):
            measure(Mask.empty((4, 4, 4)), geometry)


def test_growth_and_doubling_time_agree() -> None:
    assert growth_per_day(2.0, 2.0 * math.e, 50.0) == pytest.approx(0.02)
    assert doubling_time_days(1.0, 8.0, 90.0) == pytest.approx(30.0)
    assert doubling_time_days(2.0, 1.0, 90.0) is None
    with pytest.raises(InputError, match="positive volumes"):
        growth_per_day(0.0, 1.0, 10.0)
