"""What every fault needs to know beyond the parse: the body, the tissues, and which entity is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from synth.errors import InputError
from synth.parse import VOCABULARY, Entity, Kind, Parse, unknown_name
from synth.parse.derive import derive_relations
from synth.volume import Geometry, Mask, Volume, body_mask, tissue_masks


@dataclass(frozen=True, eq=False)
class Scene:
    """A parse, the image that it belongs to (where there is one) and the random generator of the fault.

    Attributes:
        places: name of an organ -> where it would usually lie, on the grid of the parse.
        spared: entities that the fault must leave alone.
    """

    parse: Parse
    rng: np.random.Generator
    image: Volume | None = None
    places: Mapping[str, Mask] = field(default_factory=dict)
    spared: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.image is None:
            return
        difference = self.parse.geometry.describe_difference(self.image.geometry, atol=0.02)
        if difference:
            fix = "resample the image to the parse"
            raise InputError("image", expected="the grid of the parse", got=difference, fix=fix)

    @property
    def geometry(self) -> Geometry:
        """The grid of the parse."""
        return self.parse.geometry

    @cached_property
    def body(self) -> Mask:
        """The body as the parse has it, else as the image shows it, else the whole field of view."""
        for entity in self.parse.by_name("body"):
            if entity.id in self.parse.masks:
                return self.parse.masks[entity.id]
        if self.image is not None:
            return body_mask(self.image)
        return Mask.from_dense(np.ones(self.geometry.shape, dtype=bool))

    @cached_property
    def _tissues(self) -> Mapping[str, Mask]:
        if self.image is None or self.image.unit != "HU":
            return {}
        return tissue_masks(self.image, self.body)

    def choose(self, named: str | None, suits: Callable[[Entity], bool], need: str) -> Entity:
        """The entity meant by an id or an unambiguous name, else a random one that suits the fault.

        Raises InputError when the one meant does not suit, or none does; `need` says what is needed.
        """
        if named is not None:
            entity = self.find(named)
            if entity.id in self.spared:
                expected, got = "one that no other fault happens to", "one that is spared for another"
                raise InputError(f"entity '{entity.id}'", expected=expected, got=got, fix="choose another entity")
            if not suits(entity):
                raise InputError(
                    f"entity '{entity.id}'", expected=need, got="another sort", fix="choose another entity"
                )
            return entity
        eligible = [entity for entity in self.parse.entities if suits(entity)]
        if not eligible:
            raise InputError("parse", expected=need, got="none", fix="choose another fault, or another parse")
        return eligible[int(self.rng.integers(len(eligible)))]

    def find(self, named: str) -> Entity:
        """The entity of this id, or the only one of this name."""
        if named in self.parse:
            return self.parse.entity(named)
        same = self.parse.by_name(named)
        if len(same) > 1:
            got = ", ".join(entity.id for entity in same)
            raise InputError(f"entity '{named}'", expected="one of that name", got=got, fix="give its id")
        if not same:
            raise unknown_name("entity", named, self.parse.ids)
        return same[0]

    def drawn(self, entity: Entity) -> bool:
        """Present with a mask, not spared, and something an image shows in the body: no tissue, no planning volume."""
        shown = entity.id in self.parse.present_ids and entity.kind not in (Kind.tissue, Kind.target)
        return shown and entity.id not in self.spared

    def region(self, named: str) -> Mask:
        """The place that a name stands for: an entity, all entities under a wider name, or a tissue of the image.

        Raises InputError for a name that is neither in the parse nor a tissue that the image shows.
        """
        if named in self.parse and named in self.parse.masks:
            return self.parse.masks[named]
        VOCABULARY.term(named)
        within = [
            self.parse.masks[e.id] for e in self.parse.entities
            if e.id in self.parse.masks and named in (e.name, *VOCABULARY.ancestors(e.name))
        ]  # fmt: skip
        if within:
            place = within[0]
            for other in within[1:]:
                place = place | other
            return place
        if named in self._tissues:
            return self._tissues[named]
        got = "no such mask" if self.image is not None else "no such mask, and no image to find it in"
        raise InputError(
            f"target '{named}'", expected="an entity or a tissue", got=got, fix="give the image, or another name"
        )

    def redrawn(self, parse: Parse, *ids: str) -> Parse:
        """What was derived for these entities no longer holds: attributes go, relations are derived again.

        A stale relation, or a stale mark of being cut by the border, would betray the fault to anyone who compares it
        with the masks.
        """
        entities = [
            e.changed(truncated=parse.masks[e.id].touches_border) if e.id in ids and e.id in parse.masks else e
            for e in parse.entities
        ]
        parse = parse.replace(
            entities=entities, attributes=[a for a in parse.attributes if not (a.derived and a.entity in ids)]
        )
        if not any(relation.derived for relation in self.parse.relations):
            return parse
        return derive_relations(parse.replace(relations=[r for r in parse.relations if not r.derived]))
