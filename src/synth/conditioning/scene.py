"""A parse as arrays: what a decoder's network reads.

`Scene` holds the tokens' raw features and the masks. Counterfactuals are cheap edits of it (`select`, `with_mask`), and
`crop` turns the masks into occupancies over a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from synth.conditioning.codec import MODALITIES, PHASES, Codec
from synth.parse import Kind, Parse, Presence
from synth.volume import Geometry, Mask

GEOMETRY_FEATURES = 7  # log volume, centroid (3), extent (3)
FRAME_FEATURES = 4  # voxel side, field of view (3)
FRAME_MM = 4.0, 500.0  # a voxel and a field of view that are 0 and 1
CHILD_KINDS = (Kind.finding, Kind.substructure)


@dataclass(frozen=True, eq=False)
class SceneCrop:
    """Arrays of one scene over one box, ready for the network.

    Attributes (E entities, D depth of the name hierarchy, R relation types; x, y, z voxels of the box):
        lineage: (E, D) int64; presence: (E,) int64; numeric: (E, N) float32 with NaN where nothing is said;
        category: (E, C) int64; geometry: (E, 7) float32; relations: (R, E, E) bool;
        layer: (E,) int64, 0 parent, 1 child; circumstance: (2,) int64, modality and phase;
        frame: (4,) float32, octaves of the voxel's side above 4 mm and sides of the field of view in units of 500 mm;
        occupancy: (E, x, y, z) uint8; told: whether voxels may ask the tokens, beside what is drawn of them.
    """

    lineage: NDArray[np.int64]
    presence: NDArray[np.int64]
    numeric: NDArray[np.float32]
    category: NDArray[np.int64]
    geometry: NDArray[np.float32]
    relations: NDArray[np.bool_]
    layer: NDArray[np.int64]
    circumstance: NDArray[np.int64]
    frame: NDArray[np.float32]
    occupancy: NDArray[np.uint8]
    told: bool = field(default=True)


@dataclass(frozen=True, eq=False)
class Scene:
    """The entities of a parse in a checkpoint's indices; entities that the checkpoint cannot name are left out.

    Attributes:
        ids: entity ids, in the order of the rows of the arrays.
        masks: one per entity, None where it has none.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    lineage: NDArray[np.int64]
    presence: NDArray[np.int64]
    numeric: NDArray[np.float32]
    category: NDArray[np.int64]
    relations: NDArray[np.bool_]
    layer: NDArray[np.int64]
    kinds: tuple[Kind, ...]
    circumstance: NDArray[np.int64]
    masks: tuple[Mask | None, ...]
    geometry: NDArray[np.float32]
    grid: Geometry

    @classmethod
    def from_parse(cls, parse: Parse, codec: Codec, like: Scene | None = None) -> Scene:
        """The scene of a parse; masks that `like` holds too, the same objects on one grid, are not measured again."""
        entities = [e for e in parse.entities if codec.lineage(e.name)]
        row = {e.id: i for i, e in enumerate(entities)}
        count = len(entities)
        lineage = np.zeros((count, codec.depth), np.int64)
        for i, e in enumerate(entities):
            line = codec.lineage(e.name)[: codec.depth]
            lineage[i, : len(line)] = line
        numeric = np.full((count, len(codec.numeric)), np.nan, np.float32)
        category = np.zeros((count, len(codec.categorical)), np.int64)
        for a in parse.attributes:
            if a.entity in row:
                _fill(codec, numeric[row[a.entity]], category[row[a.entity]], a.type, a.value)
        relations = np.zeros((len(codec.relations), count, count), bool)
        for r in parse.relations:
            k = codec.relation_index(r.type)
            if k is not None and r.subject in row and r.object in row:
                relations[k, row[r.subject], row[r.object]] = True
        circumstance = parse.circumstance
        known = {} if like is None or like.grid.spacing_mm != parse.geometry.spacing_mm else like._measured()
        masks = tuple(parse.masks.get(e.id) for e in entities)
        measured = [known[id(m)] if id(m) in known else _geometry(m, parse.geometry) for m in masks]
        return cls(
            ids=tuple(e.id for e in entities),
            names=tuple(e.name for e in entities),
            lineage=lineage,
            presence=np.array([codec.presence_index(e.presence) for e in entities], np.int64),
            numeric=numeric,
            category=category,
            relations=relations,
            layer=np.array([int(e.kind in CHILD_KINDS) for e in entities], np.int64),
            kinds=tuple(e.kind for e in entities),
            circumstance=np.array([_index(MODALITIES, circumstance.modality), _index(PHASES, circumstance.phase)]),
            masks=masks,
            geometry=np.array(measured, np.float32).reshape(count, GEOMETRY_FEATURES),
            grid=parse.geometry,
        )

    def _measured(self) -> dict[int, NDArray[np.float32]]:
        return {id(m): g for m, g in zip(self.masks, self.geometry, strict=True) if m is not None}

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: Sequence[int]) -> Scene:
        """The scene of these rows only."""
        k = np.asarray(keep, np.int64)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in k),
            names=tuple(self.names[i] for i in k),
            lineage=self.lineage[k],
            presence=self.presence[k],
            numeric=self.numeric[k],
            category=self.category[k],
            relations=self.relations[:, k][:, :, k],
            layer=self.layer[k],
            kinds=tuple(self.kinds[i] for i in k),
            masks=tuple(self.masks[i] for i in k),
            geometry=self.geometry[k],
        )

    def with_mask(self, index: int, mask: Mask | None, presence: Presence = Presence.present) -> Scene:
        """The scene with one entity drawn elsewhere (or, with None, not drawn)."""
        masks = tuple(mask if i == index else m for i, m in enumerate(self.masks))
        states = self.presence.copy()
        states[index] = Codec.presence_index(presence)
        measured = self.geometry.copy()
        measured[index] = _geometry(mask, self.grid)
        return replace(self, masks=masks, presence=states, geometry=measured)

    def without_attributes(self) -> Scene:
        return replace(self, numeric=np.full_like(self.numeric, np.nan), category=np.zeros_like(self.category))

    def thinned(self, rng: np.random.Generator, *, attributes: float, relations: float, masks: float) -> Scene:
        """The scene with each attribute, each relation and each mask taken away with these chances, independently.

        An entity without its mask stays declared, with its relations.
        """
        numeric, category, edges = self.numeric.copy(), self.category.copy(), self.relations.copy()
        numeric[rng.random(numeric.shape) < attributes] = np.nan
        category[rng.random(category.shape) < attributes] = 0
        edges &= rng.random(edges.shape) >= relations
        undrawn = rng.random(len(self)) < masks
        measured = np.where(undrawn[:, None], np.float32(0), self.geometry)
        drawn = tuple(None if gone else m for gone, m in zip(undrawn, self.masks, strict=True))
        return replace(self, numeric=numeric, category=category, relations=edges, masks=drawn, geometry=measured)

    def crop(self, box: tuple[slice, slice, slice], *, nearby_only: bool = True) -> SceneCrop:
        """Arrays over a box of the grid; entities drawn wholly outside the box are left out unless asked for."""
        keep = [i for i, m in enumerate(self.masks) if not nearby_only or m is None or _touches(m, box)]
        part = self if len(keep) == len(self) else self.select(keep)
        shape = tuple(s.stop - s.start for s in box)
        occupancy = np.zeros((len(keep), *shape), np.uint8)
        for i, mask in enumerate(part.masks):
            if mask is not None:
                paste(mask, box, occupancy[i])
        return SceneCrop(
            lineage=part.lineage,
            presence=part.presence,
            numeric=part.numeric,
            category=part.category,
            geometry=part.geometry,
            relations=part.relations,
            layer=part.layer,
            circumstance=part.circumstance,
            frame=_frame(self.grid),
            occupancy=occupancy,
        )


