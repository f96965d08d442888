"""How far the border of an entity lies from where a parse drew it, in a second image.

Along the normal at each point i of the mask's surface both images are read as profiles, and the second image's is slid
along the first's (Cootes et al. 1995, "Active shape models": matching of derivative profiles):

    delta_i = argmin over d in [-3, 3] voxels of sum over neighbours j of i and over s of (q'_j(s + d) - p'_j(s))²

Derivatives, because a change of density is no change of place. The first image against itself gives zero everywhere;
where it shows no border, or where sliding explains little, the border counts as unmoved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import KDTree
from skimage.measure import marching_cubes

from synth.volume import Geometry, Mask, Slices3, signed_distance

Map = NDArray[np.float32]
Zone = NDArray[np.bool_]
Floats = NDArray[np.float64]

REACH, WINDOW, STEP = 3.0, 2.0, 0.25  # voxels: how far a border is followed, half of what is compared, and how finely
HALF = 2  # steps to either side that a derivative is taken over
NEIGHBOURS = 2.0  # voxels along the surface that move together
VISIBLE = 1.0  # derivative over noise from which a border counts as seen
EXPLAINED = 0.7  # of the disagreement may be left at the new place, else the border counts as unmoved
LEAST_CORE, LEAST_SEEN = 20, 24
LEAST_NOISE_HU = 2.0


@dataclass(frozen=True, eq=False)
class Border:
    """The surface of one mask on a grid.

    Attributes:
        box: slices of the grid; inside: (x, y, z) the mask over the box; depth: voxels to its surface, positive inside.
        points: (n, 3) voxels of the box, on the surface; normals: (n, 3), outwards; faces: (m, 3) indices of points.
    """

    box: Slices3
    inside: Zone
    depth: Map
    points: Floats
    normals: Floats
    faces: NDArray[np.int64]

    @classmethod
    def of(cls, mask: Mask) -> Border:
        """Cut a mask out with room to follow its border."""
        field = signed_distance(mask, Geometry.regular(mask.shape, 1.0), REACH + WINDOW)
        inside = mask.crop(field.slices)
        padded = np.pad(inside, 1).astype(np.float32)
        points, faces, outwards, _ = marching_cubes(padded, 0.5, gradient_direction="descent")
        smooth = ndimage.gaussian_filter(padded, 1.0)
        slope = [ndimage.map_coordinates(g, points.T, order=1, mode="nearest") for g in np.gradient(smooth)]
        normals = -np.stack(slope, axis=1).astype(float)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 1e-4, normals / np.maximum(length, 1e-4), outwards)
        return cls(field.slices, inside, field.values, points.astype(float) - 1, normals, faces.astype(np.int64))

    @cached_property
    def area(self) -> Floats:
        """(n,) share of the surface that each point stands for."""
        a, b, c = (self.points[self.faces[:, k]] for k in range(3))
        size = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
        area = np.bincount(self.faces.ravel(), np.repeat(size, 3), minlength=len(self.points))
        return np.asarray(area / area.sum())

    @cached_property
    def together(self) -> sparse.csr_matrix:
        """(n, n) the mean over each point's neighbours on the surface."""
        tree = KDTree(self.points)
        near = tree.sparse_distance_matrix(tree, NEIGHBOURS, output_type="coo_matrix")
        same = (self.normals[near.row] * self.normals[near.col]).sum(axis=1) > 0  # not the other side of something thin
        ones = np.ones(int(same.sum()))
        graph = sparse.csr_matrix((ones, (near.row[same], near.col[same])), shape=(len(self.points),) * 2)
        graph.setdiag(1.0)
        return sparse.csr_matrix(sparse.diags(1.0 / np.asarray(graph.sum(axis=1)).ravel()) @ graph)

    @cached_property
    def nearest(self) -> NDArray[np.int64]:
        """(x, y, z) the surface point nearest to each voxel."""
        voxels = np.stack(np.meshgrid(*map(np.arange, self.inside.shape), indexing="ij"), axis=-1)
        return np.asarray(KDTree(self.points).query(voxels.reshape(-1, 3))[1].reshape(self.inside.shape))

    @cached_property
    def cut(self) -> Zone:
        """(n,) points where the field of view ends and not the entity."""
        last = np.array(self.inside.shape) - 1
        return np.asarray(((self.points < 0) | (self.points > last)).any(axis=1))

    def steepness(self, image: Map) -> Floats:
        """(n, steps) derivative of the image along each normal, HU a voxel, from inside to outside."""
        far = REACH + WINDOW
        s = np.arange(round(-far / STEP) - HALF, round(far / STEP) + HALF + 1) * STEP
        at = self.points[:, None] + s[None, :, None] * self.normals[:, None]
        smooth = ndimage.gaussian_filter(image, 0.5)
        values = ndimage.map_coordinates(smooth, at.reshape(-1, 3).T, order=1, mode="nearest").reshape(at.shape[:2])
        return np.asarray((values[:, 2 * HALF :] - values[:, : -2 * HALF]) / (2 * HALF * STEP), dtype=float)

    def seen(self, steepness: Floats) -> Zone:
        """(n,) where the reference image shows a border."""
        deep = steepness[:, : round(REACH / STEP)]  # inside, farther from the border than is compared
        noise = max(LEAST_NOISE_HU, 1.4826 * float(np.median(np.abs(deep - np.median(deep)))))
        middle = steepness.shape[1] // 2
        edge = self.together @ steepness[:, middle - 2 : middle + 3].mean(axis=1)
        return np.asarray((np.abs(edge) > VISIBLE * noise) & ~self.cut)

    def moved(self, reference: Floats, other: Floats, seen: Zone) -> Floats:
        """(n,) voxels outwards that each point lies elsewhere in the other image."""
        half, reach = round(WINDOW / STEP), round(REACH / STEP)
        middle = reference.shape[1] // 2
        here = reference[:, middle - half : middle + half + 1]
        cost = np.stack(
            [
                np.square(other[:, middle + d - half : middle + d + half + 1] - here).sum(axis=1)
                for d in range(-reach, reach + 1)
            ],
            axis=1,
        )
        cost = np.asarray(self.together @ cost)
        best = cost.argmin(axis=1)
        clear = cost.min(axis=1) < EXPLAINED * cost[:, reach]
        return np.where(seen & clear, (best - reach) * STEP, 0.0)

    def sharpness(self, steepness: Floats, seen: Zone, moved: Floats | float = 0.0) -> float | None:
        """Median slope across the border where it is seen, HU a voxel; None where too little of it is."""
        if np.count_nonzero(seen) < LEAST_SEEN:
            return None
        shift = np.broadcast_to(np.asarray(moved, float), (len(self.points),))
        at = steepness.shape[1] // 2 + np.rint(shift / STEP).astype(int)
        slope = self.together @ steepness[np.arange(len(at)), at]  # noise has no direction, a border has
        return float(np.median(np.abs(slope[seen])))

    def volume(self, moved: Floats | float = 0.0) -> float:
        """Voxels inside the surface after its points went outwards by so much."""
        shift = np.broadcast_to(np.asarray(moved, float), (len(self.points),))
        points = self.points + shift[:, None] * self.normals
        points = points - points.mean(axis=0)
        a, b, c = (points[self.faces[:, k]] for k in range(3))
        return abs(float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum())) / 6

    def extent(self, moved: Floats | float = 0.0) -> Zone:
        """(x, y, z) the voxels inside that surface."""
        shift = np.broadcast_to(np.asarray(moved, float), (len(self.points),))
        return np.asarray(self.depth + shift[self.nearest] > 0) if np.any(shift) else self.inside


def core(extent: Zone) -> Zone:
    """Voxels free of partial volume where there are enough of them, else all of them."""
    eroded = ndimage.binary_erosion(extent)
    return np.asarray(eroded) if np.count_nonzero(eroded) >= LEAST_CORE else extent
