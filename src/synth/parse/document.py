"""`parse.json`: the parse as plain data, its JSON Schema, and the reading of what may be hostile text."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from synth.errors import InputError
from synth.parse.attribute_types import ATTRIBUTE_TYPES, AttributeType
from synth.parse.items import Attribute, Circumstance, Entity, Id, Relation
from synth.parse.parse import Parse
from synth.parse.record import Record
from synth.parse.relation_types import RELATION_TYPES
from synth.parse.vocabulary import VOCABULARY
from synth.volume import MAX_VOXELS, Geometry

SCHEMA_VERSION = "1.0"
SCHEMA_ID = "urn:parse-synth:schema:parse:1.0"

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_JSON_DEPTH = 32

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[\[\]{}]")

_log = logging.getLogger(__name__)

_Size = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Row = Annotated[tuple[float, float, float, float], Field(description="one row of the matrix")]


class Grid(Record):
    """Where the voxels are: shape, and the affine from voxel index to millimetres, right-anterior-superior positive."""

    shape: tuple[_Size, _Size, _Size]
    affine: tuple[_Row, _Row, _Row, _Row]


class Document(Record):
    """A parse as it is stored; `masks` names, for each delineated entity, a NIfTI file relative to the document."""

    schema_version: Literal["1.0"] = "1.0"
    geometry: Grid
    circumstance: Circumstance = Circumstance()
    entities: tuple[Entity, ...]
    attributes: tuple[Attribute, ...] = ()
    relations: tuple[Relation, ...] = ()
    masks: dict[Id, str] = Field(default_factory=dict)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `parse.json`."""
    schema = Document.model_json_schema(mode="validation")
    records = schema["$defs"]
    records["Entity"]["properties"]["name"]["enum"] = list(VOCABULARY.names)
    records["Attribute"]["properties"]["type"]["enum"] = list(ATTRIBUTE_TYPES)
    records["Attribute"]["allOf"] = [_value_rule(each) for each in ATTRIBUTE_TYPES.values()]
    records["Relation"]["properties"]["type"]["enum"] = list(RELATION_TYPES)
    for record in records.values():
        # The first paragraph says what it is; examples are for Python.
        record["description"] = record.get("description", "").partition("\n\n")[0]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    return {**head, **schema, "title": "Parse"}


def mask_file(id: str) -> str:
    """Where a bundle keeps the mask of this entity."""
    return f"masks/{id}.nii.gz"


def to_document(parse: Parse) -> dict[str, Any]:
    """The parse without its voxels, as JSON data; fields at their default are left out."""
    return {
        "schema_version": SCHEMA_VERSION,
        "geometry": parse.geometry.to_json(),
        "circumstance": parse.circumstance.model_dump(mode="json", exclude_defaults=True),
        "entities": [_written(each, "kind", "presence") for each in parse.entities],
        "attributes": [_written(each, "unit") for each in parse.attributes],
        "relations": [_written(each) for each in parse.relations],
        "masks": {id: mask_file(id) for id in parse.masks},
    }


def read_document(text: bytes, what: str) -> Document:
    """Check the text of a `parse.json`; `what` names it in errors.

    Tolerant where nothing is lost: fields that this version does not know are left out with a warning in the log.
    Raises `InputError` for anything else that does not fit, with the path of the field.
    """
    data = _plain_data(text, what)
    if not isinstance(data, dict):
        raise InputError(what, expected="a JSON object", got=type(data).__name__, fix="export the parse again")
    version = data.get("schema_version", SCHEMA_VERSION)
    if str(version).partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        fix = "read it with a version of synth that knows this schema"
        raise InputError(f"{what}: schema_version", expected=SCHEMA_VERSION, got=repr(version), fix=fix)
    document = Document.read({**_known_fields(data, what), "schema_version": SCHEMA_VERSION}, what)
    voxels = document.geometry.shape[0] * document.geometry.shape[1] * document.geometry.shape[2]
    if voxels > MAX_VOXELS:
        where = f"{what}: geometry.shape"
        raise InputError(where, expected=f"at most {MAX_VOXELS:,} voxels", got=f"{voxels:,}", fix="check the shape")
    return document


def geometry_of(document: Document) -> Geometry:
    """The grid of the masks."""
    return Geometry.from_json(document.geometry.model_dump())


def write_schema(path: Path) -> None:
    """Publish the schema."""
    path.write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")


def _value_rule(kind: AttributeType) -> dict[str, Any]:
    """What the schema says of the value and unit of one type."""
    value: dict[str, Any] = {"enum": list(kind.values or ())}
    if kind.is_numeric:
        value = {"type": "number", "minimum": kind.low, "maximum": kind.high}
    then: dict[str, Any] = {"value": value, "unit": {"enum": [None, kind.unit] if kind.unit else [None]}}
    if not kind.phased:
        then["phase"] = {"type": "null"}
    return {"if": {"properties": {"type": {"const": kind.name}}}, "then": {"properties": then}}


def _written(record: Record, *always: str) -> dict[str, Any]:
    full = record.model_dump(mode="json")
    short = record.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in full.items() if name in short or (name in always and value is not None)}


def _plain_data(text: bytes, what: str) -> Any:
    if len(text) > MAX_JSON_BYTES:
        raise InputError(
            what, expected=f"at most {MAX_JSON_BYTES:,} bytes", got=f"{len(text):,}", fix="split the parse"
        )
    try:
        decoded = text.decode("utf-8-sig")
        _check_depth(decoded, what)
        return json.loads(decoded, parse_constant=_no_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(what, expected="JSON", got=str(error), fix="export the parse again") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"the number {name}, which is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)[:80]}' twice in one object")
    return made


def _check_depth(text: str, what: str) -> None:
    """Bound the nesting before parsing."""
    depth = deepest = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_JSON_DEPTH:
        got = f"{deepest} levels"
        raise InputError(
            what, expected=f"at most {MAX_JSON_DEPTH} levels of nesting", got=got, fix="flatten the payloads"
        )


def _known_fields(data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Leave out the fields that this version does not know, at the top and in every record."""
    records: dict[str, type[Record]] = {"entities": Entity, "attributes": Attribute, "relations": Relation}
    known: dict[str, Any] = _trim(data, Document, what)
    for name, record in records.items():
        if isinstance(known.get(name), list):
            known[name] = [_trim(each, record, f"{what}: {name}[{i}]") for i, each in enumerate(known[name])]
    single: dict[str, type[Record]] = {"geometry": Grid, "circumstance": Circumstance}
    for name, record in single.items():
        if name in known:
            known[name] = _trim(known[name], record, f"{what}: {name}")
    return known


def _trim(values: Any, record: type[Record], where: str) -> Any:
    if not isinstance(values, Mapping):
        return values
    unknown = sorted(set(values) - set(record.model_fields))
    if unknown:
        _log.warning("%s: left out fields that this version does not know: %s", where, ", ".join(unknown))
    return {name: value for name, value in values.items() if name in record.model_fields}
