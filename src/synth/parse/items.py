"""What a parse is made of: entities, their attributes, the relations between them, and the circumstance."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from synth.parse.attribute_types import ATTRIBUTE_TYPES, AttributeType
from synth.parse.kinds import BodyRegion, Kind, Modality, Phase, Presence
from synth.parse.record import Record, refuse
from synth.parse.relation_types import RELATION_TYPES, RelationType
from synth.parse.terms import Term
from synth.parse.vocabulary import VOCABULARY, unknown_name

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
"""Identity of an entity: stable across visits, and the name of its mask's file."""

MAX_PAYLOAD_CHARACTERS = 100_000


class Entity(Record):
    """A thing that the parse makes a claim about.

    Attributes:
        id: stable identity, 1 to 64 letters, digits, `_`, `-` or `.`.
        name: a name of the vocabulary.
        kind: that of the name; filled in when left out.
        presence: what is claimed.
        confidence: of the parser in that claim, 0 to 1.
        tracking_uid: DICOM tracking unique identifier.
        delineated: whether the parse holds its mask; filled in by the parse when left out.
        truncated: its mask is cut by the border of the field of view.

    Raises `InputError` for an unknown name, a kind that is not the name's, or a value out of range.

    Example:
        >>> Entity(id="e1", name="kidney_left").kind
        <Kind.organ: 'organ'>
    """

    id: Id
    name: str
    kind: Kind = Field(default=Kind.organ, description="the kind of the name; filled in when left out")
    presence: Presence = Presence.present
    confidence: float | None = Field(default=None, ge=0, le=1)
    tracking_uid: str | None = Field(default=None, pattern=r"^[0-9.]{1,64}$")
    delineated: bool | None = None
    truncated: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fill_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("kind") is None and values.get("name") in VOCABULARY:
            return {**values, "kind": VOCABULARY.term(values["name"]).kind}
        return values

    @field_validator("name")
    @classmethod
    def _known_name(cls, name: str) -> str:
        if name not in VOCABULARY:
            error = unknown_name("name", name, VOCABULARY.names)
            refuse(error.expected, error.got, error.fix)
        return name

    @model_validator(mode="after")
    def _kind_of_name(self) -> Self:
        if self.kind is not self.term.kind:
            refuse(
                f"kind '{self.term.kind}' for '{self.name}'",
                f"'{self.kind}'",
                "leave kind out or correct the name",
                field="kind",
            )
        return self

    @property
    def term(self) -> Term:
        """The vocabulary's entry for the name."""
        return VOCABULARY.term(self.name)

    def renamed(self, name: str) -> Entity:
        """The same under another name, its kind that of the name.

        Example:
            >>> Entity(id="e1", name="kidney_left").renamed("liver_segment_1").kind
            <Kind.substructure: 'substructure'>
        """
        return self.changed(name=name, kind=VOCABULARY.term(name).kind)


