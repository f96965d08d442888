"""Faults of presence: deleted, declared absent, hallucinated, on the wrong side."""

from __future__ import annotations

import numpy as np

from synth.errors import InputError
from synth.fault.extent import fresh_id
from synth.fault.jitter import smooth_noise
from synth.fault.record import Expectation, Family, Faulted, FaultRecord, FaultSpec
from synth.fault.scene import Scene
from synth.parse import VOCABULARY, Entity, Kind, Parse, Presence, Relation
from synth.volume import Mask, signed_distance

_LESION_MM = (12.0, 30.0)
_HOSTS = ("liver", "kidney_left", "kidney_right", "spleen", "pancreas", "lung", "brain")
_LESION_OF = {"liver": "liver_lesion", "lung": "lung_nodule", "brain": "brain_metastasis"}


def delete(scene: Scene, spec: FaultSpec) -> Faulted:
    """An entity that the image shows is left out of the parse."""
    entity = scene.choose(spec.entity, scene.drawn, "a present, delineated organ or finding")
    parse = scene.parse.without(entity.id)
    return _missing(scene, entity, parse, Family.delete, f"{entity.term.words} left out")


def false_absence(scene: Scene, spec: FaultSpec) -> Faulted:
    """An entity that the image shows is declared absent."""
    entity = scene.choose(spec.entity, scene.drawn, "a present, delineated organ or finding")
    parse = scene.parse.with_presence(entity.id, Presence.absent)
    return _missing(scene, entity, parse, Family.false_absence, f"{entity.term.words} declared absent")


def _missing(scene: Scene, entity: Entity, parse: Parse, family: Family, said: str) -> Faulted:
    mask = scene.parse.masks[entity.id]
    still_there = entity.id if family is Family.false_absence else None
    expected = (Expectation("missing", entity.name, still_there, mask),)
    volume = mask.volume_ml(scene.geometry)
    return Faulted(parse, FaultRecord(family, entity.id, expected, volume, "mL", said))


def add_lesion(scene: Scene, spec: FaultSpec) -> Faulted:
    """A lesion that the image does not show: a blob with a smooth irregular outline inside a host organ.

    It keeps clear of findings that the parse already has, and is declared `located_in` its host.
    """
    diameter = float(scene.rng.uniform(*(spec.severity_mm or _LESION_MM)))
    host = scene.choose(
        spec.entity, lambda e: _can_host(scene, e, spec, diameter), f"an organ with {diameter:.0f} mm of room"
    )
    name = spec.name or _lesion_name(host.name)
    if VOCABULARY.term(name).kind is not Kind.finding:
        raise InputError(f"lesion '{name}'", expected="a finding", got=VOCABULARY.term(name).kind, fix="name a finding")
    mask = _blob(scene, _free_room(scene, host), diameter)
    lesion = Entity(id=_lesion_id(scene, name), name=name, truncated=mask.touches_border)
    inside = Relation(type="located_in", subject=lesion.id, object=host.id)
    parse = scene.redrawn(scene.parse.with_entity(lesion, mask, relations=[inside]), lesion.id)
    record = FaultRecord(
        Family.add_lesion,
        host.id,
        (Expectation("hallucinated", name, lesion.id),),
        diameter,
        "mm",
        f"a {lesion.term.words} of {diameter:.0f} mm added to the {host.term.words}",
        {"lesion": lesion.id, "volume_ml": round(mask.volume_ml(scene.geometry), 3)},
    )
    return Faulted(parse, record)


def false_side(scene: Scene, spec: FaultSpec) -> Faulted:
    """An organ declared on the side where there is none: its mirror image, after the other side was removed."""
    entity = scene.choose(spec.entity, lambda e: _lonely(scene, e), "a one-sided organ whose counterpart is not there")
    mirror = entity.term.mirror
    assert mirror is not None
    mask = _mirrored(scene, scene.parse.masks[entity.id])
    if mask.overlap(scene.body) < 0.5 * max(mask.voxels, 1):
        fix = "choose another entity"
        raise InputError("false_side", expected="a mirror image within the body", got="one outside", fix=fix)
    declared = scene.parse.by_name(mirror)
    parse = scene.parse.without(*[e.id for e in declared])
    identity = declared[0].id if declared else fresh_id(scene, mirror) if mirror in scene.parse else mirror
    parse = scene.redrawn(parse.with_entity(Entity(id=identity, name=mirror), mask), identity)
    record = FaultRecord(
        Family.false_side,
        entity.id,
        (Expectation("hallucinated", mirror, identity),),
        mask.volume_ml(scene.geometry),
        "mL",
        f"{VOCABULARY.term(mirror).words} declared where there is none",
        {"declared": identity},
    )
    return Faulted(parse, record)


def hallucinated_organ(scene: Scene, spec: FaultSpec) -> Faulted:
    """An organ claimed where it would lie in a patient who lacks it, as after a nephrectomy that a parser overlooks.

    Place and shape are those of `Scene.places`. What the parse said of the organ, such as that it is absent, is gone.
    """
    name = _lacked_organ(scene, spec)
    mask = scene.places[name]
    if mask.is_empty or mask.shape != scene.geometry.shape:
        got, fix = f"{mask.voxels} voxels of {mask.shape}", "give a place on the grid of the parse"
        raise InputError(f"place of '{name}'", expected=f"voxels of {scene.geometry.shape}", got=got, fix=fix)
    declared = scene.parse.by_name(name)
    identity = declared[0].id if declared else scene.parse.free_id(name)
    parse = scene.parse.without(*[e.id for e in declared]).with_entity(Entity(id=identity, name=name), mask)
    record = FaultRecord(
        Family.hallucinated_organ,
        identity,
        (Expectation("hallucinated", name, identity),),
        mask.volume_ml(scene.geometry),
        "mL",
        f"{VOCABULARY.term(name).words} claimed in a patient who lacks it",
        {"declared_before": [e.presence.value for e in declared]},
    )
    return Faulted(scene.redrawn(parse, identity), record)


