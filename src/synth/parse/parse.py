"""The parse: what is claimed to be in one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from synth.errors import InputError
from synth.parse.closure import CAN_HAVE_MASK, breaches, mask_breaches
from synth.parse.items import Attribute, Circumstance, Entity, Relation
from synth.parse.kinds import Presence
from synth.parse.vocabulary import unknown_name
from synth.volume import Geometry, Mask, Slices3, Volume, resample_mask


class Parse:
    """Entities, their attributes and relations, and the masks of those that are delineated.

    Immutable and valid once built: an ill-formed one is an `InputError` that names the field. The order of the items
    has no meaning, so that parses with the same items are equal. Operations return a new parse that shares what it can.

    Attributes:
        entities, attributes, relations: the claims.
        geometry: the grid of the masks, RAS+.
        circumstance: how the image and the parse came about.
        masks: id -> mask (X, Y, Z); masks may overlap.

    Example:
        >>> import numpy as np
        >>> geometry = Geometry.regular((4, 4, 4), 3.0)
        >>> liver = Mask.from_box((4, 4, 4), (1, 1, 1), np.ones((2, 2, 2), bool))
        >>> z = Parse([Entity(id="liver", name="liver")], geometry=geometry, masks={"liver": liver})
        >>> z.present_ids, len(z.without("liver").entities)
        (('liver',), 0)
    """

    entities: tuple[Entity, ...]
    attributes: tuple[Attribute, ...]
    relations: tuple[Relation, ...]
    geometry: Geometry
    circumstance: Circumstance
    masks: Mapping[str, Mask]

    def __init__(
        self,
        entities: Iterable[Entity],
        attributes: Iterable[Attribute] = (),
        relations: Iterable[Relation] = (),
        *,
        geometry: Geometry,
        circumstance: Circumstance | None = None,
        masks: Mapping[str, Mask] | None = None,
    ) -> None:
        masks = dict(masks or {})
        parts = tuple(entities), tuple(attributes), tuple(relations)
        for breach in breaches(*parts, geometry, masks):
            raise breach
        filled = tuple(_delineated(entity, entity.id in masks) for entity in parts[0])
        self._fill(filled, parts[1], parts[2], geometry, circumstance or Circumstance(), masks)

    def _fill(
        self,
        entities: tuple[Entity, ...],
        attributes: tuple[Attribute, ...],
        relations: tuple[Relation, ...],
        geometry: Geometry,
        circumstance: Circumstance,
        masks: Mapping[str, Mask],
    ) -> None:
        parts: dict[str, Any] = {"entities": entities, "attributes": attributes, "relations": relations}
        parts |= {"geometry": geometry, "circumstance": circumstance, "masks": MappingProxyType(dict(masks))}
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    def _with(self, **parts: Any) -> Parse:
        """A parse with some parts exchanged for others that are known to keep closure."""
        names = ("entities", "attributes", "relations", "geometry", "circumstance", "masks")
        made = object.__new__(Parse)
        made._fill(**{name: parts.get(name, getattr(self, name)) for name in names})
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a parse is immutable: use replace({name}=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (
            self.entities,
            self.attributes,
            self.relations,
            self.geometry,
            self.circumstance,
            dict(self.masks),
        )

    # -- reading

    @cached_property
    def _by_id(self) -> dict[str, Entity]:
        return {entity.id: entity for entity in self.entities}

    @property
    def ids(self) -> tuple[str, ...]:
        """Every entity's id."""
        return tuple(self._by_id)

    @cached_property
    def present_ids(self) -> tuple[str, ...]:
        """Ids of the entities that are present and delineated."""
        return tuple(e.id for e in self.entities if e.presence is Presence.present and e.id in self.masks)

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    def entity(self, id: str) -> Entity:
        """The entity of this id; an unknown id is an `InputError` that lists the nearest."""
        found = self._by_id.get(id)
        if found is None:
            raise unknown_name("entity id", id, self._by_id)
        return found

    def mask(self, id: str) -> Mask:
        """The mask of this entity; an `InputError` where it has none."""
        if self.entity(id).id not in self.masks:
            raise InputError(
                f"masks[{id}]", expected="a delineated entity", got="no mask", fix="choose one of present_ids"
            )
        return self.masks[id]

    def by_name(self, name: str) -> tuple[Entity, ...]:
        """The entities of exactly this name."""
        return tuple(entity for entity in self.entities if entity.name == name)

    def attributes_of(self, id: str) -> tuple[Attribute, ...]:
        """The attributes of this entity."""
        return self._attributes_by_id.get(self.entity(id).id, ())

    def relations_of(self, id: str) -> tuple[Relation, ...]:
        """The relations that this entity is an end of."""
        return self._relations_by_id.get(self.entity(id).id, ())

    @cached_property
    def _attributes_by_id(self) -> dict[str, tuple[Attribute, ...]]:
        table: dict[str, list[Attribute]] = {}
        for attribute in self.attributes:
            table.setdefault(attribute.entity, []).append(attribute)
        return {id: tuple(items) for id, items in table.items()}

    @cached_property
    def _relations_by_id(self) -> dict[str, tuple[Relation, ...]]:
        table: dict[str, list[Relation]] = {}
        for relation in self.relations:
            for id in {relation.subject, relation.object}:
                table.setdefault(id, []).append(relation)
        return {id: tuple(items) for id, items in table.items()}

    # -- changing

    def replace(self, **parts: Any) -> Parse:
        """The parse with whole parts exchanged, closure checked again; `delineated` follows the masks."""
        names = ("entities", "attributes", "relations", "geometry", "circumstance", "masks")
        unknown = set(parts) - set(names)
        if unknown:
            raise unknown_name("part of a parse", sorted(unknown)[0], names)
        return Parse(**{name: parts.get(name, getattr(self, name)) for name in names})

    def without(self, *ids: str) -> Parse:
        """The parse without these entities, their masks, attributes and relations."""
        gone = {self.entity(id).id for id in ids}
        return self._with(
            entities=tuple(e for e in self.entities if e.id not in gone),
            attributes=tuple(a for a in self.attributes if a.entity not in gone),
            relations=tuple(r for r in self.relations if r.subject not in gone and r.object not in gone),
            masks={id: mask for id, mask in self.masks.items() if id not in gone},
        )

    def with_entity(
        self,
        entity: Entity,
        mask: Mask | None = None,
        attributes: Iterable[Attribute] = (),
        relations: Iterable[Relation] = (),
    ) -> Parse:
        """The parse with one entity more, and what is said about it."""
        masks = self.masks if mask is None else {**self.masks, entity.id: mask}
        return Parse(
            (*self.entities, entity),
            (*self.attributes, *attributes),
            (*self.relations, *relations),
            geometry=self.geometry,
            circumstance=self.circumstance,
            masks=masks,
        )

    def with_mask(self, id: str, mask: Mask) -> Parse:
        """The parse with this entity's mask drawn, or drawn anew."""
        entity = self.entity(id)
        for breach in mask_breaches(entity, mask, self.geometry):
            raise breach
        return self._with(entities=self._exchange(_delineated(entity, True)), masks={**self.masks, id: mask})

    def with_presence(self, id: str, presence: Presence | str) -> Parse:
        """The parse with another claim about this entity.

        A presence that cannot have a mask drops the mask, and with it what was derived from the mask.
        """
        entity = self.entity(id).changed(presence=presence)
        if entity.presence in CAN_HAVE_MASK:
            return self._with(entities=self._exchange(entity))
        return self._with(
            entities=self._exchange(entity.changed(delineated=False, truncated=False)),
            attributes=tuple(a for a in self.attributes if not (a.derived and a.entity == id)),
            relations=tuple(r for r in self.relations if not (r.derived and id in (r.subject, r.object))),
            masks={other: mask for other, mask in self.masks.items() if other != id},
        )

    def without_derived(self) -> Parse:
        """The parse as it was declared: attributes measured from the image are left out, so that an audit cannot peek.

        Relations derived from the masks stay: they say nothing that the masks do not.
        """
        return self._with(attributes=tuple(a for a in self.attributes if not a.derived))

    def without_derived_entities(self) -> Parse:
        """The parse without the entities that were derived from the image, such as tissues by threshold."""
        derived = {f.removeprefix("entities.") for f in self.circumstance.derived_fields if f.startswith("entities.")}
        return self.without(*(e.id for e in self.entities if e.id in derived))

    def free_id(self, stem: str) -> str:
        """An id that no entity has, whatever the case of its letters: `stem`, or `stem_2` and so on."""
        taken = {e.id.casefold() for e in self.entities}
        numbers = range(1, len(taken) + 2)
        return next(i for i in (stem if n == 1 else f"{stem}_{n}" for n in numbers) if i.casefold() not in taken)

    def of_image(self, image: Volume) -> Parse:
        """The parse, its circumstance naming `image` as what it was made of."""
        return self.replace(circumstance=self.circumstance.changed(image_sha256=image.sha256()))

    def resampled(self, geometry: Geometry) -> Parse:
        """The parse on another grid; an entity whose mask falls outside it becomes `not_assessed`."""
        masks = {id: resample_mask(mask, self.geometry, geometry) for id, mask in self.masks.items()}
        return self._moved(geometry, masks)

    def cropped(self, slices: Slices3) -> Parse:
        """The parse of a part of the image; an entity whose mask falls outside it becomes `not_assessed`."""
        return self._moved(self.geometry.cropped(slices), {id: mask.cropped(slices) for id, mask in self.masks.items()})

    def _moved(self, geometry: Geometry, masks: Mapping[str, Mask]) -> Parse:
        lost = {id for id, mask in masks.items() if mask.is_empty}
        volume = self.geometry.voxel_ml / geometry.voxel_ml
        entities = []
        for entity in self.entities:
            if entity.id in lost:
                entity = entity.changed(presence=Presence.not_assessed, delineated=False, truncated=False)
            elif entity.id in masks and not entity.truncated:
                cut = (
                    masks[entity.id].touches_border
                    and masks[entity.id].voxels < 0.9 * self.masks[entity.id].voxels * volume
                )
                entity = entity.changed(truncated=True) if cut else entity
            entities.append(entity)
        kept = {id: mask for id, mask in masks.items() if id not in lost}
        return self._with(entities=tuple(entities), geometry=geometry, masks=kept)

    def _exchange(self, entity: Entity) -> tuple[Entity, ...]:
        return tuple(entity if each.id == entity.id else each for each in self.entities)

    # -- comparing

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parse):
            return NotImplemented
        return (
            self._by_id == other._by_id
            and {a.key: a for a in self.attributes} == {a.key: a for a in other.attributes}
            and {r.key: r for r in self.relations} == {r.key: r for r in other.relations}
            and self.geometry == other.geometry
            and self.circumstance == other.circumstance
            and dict(self.masks) == dict(other.masks)
        )

    __hash__ = None  # type: ignore[assignment]  # equality is by content and costs as much as the masks

    def __repr__(self) -> str:
        counts = f"{len(self.entities)} entities, {len(self.attributes)} attributes, {len(self.relations)} relations"
        return f"Parse({counts}, {len(self.masks)} masks on {self.geometry.shape})"


def _delineated(entity: Entity, drawn: bool) -> Entity:
    """The entity with the field filled in; the copy needs no check, for nothing else changes."""
    return entity if entity.delineated is drawn else entity.model_copy(update={"delineated": drawn})


def _rebuild(
    entities: tuple[Entity, ...],
    attributes: tuple[Attribute, ...],
    relations: tuple[Relation, ...],
    geometry: Geometry,
    circumstance: Circumstance,
    masks: Mapping[str, Mask],
) -> Parse:
    return Parse(entities, attributes, relations, geometry=geometry, circumstance=circumstance, masks=masks)
