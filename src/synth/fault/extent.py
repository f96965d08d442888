"""Faults of place and extent: moved, dilated, eroded, merged, split."""

from __future__ import annotations

import numpy as np

from synth.errors import InputError
from synth.fault.move import Moved, move_onto, moved_by_mm, random_move
from synth.fault.record import Expectation, Family, Faulted, FaultRecord, FaultSpec
from synth.fault.scene import Scene
from synth.parse import Entity
from synth.volume import Mask, dilated, eroded

_MOVE_MM, _GROW_MM = (16.0, 24.0), (4.0, 8.0)
_SMALLEST_SPLIT = 16


def move(scene: Scene, spec: FaultSpec) -> Faulted:
    """Move a mask; one that no longer overlaps its old self is hallucinated, any other has the wrong extent."""
    entity = scene.choose(spec.entity, scene.drawn, "a present, delineated organ or finding")
    mask = scene.parse.masks[entity.id]
    result = _moved(scene, spec, entity, mask)
    if result.mask.is_empty:
        got = "a move out of the field of view"
        raise InputError("move", expected="a place within the image", got=got, fix="shorten the vector")
    distance = result.distance_mm or 0.0
    overlap = mask.dice(result.mask)
    expected = Expectation("hallucinated" if overlap == 0 or spec.to else "wrong_extent", entity.name, entity.id)
    if overlap == mask.dice(mask):
        raise InputError("move", expected="at least one voxel", got=f"{distance:.2f} mm", fix="give a longer vector")
    parse = scene.redrawn(scene.parse.with_mask(entity.id, result.mask), entity.id)
    aim = f" onto {spec.to}" if spec.to else ""
    record = FaultRecord(
        Family.move,
        entity.id,
        (expected,),
        distance,
        "mm",
        f"{entity.term.words} moved by {distance:.0f} mm{aim}",
        {
            "offset_voxels": list(result.offset_voxels),
            "dice_to_original": round(overlap, 4),
            "outside_view": round(result.outside_view, 4),
            "outside_body": round(result.outside_body, 4),
            "to": spec.to,
        },
    )
    return Faulted(parse, record)


def _moved(scene: Scene, spec: FaultSpec, entity: Entity, mask: Mask) -> Moved:
    if spec.vector_mm is not None:
        return moved_by_mm(mask, scene.geometry, spec.vector_mm, scene.body)
    if spec.to is not None:
        target = scene.region(spec.to)
        return move_onto(mask, scene.geometry, target, scene.body, within_mm=spec.within_mm)
    low, high = spec.severity_mm or _MOVE_MM
    # Whole voxels hit a stated distance only nearly: half a voxel either way is as asked.
    slack = max(0.0, (min(scene.geometry.spacing_mm) - (high - low)) / 2)
    distance = (max(low - slack, 1e-3), high + slack)
    found = random_move(mask, scene.geometry, scene.body, distance, scene.rng)
    if found is None:
        expected = f"room for '{entity.id}' {low:g} to {high:g} mm away within the body"
        raise InputError("move", expected=expected, got="none", fix="choose another distance or entity")
    return found


def dilate(scene: Scene, spec: FaultSpec) -> Faulted:
    """Grow a mask by a distance, within the body."""
    entity = scene.choose(spec.entity, scene.drawn, "a present, delineated organ or finding")
    distance = _severity(scene, spec, _GROW_MM)
    mask = scene.parse.masks[entity.id]
    return _resized(
        scene, entity, dilated(mask, scene.geometry, distance) & (scene.body | mask), Family.dilate, distance
    )


def erode(scene: Scene, spec: FaultSpec) -> Faulted:
    """Shrink a mask by a distance; at least one voxel stays."""
    distance = _severity(scene, spec, _GROW_MM)
    entity = scene.choose(
        spec.entity,
        lambda e: scene.drawn(e) and not eroded(scene.parse.masks[e.id], scene.geometry, distance).is_empty,
        f"an organ or finding thicker than {2 * distance:.1f} mm",
    )
    return _resized(
        scene, entity, eroded(scene.parse.masks[entity.id], scene.geometry, distance), Family.erode, distance
    )