class Attribute(Record):
    """A value of one entity.

    Attributes:
        entity: id of the entity.
        type: a key of `ATTRIBUTE_TYPES`.
        value: a category of the type, or a number within its range.
        unit: that of the type; filled in when left out.
        phase: contrast phase that the value holds for, where it depends on one.
        derived: measured from the image by this toolkit, not declared by whoever made the parse.
        source: what it was measured on (image hash) or read from.

    Example:
        >>> Attribute(entity="e1", type="mean_attenuation", value=55).unit
        'HU'
    """

    entity: Id
    type: str
    value: float | str
    unit: str | None = None
    phase: Phase | None = None
    derived: bool = False
    source: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_tolerantly(cls, values: Any) -> Any:
        name = values.get("type") if isinstance(values, dict) else None
        kind = ATTRIBUTE_TYPES.get(name) if isinstance(name, str) else None
        if kind is None:
            return values
        value = values.get("value")
        if isinstance(value, bool):
            refuse(f"a value of '{kind.name}'", value, "write the category or the number", field="value")
        if not kind.is_numeric and isinstance(value, int):
            value = str(value)
        unit = kind.unit if values.get("unit") is None else values["unit"]
        return {**values, "value": value, "unit": unit}

    @field_validator("type")
    @classmethod
    def _known_type(cls, name: str) -> str:
        if name not in ATTRIBUTE_TYPES:
            error = unknown_name("type", name, ATTRIBUTE_TYPES)
            refuse(error.expected, error.got, error.fix)
        return name

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        kind = self.definition
        if self.unit != kind.unit:
            refuse(
                f"unit {kind.unit!r} for '{self.type}'", repr(self.unit), "convert the value to that unit", field="unit"
            )
        if kind.values is not None and self.value not in kind.values:
            refuse(
                f"one of {', '.join(kind.values)} for '{self.type}'",
                repr(self.value),
                f"see {kind.guideline}",
                field="value",
            )
        if kind.values is None:
            self._check_number(kind)
        if self.phase is not None and not kind.phased:
            refuse(f"no phase for '{self.type}'", f"'{self.phase}'", "leave phase out", field="phase")
        return self

    def _check_number(self, kind: AttributeType) -> None:
        low, high = kind.low or 0.0, kind.high if kind.high is not None else float("inf")
        if isinstance(self.value, str) or not low <= self.value <= high:
            expected = f"a number from {low:g} to {high:g} {kind.unit} for '{self.type}'"
            refuse(expected, repr(self.value), "check the value", field="value")

    @property
    def definition(self) -> AttributeType:
        """The type's entry in `ATTRIBUTE_TYPES`."""
        return ATTRIBUTE_TYPES[self.type]

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What a parse holds at most one value for."""
        return self.entity, self.type, self.phase


class Relation(Record):
    """An edge, read "subject type object".

    Attributes:
        type: a key of `RELATION_TYPES`.
        subject, object: ids of entities.
        payload: JSON data of the edge, such as the difference that a `changed_from` stands for.
        derived: computed from the masks by this toolkit.
    """

    type: str
    subject: Id
    object: Id
    payload: dict[str, JsonValue] | None = None
    derived: bool = False

    @field_validator("type")
    @classmethod
    def _known_type(cls, name: str) -> str:
        if name not in RELATION_TYPES:
            error = unknown_name("type", name, RELATION_TYPES)
            refuse(error.expected, error.got, error.fix)
        return name

    @field_validator("payload")
    @classmethod
    def _plain_json(cls, payload: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        try:
            size = len(json.dumps(payload, allow_nan=False))
        except (ValueError, RecursionError) as error:
            refuse("finite JSON data", str(error), "leave out what is not a number")
        if size > MAX_PAYLOAD_CHARACTERS:
            refuse(f"at most {MAX_PAYLOAD_CHARACTERS} characters", size, "store large data beside the bundle")
        return payload

    @model_validator(mode="after")
    def _two_ends(self) -> Self:
        if self.subject == self.object and not self.definition.reflexive:
            refuse("two different entities", f"'{self.subject}' twice", "name the other entity", field="object")
        return self

    @property
    def definition(self) -> RelationType:
        """The type's entry in `RELATION_TYPES`."""
        return RELATION_TYPES[self.type]

    @property
    def key(self) -> tuple[str, str, str]:
        """What a parse holds at most once."""
        return self.type, self.subject, self.object


class Circumstance(Record):
    """How the image came about, and how the parse was made from it.

    Attributes:
        modality: CT, MR or unknown.
        phase: contrast phase of the whole image.
        day: days after the patient's first visit.
        field_of_view: regions of the body that the image covers.
        patient: pseudonym; never a name or a hospital number.
        image_sha256: `Volume.sha256()` of the image that the parse was made from.
        made_by: program or person that made the parse.
        derived_fields: which fields were computed from that image or from the masks, such as
            `attributes.mean_attenuation` or `relations.abuts`.
    """

    modality: Modality = Modality.unknown
    phase: Phase | None = None
    day: float | None = None
    field_of_view: tuple[BodyRegion, ...] = ()
    patient: str | None = Field(default=None, max_length=128)
    image_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    made_by: str | None = None
    derived_fields: tuple[str, ...] = ()

    def deriving(self, *fields: str) -> Circumstance:
        """The same with more fields marked as derived."""
        return self.changed(derived_fields=tuple(sorted({*self.derived_fields, *fields})))
