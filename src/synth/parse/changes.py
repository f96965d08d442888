"""The kinds of change between two parses, each a sentence that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synth.parse.items import Attribute, Circumstance, Entity, Relation
from synth.volume import Geometry, Mask


@dataclass(frozen=True)
class EntityChange:
    """An entity that came (`before` None), went (`after` None), or about which another claim is made."""

    before: Entity | None
    after: Entity | None

    @property
    def entity(self) -> Entity:
        """The entity as it is now, or as it was last."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def is_flip(self) -> bool:
        """Whether the presence changed."""
        return self.before is not None and self.after is not None and self.before.presence != self.after.presence

    def sentence(self) -> str:
        """Such as "left kidney (kidney_left): present before, absent now"."""
        label = named(self.entity)
        if self.before is None or self.after is None:
            return f"{label}: {'new, ' if self.before is None else 'no longer mentioned, was '}{self.entity.presence}"
        if self.is_flip:
            return f"{label}: {_words(self.before.presence)} before, {_words(self.after.presence)} now"
        fields = type(self.after).model_fields
        changed = [f for f in fields if getattr(self.before, f) != getattr(self.after, f)]
        shifts = (f"{_words(f)} from {getattr(self.before, f)} to {getattr(self.after, f)}" for f in changed)
        return f"{label}: {', '.join(shifts)}"


@dataclass(frozen=True)
class AttributeChange:
    """A value that came, went or shifted; `entity` is the entity it belongs to."""

    entity: Entity
    before: Attribute | None
    after: Attribute | None

    @property
    def attribute(self) -> Attribute:
        """The attribute as it is now, or as it was last."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def says_the_same(self) -> bool:
        """Whether both values are there and differ by less than the type's tolerance."""
        if self.before is None or self.after is None:
            return False
        return self.after.definition.same(self.before.value, self.after.value)

    def sentence(self) -> str:
        """Such as "liver (liver): mean attenuation fell from 60 to 42 HU (portal venous)"."""
        what = _words(self.attribute.type)
        phase = f" ({_words(self.attribute.phase)})" if self.attribute.phase else ""
        unit = f" {self.attribute.unit}" if self.attribute.unit else ""
        if self.before is None or self.after is None:
            state = "now given as" if self.before is None else "no longer given, was"
            return f"{named(self.entity)}: {what} {state} {_value(self.attribute.value)}{unit}{phase}"
        old, new = self.before.value, self.after.value
        verb = "changed" if isinstance(old, str) or isinstance(new, str) else ("rose" if new > old else "fell")
        if old == new:
            return f"{named(self.entity)}: {what} stays {_value(new)}{unit}{phase}, its source changed"
        return f"{named(self.entity)}: {what} {verb} from {_value(old)} to {_value(new)}{unit}{phase}"


@dataclass(frozen=True)
class RelationChange:
    """An edge that came, went, or carries other data; the entities are those it joins."""

    subject: Entity
    object: Entity
    before: Relation | None
    after: Relation | None

    @property
    def relation(self) -> Relation:
        """The edge as it is now, or as it was last."""
        found = self.after or self.before
        assert found is not None
        return found

    def sentence(self) -> str:
        """Such as "liver metastasis (m1): no longer abuts inferior vena cava (ivc)"."""
        edge = f"{_words(self.relation.type)} {named(self.object)}"
        if self.before is not None and self.after is not None:
            return f"{named(self.subject)}: still {edge}, with other details"
        return f"{named(self.subject)}: {'now' if self.before is None else 'no longer'} {edge}"


@dataclass(frozen=True, eq=False)
class MaskChange:
    """A mask that came, went or changed, with its volume at both visits (None where there is no mask)."""

    entity: Entity
    before: Mask | None
    after: Mask | None
    before_ml: float | None
    after_ml: float | None

    @property
    def ratio(self) -> float | None:
        """New volume over old, where both are there."""
        return self.after_ml / self.before_ml if self.after_ml and self.before_ml else None

    def sentence(self) -> str:
        """Such as "lung nodule (n1): grew from 0.52 to 1.1 mL (+112%)"."""
        label = named(self.entity)
        if self.before_ml is None or self.after_ml is None:
            size = self.after_ml if self.before_ml is None else self.before_ml
            return f"{label}: {'now drawn' if self.before_ml is None else 'no longer drawn, was'}, {size:.3g} mL"
        if self.before_ml == self.after_ml:
            return f"{label}: outline moved, still {self.after_ml:.3g} mL"
        verb = "grew" if self.after_ml > self.before_ml else "shrank"
        percent = 100.0 * (self.after_ml / self.before_ml - 1.0)
        return f"{label}: {verb} from {self.before_ml:.3g} to {self.after_ml:.3g} mL ({percent:+.0f}%)"


@dataclass(frozen=True)
class GridChange:
    """Another grid of the masks."""

    before: Geometry
    after: Geometry

    def sentence(self) -> str:
        """What differs, in words."""
        return f"grid: {self.before.describe_difference(self.after, atol=0.0) or 'a negligible shift'}"


@dataclass(frozen=True)
class CircumstanceChange:
    """Another image: day, phase, field of view, or how the parse was made."""

    before: Circumstance
    after: Circumstance

    def sentence(self) -> str:
        """Every field that differs."""
        fields = [f for f in type(self.after).model_fields if getattr(self.before, f) != getattr(self.after, f)]
        shifts = (
            f"{_words(f)} from {_short(getattr(self.before, f))} to {_short(getattr(self.after, f))}" for f in fields
        )
        return f"circumstance: {', '.join(shifts)}"


Change = EntityChange | AttributeChange | RelationChange | MaskChange | GridChange | CircumstanceChange


def named(entity: Entity) -> str:
    """The entity as it reads in a sentence, with its id where that says more."""
    return entity.term.words if entity.id == entity.name else f"{entity.term.words} ({entity.id})"


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        value = ", ".join(value) or "none"
    return str(value) if len(str(value)) <= 40 else f"{str(value)[:12]}..."
