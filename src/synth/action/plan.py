"""A plan: a named sequence of actions that can be carried out, and `plan.json`, the file that holds it."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from synth.action.kinds import (
    Ablation,
    Action,
    Observation,
    Radiotherapy,
    Surgery,
    SystemicTherapy,
    Timed,
)
from synth.action.reach import with_contents
from synth.errors import InputError
from synth.parse import Kind, Parse, Presence
from synth.parse.record import Record, field_path, refuse
from synth.volume import write_bytes

SCHEMA_ID = "urn:parse-synth:schema:plan:1.0"
MAX_PLAN_BYTES = 4 * 2**20
VITAL = ("heart", "brain", "brainstem", "spinal_cord", "aorta", "trachea", "liver")
"""Names of what is never taken out whole (transplants are no action of a plan)."""


class Plan(Record):
    """What is to be done, or what was done; days count from now, the last visit.

    Refused with the reason: observation together with a treatment, two radiotherapies of one target or two courses of
    one drug at once, an entity removed twice, and an entity treated after it was removed.

    Attributes:
        name: how reports call it.
        actions: in any order.

    Example:
        >>> plan = Plan(name="watch", actions=(Observation(start_day=0, stop_day=180),))
        >>> plan.is_observation, plan.active(30.0)
        (True, ())
        >>> cut = Surgery(start_day=5, stop_day=5, entities=("a",))
        >>> Plan(name="late", actions=(cut, Ablation(start_day=9, stop_day=9, entity="a")))
        Traceback (most recent call last):
        ...
        synth.errors.InputError: plan.actions[1]: expected an entity that is still there, got 'a', removed on day 5;
            leave the later action out
    """

    schema_version: Literal["1.0"] = "1.0"
    name: Annotated[str, Field(min_length=1, max_length=120)]
    actions: Annotated[tuple[Action, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        for (_, first), (j, second) in combinations(enumerate(self.actions), 2):
            reason = _exclusive(first, second)
            if reason:
                refuse(reason, _when(second), "let one end before the other starts", field=f"actions[{j}]")
        removed: dict[str, float] = {}
        for j, action in sorted(enumerate(self.actions), key=lambda pair: pair[1].start_day):
            gone = [id for id in action.targets if id in removed and removed[id] <= action.stop_day]
            if gone:
                got = f"'{gone[0]}', removed on day {removed[gone[0]]:g}"
                refuse("an entity that is still there", got, "leave the later action out", field=f"actions[{j}]")
            if isinstance(action, Surgery):
                removed |= dict.fromkeys(action.entities, action.stop_day)
        return self

    @property
    def is_observation(self) -> bool:
        """Nothing is done."""
        return all(isinstance(action, Observation) for action in self.actions)

    def active(self, day: float) -> tuple[Timed, ...]:
        """The treatments that go on or happen on this day."""
        treatments = (action for action in self.actions if not isinstance(action, Observation))
        return tuple(action for action in treatments if action.start_day <= day <= action.stop_day)

    def check(self, parse: Parse) -> None:
        """Refuse what cannot be done to this patient.

        Raises:
            InputError: an entity that the parse does not have or says is absent, a planning volume that is to be cut
                or ablated, an ablation of something that is no finding, surgery of a tissue or of what nobody lives
                without, an entity treated after what holds it was removed, or something removed before today that
                the parse still draws.
        """
        removed: dict[str, float] = {}
        for i, action in sorted(enumerate(self.actions), key=lambda pair: pair[1].start_day):
            where = field_path(f"plan '{self.name}'", ("actions", i))
            for id in action.targets:
                _check_target(parse, action, id, where)
                if id in removed and removed[id] <= action.stop_day:
                    got = f"'{id}', which lies in what is removed on day {removed[id]:g}"
                    expected = "an entity that is still there"
                    raise InputError(where, expected=expected, got=got, fix="leave the later action out")
            if isinstance(action, Surgery):
                held = with_contents(parse, action.entities)
                removed = {**dict.fromkeys(held, action.stop_day), **removed}

    @classmethod
    def read(cls, values: object, path: str = "plan") -> Self:
        """Read a `plan.json` (`values` is its path), or build a plan from JSON data that `path` names in errors.

        Raises:
            InputError: no such file, no JSON, or not a plan: the path of the field and the reason.
        """
        if isinstance(values, str | Path):
            return super().read(_plain_data(Path(values)), str(values))
        return super().read(values, path)

    def write(self, path: str | Path) -> None:
        """Write `plan.json`, whole or not at all."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
        write_bytes(path, text.encode())


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `plan.json`."""
    schema = Plan.model_json_schema(mode="validation")
    for record in (schema, *schema["$defs"].values()):
        # The first paragraph says what it is; examples are for Python.
        record["description"] = record.get("description", "").partition("\n\n")[0]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    return {**head, **schema, "title": "Plan"}


def write_schema(path: Path) -> None:
    """Publish the schema."""
    path.write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")


def _plain_data(path: Path) -> Any:
    fix = "see docs/schema/plan.schema.json"
    try:
        if path.stat().st_size > MAX_PLAN_BYTES:
            raise InputError(str(path), expected=f"at most {MAX_PLAN_BYTES:,} bytes", got="more", fix=fix)
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(path), expected="a plan as JSON", got=str(error), fix=fix) from None


def _exclusive(first: Action, second: Action) -> str | None:
    """What was expected instead of these two at once; None where they go together."""
    if not first.overlaps(second):
        return None
    if isinstance(first, Observation) is not isinstance(second, Observation):
        return "either observation or treatment at one time"
    if isinstance(first, Radiotherapy) and isinstance(second, Radiotherapy) and first.target == second.target:
        return f"one radiotherapy of '{first.target}' at a time"
    if isinstance(first, SystemicTherapy) and isinstance(second, SystemicTherapy):
        both = {agent.name for agent in first.agents} & {agent.name for agent in second.agents}
        return f"one course of '{min(both)}' at a time" if both else None
    return None


def _when(action: Action) -> str:
    return f"{action.action} on days {action.start_day:g} to {action.stop_day:g}"


def _check_target(parse: Parse, action: Action, id: str, where: str) -> None:
    """Whether this can be done to this entity of the parse."""
    if id not in parse:
        known = ", ".join(entity.id for entity in parse.entities)
        raise InputError(where, expected=f"an entity of the parse ({known[:300]})", got=f"'{id}'", fix="correct the id")
    entity = parse.entity(id)
    past = isinstance(action, Surgery | Ablation) and action.stop_day < 0
    if past and id in parse.present_ids:
        got = f"'{id}', which the parse of today draws"
        fix = "leave the action out, or give what came back an id of its own"
        raise InputError(where, expected=f"something that is gone since day {action.stop_day:g}", got=got, fix=fix)
    if entity.presence is Presence.absent and not past:
        raise InputError(
            where, expected="an entity that is there", got=f"'{id}', which is absent", fix="choose another"
        )
    if isinstance(action, Radiotherapy):
        return
    if entity.kind is Kind.target:
        got = f"'{id}', a planning volume"
        raise InputError(where, expected="something in the body", got=got, fix="only radiotherapy can name it")
    if isinstance(action, Surgery) and (entity.kind is Kind.tissue or entity.name in VITAL):
        got = f"'{id}', a tissue" if entity.kind is Kind.tissue else f"the whole {entity.term.words}"
        fix = "name the lesion, or the part that is taken out"
        raise InputError(where, expected="something that one can live without", got=got, fix=fix)
    if isinstance(action, Ablation) and entity.kind is not Kind.finding:
        raise InputError(
            where,
            expected="a finding to ablate",
            got=f"'{id}', {entity.kind.with_article}",
            fix="name the lesion",
        )