def paste(mask: Mask, box: tuple[slice, slice, slice], out: NDArray[np.generic]) -> None:
    """Write 1 where the mask lies inside `box` into `out`, whose shape is the box's; the box may leave the grid."""
    into, take = [], []
    for origin, size, window in zip(mask.origin, mask.box.shape, box, strict=True):
        start, stop = max(origin, window.start), min(origin + size, window.stop)
        if start >= stop:
            return
        into.append(slice(start - window.start, stop - window.start))
        take.append(slice(start - origin, stop - origin))
    out[tuple(into)][mask.box[tuple(take)]] = 1


def _touches(mask: Mask, box: tuple[slice, slice, slice]) -> bool:
    return all(
        origin < window.stop and origin + size > window.start
        for origin, size, window in zip(mask.origin, mask.box.shape, box, strict=True)
    )


def _geometry(mask: Mask | None, grid: Geometry) -> list[float]:
    """log10 volume in mL, centroid as a fraction of the grid (3), extent in units of 100 mm (3); zeros without mask."""
    if mask is None or mask.is_empty:
        return [0.0] * GEOMETRY_FEATURES
    spacing, shape = np.asarray(grid.spacing_mm), np.asarray(grid.shape)
    centroid = (np.asarray(mask.centroid_voxel()) + 0.5) / shape
    extent = np.asarray(mask.box.shape) * spacing / 100.0
    volume_ml = mask.voxels * float(np.prod(spacing)) / 1000.0
    return [float(np.log10(volume_ml + 1e-3)), *centroid.tolist(), *extent.tolist()]


def _frame(grid: Geometry) -> NDArray[np.float32]:
    spacing = np.asarray(grid.spacing_mm)
    voxel, view = FRAME_MM
    return np.array([np.log2(spacing.mean() / voxel), *(spacing * grid.shape / view)], np.float32)


def _index(table: tuple[str, ...], value: object) -> int:
    return table.index(str(value)) + 1 if value is not None and str(value) in table else 0


def _fill(
    codec: Codec, numeric: NDArray[np.float32], category: NDArray[np.int64], kind: str, value: float | str
) -> None:
    if isinstance(value, str):
        slot = codec.category_slot(kind, value)
        if slot:
            category[slot[0]] = slot[1]
    else:
        place = codec.numeric_slot(kind, float(value))
        if place:
            numeric[place[0]] = place[1]
