"""What the decoders practise on: holes in images, and claims about them that are true or not.

A *claim* is an entity's mask. True ones are the entity's own mask; false ones the same mask moved, with the true one
taken out of the scene. Both are jittered equally often, so that nothing but the image around can tell. Ellipsoids at
random places, and entities dropped at random, keep the shape of the hole from telling anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synth.conditioning import Codec, Scene, SceneCrop
from synth.contracts import Box
from synth.decoder.holes import Hole, hole_in_box, take
from synth.decoder.intensity import AIR_HU
from synth.fault import jitter
from synth.parse import Kind
from synth.training.prepared import Case
from synth.training.repaint import repainted
from synth.training.scanner import another_scanner
from synth.volume import Mask

TRUE, MOVED, NOTHING = 1, 0, -1
SHIFT_MM = (8.0, 64.0)
SAME_DICE = 0.8  # a moved mask that still overlaps this much is no false claim
MEASURED = 0.6  # share of examples without a claim whose scene tells the measured appearance, where there is one
REPAINTED = 0.5  # share of those whose image is changed where some entities are, and their appearance with it
THINNED = (0.0, 0.2, 0.6)  # chances, one drawn for each example, of an attribute and of a relation to be left unsaid
MASKS_TOO = 0.3  # a mask is left out with this share of such a chance
TOKENS_DROPPED = 0.1  # share of examples in which voxels cannot ask the tokens
NOTHING_TOLD = 0.05  # share of examples without a claim whose scene is empty: what guidance starts from
LEAST_CONTRASTED = 16  # voxels of an entity in the crop
ANYWHERE = 0.1  # share of examples without a claim that lie anywhere in the image, in air as well, and are all hidden
JITTERED = 0.6  # share of claims, true or moved, whose surface is jittered: a rough surface must not tell them apart


@dataclass(frozen=True, eq=False)
class Example:
    """One crop: the scene with and without the claim, the hole, and the truth: claim true (1), moved (0), none (-1).

    Without a claim both scenes are one object, or the second lacks the entity whose mask is the core of the hole.
    `latents` (C, x, y, z) are those of `hu`, where the image is as it came and was encoded beforehand.
    """

    claimed: SceneCrop
    unclaimed: SceneCrop
    hu: NDArray[np.float32]
    inside: NDArray[np.float32]
    hole: Hole
    truth: int
    latents: NDArray[np.float32] | None = None


class ClaimSampler:
    """Draws examples from cases, every draw from the generator it is given.

    Args:
        cases: to draw from; crop: side of the cubes, voxels; codec: that the scenes are in.
        empty: share of examples without a claim; whole: share of those in which everything is hidden, so that the crop
            is rendered from the scene alone; contrasted: share of those whose second scene lacks one entity;
            repaint: share of those with measured appearance whose image is changed, and what is declared with it.
        without: for ablations, what no example is told: "attributes", "relations", "tokens" (voxels cannot ask them).
    """

    def __init__(
        self,
        cases: Sequence[Case],
        crop: int,
        codec: Codec,
        *,
        empty: float = 0.2,
        whole: float = 0.3,
        contrasted: float = 0.0,
        repaint: float = REPAINTED,
        without: Collection[str] = (),
    ) -> None:
        self.cases, self.crop, self.whole = cases, crop, whole
        self.contrasted, self.repaint, self.without = contrasted, repaint, frozenset(without)
        self.columns = {name: (i, centre, half) for i, (name, centre, half) in enumerate(codec.numeric)}
        self.chance = [(1 - empty) / 2, (1 - empty) / 2, empty]

    def draw(self, rng: np.random.Generator) -> Example:
        which = int(rng.integers(len(self.cases)))
        case = self.cases[which]
        rows = _claimable(case.scene)
        kind = rng.choice([TRUE, MOVED, NOTHING], p=self.chance) if rows else NOTHING
        if kind == NOTHING:
            return self._unclaimed(case, rng)
        row = int(rng.choice(rows))
        own = case.scene.masks[row]
        assert own is not None  # claimable rows have masks
        claim = moved_mask(own, case, rng) if kind == MOVED else own
        if claim is None:
            return self._unclaimed(case, rng)
        if rng.random() < JITTERED:
            claim = jitter(claim, case.scene.grid, rng)
        keep = [i for i in _dropout(case.scene, rng, tissue=False) if i != row]
        scene = case.scene.select([*keep, row]).with_mask(len(keep), claim)
        if rng.random() < 0.7:
            scene = scene.without_attributes()
        return self._example(case, scene, len(keep), claim, int(kind), rng)

    def _example(
        self, case: Case, scene: Scene, row: int, claim: Mask, truth: int, rng: np.random.Generator
    ) -> Example:
        box = _aligned(case, _box_near(claim, self.crop, rng))
        hole = hole_in_box(claim, box)
        scene, told = self._less_told(scene), "tokens" not in self.without
        rest = scene.select([i for i in range(len(scene)) if i != row])
        hu, inside = _image(case, box, rng)
        first, second = (replace(part.crop(box), told=told) for part in (scene, rest))
        return Example(first, second, hu, inside, hole, truth, _latents(case, box, hu))

    def _less_told(self, scene: Scene) -> Scene:
        """The scene without what an ablation leaves out of every example."""
        if "attributes" in self.without:
            scene = scene.without_attributes()
        if "relations" in self.without:
            scene = replace(scene, relations=np.zeros_like(scene.relations))
        return scene

    def _unclaimed(self, case: Case, rng: np.random.Generator) -> Example:
        measured = case.measured if rng.random() < MEASURED else None
        full = case.scene if measured is None else measured
        scene = full.select(_dropout(full, rng, tissue=bool(rng.random() < 0.6)))
        blob = _ellipsoid(case, rng)
        anywhere = rng.random() < ANYWHERE
        box = _box_anywhere(case, self.crop, rng) if anywhere else _box_near(blob, self.crop, rng)
        box = _aligned(case, box)
        # What was measured is true of this image only.
        hu, inside = _image(case, box, rng) if measured is None else _as_it_is(case, box)
        if measured is not None and rng.random() < self.repaint:
            hu, scene = repainted(hu, scene, box, self.columns, rng)
        scene, told = _thinned(scene, rng)
        scene, told = self._less_told(scene), told and "tokens" not in self.without
        hole = hole_in_box(blob, box, margin=0)
        if anywhere or rng.random() < self.whole:
            everywhere = np.ones_like(hole.core)
            hole = Hole(box, everywhere, everywhere)
        crop = replace(scene.crop(box), told=told)
        less, core = crop, hole.core
        if rng.random() < self.contrasted:
            less, core = self._less(scene, box, crop, core, rng)
        hole = Hole(box, core, hole.hidden)
        return Example(crop, less, hu, inside, hole, NOTHING, _latents(case, box, hu))

    def _less(
        self,
        scene: Scene,
        box: Box,
        crop: SceneCrop,
        core: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> tuple[SceneCrop, NDArray[np.bool_]]:
        """The crop without one entity that is drawn in it, and where that is; both unchanged where there is none."""
        rows = [i for i in _claimable(scene) if _voxels_in(scene.masks[i], box) >= LEAST_CONTRASTED]
        if not rows:
            return crop, core
        row = int(rng.choice(rows))
        mask = scene.masks[row]
        assert mask is not None  # claimable rows have masks
        rest = scene.select([i for i in range(len(scene)) if i != row])
        return replace(rest.crop(box), told=crop.told), hole_in_box(mask, box, margin=0).core


def _thinned(scene: Scene, rng: np.random.Generator) -> tuple[Scene, bool]:
    """The scene with parts of it taken away at random, and whether the tokens may be asked."""
    if rng.random() < NOTHING_TOLD:
        return scene.select([]), True
    attributes, relations, masks = (float(rng.choice(THINNED)) for _ in range(3))
    thin = scene.thinned(rng, attributes=attributes, relations=relations, masks=masks * MASKS_TOO)
    return thin, bool(rng.random() >= TOKENS_DROPPED)


def _voxels_in(mask: Mask | None, box: Box) -> int:
    return 0 if mask is None else int(np.count_nonzero(hole_in_box(mask, box, margin=0).core))


def moved_mask(own: Mask, case: Case, rng: np.random.Generator) -> Mask | None:
    """The mask shifted by 8 to 64 mm (log-uniform, in any direction), mostly within the body; None without a place."""
    spacing = np.asarray(case.scene.grid.spacing_mm)
    for _ in range(12):
        direction = rng.normal(size=3)
        distance = np.exp(rng.uniform(*np.log(SHIFT_MM)))
        offset = np.rint(direction / np.linalg.norm(direction) * distance / spacing).astype(int)
        origin = np.asarray(own.origin) + offset
        if (origin < 0).any() or (origin + own.box.shape > own.shape).any():
            continue
        claim = Mask.from_box(own.shape, tuple(int(o) for o in origin), own.box)  # type: ignore[arg-type]  # 3 long
        if claim.overlap(case.body) >= 0.9 * claim.voxels and claim.dice(own) < SAME_DICE:
            return claim
    return None


def _claimable(scene: Scene) -> list[int]:
    return [
        i
        for i, mask in enumerate(scene.masks)
        if mask is not None and mask.voxels >= 4 and scene.kinds[i] not in (Kind.tissue, Kind.target)
    ]


def _dropout(scene: Scene, rng: np.random.Generator, *, tissue: bool) -> list[int]:
    """Rows kept: all, or each with a chance drawn for this example; tissues together or not at all.

    Claims are judged without tissues: their masks were drawn from the very image that the hole hides.
    """
    share = rng.choice([0.0, 0.15, 0.5])
    return [i for i in range(len(scene)) if rng.random() >= share and (tissue or scene.kinds[i] != Kind.tissue)]


def _box_near(mask: Mask, side: int, rng: np.random.Generator) -> Box:
    """A cube that holds the mask's box where it can, else one around a random voxel of the mask."""
    starts = []
    anchor = mask.indices()[rng.integers(mask.voxels)]
    for axis in range(3):
        low, high = mask.origin[axis], mask.origin[axis] + mask.box.shape[axis]
        if high - low <= side - 8:
            start = int(rng.integers(high - side + 4, low - 4 + 1))
        else:
            start = int(anchor[axis] - rng.integers(side // 4, 3 * side // 4))
        starts.append(start)
    return tuple(slice(s, s + side) for s in starts)  # type: ignore[return-value]  # 3 long


def _box_anywhere(case: Case, side: int, rng: np.random.Generator) -> Box:
    """A cube of the image, or around it where the image is smaller."""
    starts = [int(rng.integers(min(0, n - side), max(0, n - side) + 1)) for n in case.hu.shape]
    return tuple(slice(s, s + side) for s in starts)  # type: ignore[return-value]  # 3 long


def _ellipsoid(case: Case, rng: np.random.Generator) -> Mask:
    """A rotated ellipsoid of 6 to 40 mm radii around a random voxel of the body."""
    spacing = float(case.scene.grid.spacing_mm[0])
    radii = np.exp(rng.uniform(np.log(6.0), np.log(40.0), size=3)) / spacing
    reach = int(np.ceil(radii.max()))
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1)
    ball = (((steps @ axes) / np.maximum(radii, 0.7)) ** 2).sum(axis=-1) <= 1.0
    centre = case.body.indices()[rng.integers(case.body.voxels)]
    dense = np.zeros(case.hu.shape, bool)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, dense.shape)
    cut = tuple(slice(a - c + reach, b - c + reach) for a, b, c in zip(low, high, centre, strict=True))
    dense[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = ball[cut]
    return Mask.from_dense(dense)


def _image(case: Case, box: Box, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """HU and field of view over the box, half of the time as another scanner would have made it."""
    hu, inside = _as_it_is(case, box)
    return another_scanner(hu, rng) if rng.random() < 0.5 else hu, inside


def _aligned(case: Case, box: Box) -> Box:
    """The box, moved onto the grid of the case's latents where there are any."""
    return box if case.latents is None else case.latents.aligned(box)


def _latents(case: Case, box: Box, hu: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """What was encoded beforehand of the box; None where nothing was, or where `hu` is not the case's own image."""
    if case.latents is None or not np.array_equal(hu, _as_it_is(case, box)[0]):
        return None
    return case.latents.crop(box)


def _as_it_is(case: Case, box: Box) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return take(case.hu, box, AIR_HU), take(np.ones_like(case.hu), box, 0.0)