def _resized(scene: Scene, entity: Entity, mask: Mask, family: Family, distance: float) -> Faulted:
    before = scene.parse.masks[entity.id]
    if mask == before:
        fix = "give a distance above half a voxel"
        raise InputError(family.value, expected="a changed mask", got=f"none changed by {distance:g} mm", fix=fix)
    parse = scene.redrawn(scene.parse.with_mask(entity.id, mask), entity.id)
    record = FaultRecord(
        family,
        entity.id,
        (Expectation("wrong_extent", entity.name, entity.id),),
        distance,
        "mm",
        f"{entity.term.words} {family}d by {distance:.1f} mm",
        {"dice_to_original": round(before.dice(mask), 4), "volume_ratio": round(mask.voxels / before.voxels, 4)},
    )
    return Faulted(parse, record)


def merge(scene: Scene, spec: FaultSpec) -> Faulted:
    """One entity swallows a neighbour that it touches, or the one stated by `to`; the neighbour is gone."""
    if spec.to is not None:
        other = scene.choose(spec.to, scene.drawn, "a present, delineated neighbour")
        entity = scene.choose(spec.entity, lambda e: scene.drawn(e) and e.id != other.id, "another delineated entity")
    else:
        entity = scene.choose(spec.entity, lambda e: scene.drawn(e) and bool(_touching(scene, e)), "two that touch")
        near = _touching(scene, entity)
        other = near[int(scene.rng.integers(len(near)))]
    before = scene.parse.masks[entity.id]
    mask = before | scene.parse.masks[other.id]
    parse = scene.redrawn(scene.parse.without(other.id).with_mask(entity.id, mask), entity.id)
    record = FaultRecord(
        Family.merge,
        entity.id,
        (Expectation("wrong_extent", entity.name, entity.id),),
        mask.voxels / before.voxels,
        "volume ratio",
        f"{other.term.words} merged into {entity.term.words}",
        {"swallowed": other.id},
        (other.id,),
    )
    return Faulted(parse, record)


def split(scene: Scene, spec: FaultSpec) -> Faulted:
    """An entity cut in two by a plane of random direction; the smaller part becomes a second entity of the name."""
    entity = scene.choose(
        spec.entity,
        lambda e: scene.drawn(e) and scene.parse.masks[e.id].voxels >= _SMALLEST_SPLIT,
        f"an organ or finding of {_SMALLEST_SPLIT} voxels or more",
    )
    mask = scene.parse.masks[entity.id]
    points = scene.geometry.world(mask.indices())
    normal = scene.rng.standard_normal(3)
    along = (points - points.mean(axis=0)) @ (normal / np.linalg.norm(normal))
    first = along >= np.quantile(along, scene.rng.uniform(0.35, 0.5))
    kept, cut = _selected(mask, first), _selected(mask, ~first)
    second = entity.changed(id=fresh_id(scene, entity.id), delineated=None, tracking_uid=None)
    parse = scene.redrawn(scene.parse.with_mask(entity.id, kept), entity.id)
    record = FaultRecord(
        Family.split_up,
        entity.id,
        tuple(Expectation("wrong_extent", entity.name, id) for id in (entity.id, second.id)),
        cut.voxels / mask.voxels,
        "volume fraction",
        f"{entity.term.words} split in two",
        {"second": second.id},
    )
    return Faulted(scene.redrawn(parse.with_entity(second, cut), second.id), record)


def fresh_id(scene: Scene, stem: str) -> str:
    """An id that the parse does not have yet: the stem with the next free number."""
    taken = {id.casefold() for id in scene.parse.ids}
    number = next(n for n in range(2, len(taken) + 3) if f"{stem}.{n}".casefold() not in taken)
    return f"{stem}.{number}"


def _selected(mask: Mask, chosen: np.ndarray) -> Mask:
    box = np.zeros_like(mask.box)
    box[mask.box] = chosen
    return Mask.from_box(mask.shape, mask.origin, box)


def _touching(scene: Scene, entity: Entity) -> list[Entity]:
    reach = max(scene.geometry.spacing_mm)
    grown = dilated(scene.parse.masks[entity.id], scene.geometry, 0.51 * reach)
    others = (e for e in scene.parse.entities if scene.drawn(e) and e.id != entity.id)
    return [e for e in others if scene.parse.masks[e.id].overlap(grown)]


def _severity(scene: Scene, spec: FaultSpec, default: tuple[float, float]) -> float:
    return float(scene.rng.uniform(*(spec.severity_mm or default)))
