"""What is kept of one audit of the verdicts benchmark: one line of JSON, enough to score it in every way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.volume import write_bytes

FINE = ("supported", "not_checkable", "none")  # verdicts that say of nothing that it is wrong


@dataclass(frozen=True)
class SaidEntity:
    """What the audit said of one entity.

    Attributes:
        finding: whether it is a finding rather than anatomy: each is judged among its own.
        verdict: "none" where there is none; expected: the one that it must get, "" for a true entity.
        rank: 1 is the most suspicious of those checked; 0 where it was not.
        scores: by method; higher is more believable. What was not measured is left out.
    """

    id: str
    name: str
    finding: bool
    verdict: str
    expected: str = ""
    rank: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        """Whether the audit says that something is wrong with it."""
        return self.verdict not in FINE


@dataclass(frozen=True)
class SaidRegion:
    """A region that the parse leaves unexplained, in the audit's order.

    Attributes:
        missing: whether it is beyond chance; hit: whether it lies on what was left out.
        scores: by method; higher is more like something left out.
    """

    missing: bool
    hit: bool
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditLine:
    """One audit.

    Attributes:
        patient: its name; drawn: which jitter of its outlines.
        key: the plan; family, severity, size, unit, said: what was planted, family "" where nothing could be.
        entities: of a correct parse all that were checked, of a faulty one those with a fault and all that are flagged.
        others: of the faulty one the entities without a fault that were checked.
        place: whether something was left out, to be found among `regions`; searched: whether it was looked for.
    """

    patient: str
    key: str
    family: str
    severity: str
    size: float = 0.0
    unit: str = ""
    said: str = ""
    seconds: float = 0.0
    entities: tuple[SaidEntity, ...] = ()
    others: int = 0
    place: bool = False
    searched: bool = False
    regions: tuple[SaidRegion, ...] = ()
    drawn: int = 0

    @property
    def planted(self) -> tuple[SaidEntity, ...]:
        """The entities with something wrong."""
        return tuple(e for e in self.entities if e.expected)

    @property
    def false_alarms(self) -> tuple[SaidEntity, ...]:
        """True entities that are flagged."""
        return tuple(e for e in self.entities if e.flagged and not e.expected)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AuditLine:
        """Read what `to_json` gave."""
        entities = tuple(SaidEntity(**e) for e in data["entities"])
        regions = tuple(SaidRegion(**r) for r in data["regions"])
        return cls(**{**data, "entities": entities, "regions": regions})


def read_lines(path: Path) -> tuple[AuditLine, ...]:
    """The audits of a file; a last line that a stopped run left torn is dropped, from the file as well.

    Raises InputError where another line is none.
    """
    if not path.is_file():
        return ()
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_bytes(path, whole.encode())
    try:
        return tuple(AuditLine.from_json(json.loads(line)) for line in whole.splitlines())
    except (ValueError, TypeError, KeyError) as error:
        fix = "remove the file, its audits are made again"
        raise InputError(str(path), expected="a line of JSON an audit", got=str(error)[:120], fix=fix) from None


def add_line(path: Path, line: AuditLine) -> None:
    """Append one audit; a write that is cut short leaves a torn last line, which `read_lines` drops."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