def _lacked_organ(scene: Scene, spec: FaultSpec) -> str:
    """The organ that is asked for, else one of those with a usual place."""
    asked = spec.name or spec.entity
    if asked is None:
        lacked = sorted(name for name in scene.places if _lacks(scene, name))
        if lacked:
            return lacked[int(scene.rng.integers(len(lacked)))]
        fix = "name the organ, and give the place where it would lie"
        raise InputError("parse", expected="an organ that the patient lacks and a place for it", got="none", fix=fix)
    term = VOCABULARY.term(scene.parse.entity(asked).name if asked in scene.parse else asked)
    if term.kind is not Kind.organ:
        raise InputError(f"organ '{term.name}'", expected="an organ", got=term.kind, fix="name an organ")
    if not _lacks(scene, term.name):
        expected, got = "one that the parse lacks or declares absent", "one that it has, or does not rule out"
        raise InputError(f"organ '{term.name}'", expected=expected, got=got, fix="name another organ")
    if term.name not in scene.places:
        fix = "give its place, or a parse that draws more of the organs around it"
        raise InputError(f"organ '{term.name}'", expected="the place where it would lie", got="none", fix=fix)
    return term.name


def _lacks(scene: Scene, name: str) -> bool:
    """Neither the organ nor a part of it nor what it is a part of may be there, by the parse; none is spared."""
    if name in scene.spared:
        return False
    for entity in scene.parse.entities:
        if entity.name == name and (entity.presence is not Presence.absent or entity.id in scene.spared):
            return False
        related = name in VOCABULARY.ancestors(entity.name) or entity.name in VOCABULARY.ancestors(name)
        if related and entity.presence in (Presence.present, Presence.uncertain):
            return False
    return True


def _lonely(scene: Scene, entity: Entity) -> bool:
    mirror = entity.term.mirror
    if mirror is None or not scene.drawn(entity):
        return False
    others = scene.parse.by_name(mirror)
    spared = mirror in scene.spared or any(other.id in scene.spared for other in others)
    return not spared and all(other.presence is Presence.absent for other in others)


def _mirrored(scene: Scene, mask: Mask) -> Mask:
    """Flip about the middle of the body, along the array axis closest to left-right."""
    left, right = scene.body.slices[0].start, scene.body.slices[0].stop
    start = left + right - mask.slices[0].stop
    flipped = mask.box[::-1]
    low, high = max(0, start), min(mask.shape[0], start + flipped.shape[0])
    if low >= high:
        return Mask.empty(mask.shape)
    return Mask.from_box(mask.shape, (low, mask.origin[1], mask.origin[2]), flipped[low - start : high - start])


def _can_host(scene: Scene, entity: Entity, spec: FaultSpec, diameter: float) -> bool:
    if not scene.drawn(entity) or entity.kind is Kind.finding:
        return False
    usual = any(host in (entity.name, *VOCABULARY.ancestors(entity.name)) for host in _HOSTS)
    if spec.entity is None and not usual:
        return False
    room = _free_room(scene, entity)
    return not room.is_empty and float(signed_distance(room, scene.geometry, 0.0).values.max()) >= 0.35 * diameter


def _free_room(scene: Scene, host: Entity) -> Mask:
    room = scene.parse.masks[host.id]
    for other in scene.parse.entities:
        if other.kind is Kind.finding and other.id in scene.parse.masks:
            room = room - scene.parse.masks[other.id]
    return room


def _blob(scene: Scene, room: Mask, diameter: float) -> Mask:
    """Voxels nearer to a random centre than a radius that varies smoothly by about 12%, within `room`."""
    radius = diameter / 2
    depth = signed_distance(room, scene.geometry, 0.0)
    deep = np.argwhere(depth.values >= min(0.7 * radius, float(depth.values.max())))
    centre = deep[int(scene.rng.integers(len(deep)))] + [s.start for s in depth.slices]
    spacing = scene.geometry.spacing_mm
    lines = [(np.arange(s.start, s.stop) - c) * d for s, c, d in zip(room.slices, centre, spacing, strict=True)]
    distance = np.sqrt(lines[0][:, None, None] ** 2 + lines[1][None, :, None] ** 2 + lines[2][None, None, :] ** 2)
    noise = smooth_noise(room.box.shape, spacing, max(radius, 4.0), scene.rng)
    blob = (distance <= radius * (1.0 + 0.12 * noise)) & room.box
    blob[tuple(c - s.start for c, s in zip(centre, room.slices, strict=True))] = True
    return Mask.from_box(room.shape, room.origin, blob)


def _lesion_name(host: str) -> str:
    wider = (host, *VOCABULARY.ancestors(host))
    return next((name for organ, name in _LESION_OF.items() if organ in wider), "lesion")


def _lesion_id(scene: Scene, name: str) -> str:
    taken = {id.casefold() for id in scene.parse.ids}
    return name if name.casefold() not in taken else fresh_id(scene, name)
