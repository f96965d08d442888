"""Base of everything written in `parse.json`: frozen, closed to unknown fields, and refusing bad values in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Never, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from synth.errors import InputError

# pydantic adds the branch of a union that failed to the location.
_UNION_BRANCHES = ("float", "str")


class Record(BaseModel):
    """A frozen record; a bad value is an `InputError` that names the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_max_length=4096)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise as_input_error(error, type(self).__name__.lower()) from None

    @classmethod
    def read(cls, values: object, path: str) -> Self:
        """Build from JSON data; `path` names it in errors."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise as_input_error(error, path) from None

    def changed(self, **values: Any) -> Self:
        """A copy with some fields changed, checked like a new one."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**kept, **values})


def refuse(expected: str, got: object, fix: str, *, field: str = "") -> Never:
    """Refuse a value from inside a validator; a validator of the whole record names the `field`."""
    facts = {"expected": expected, "got": str(got), "fix": fix, "field": field}
    raise PydanticCustomError("refused", "expected {expected}, got {got}; {fix}", facts)


def as_input_error(error: ValidationError, path: str) -> InputError:
    """The first of pydantic's complaints as one line that names the field, such as `entities[3].confidence`."""
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    inner = context.get("error")
    where = field_path(path, [part for part in first["loc"] if part not in _UNION_BRANCHES])
    if isinstance(inner, InputError):
        tail = inner.what.partition(".")[2]
        return InputError(f"{where}.{tail}" if tail else where, expected=inner.expected, got=inner.got, fix=inner.fix)
    if first["type"] == "refused":
        where = f"{where}.{context['field']}" if context["field"] else where
        return InputError(where, expected=context["expected"], got=context["got"], fix=context["fix"])
    return InputError(where, expected=_expected(first), got=_shown(first), fix="correct this field")


def field_path(path: str, parts: Sequence[str | int]) -> str:
    """Write a location as code would: `relations[3].object`.

    Example:
        >>> field_path("relations", (3, "object"))
        'relations[3].object'
    """
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def _expected(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "a value"
    if detail["type"] == "extra_forbidden":
        return "no such field"
    message = detail["msg"]
    return message.removeprefix("Input should be ").replace("String should match pattern", "text of the form")


def _shown(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "nothing"
    text = repr(detail["input"])
    return text if len(text) <= 80 else f"{text[:77]}..."
