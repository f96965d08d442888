"""The table of a cohort: one row a case, as CSV for programs and as a page with links to the reports."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from synth.report.viewer import Script, own_code
from synth.report.words import plain, share
from synth.volume import write_bytes

CSV, PAGE = "cohort.csv", "cohort.html"


class Status(StrEnum):
    """Where a case stands."""

    done = "done"
    failed = "failed"
    waiting = "waiting"


@dataclass(frozen=True)
class CohortRow:
    """One case.

    Attributes:
        checked: entities with a verdict, of `entities`; flagged: ids of those that the image does not support.
        missing: regions left out, None where they were not looked for.
        first: the most suspicious entity, and its `p_value`; warnings: codes of what the audit had to say beforehand.
        error: why there is no audit.
    """

    id: str
    image: str
    parse: str
    status: Status
    checked: int | None = None
    entities: int | None = None
    flagged: tuple[str, ...] = ()
    missing: int | None = None
    first: str | None = None
    p_value: float | None = None
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    error: str = ""

    @property
    def findings(self) -> int:
        """How many things are wrong."""
        return len(self.flagged) + (self.missing or 0)

    @property
    def said(self) -> str:
        """The case in a word or two."""
        if self.status is not Status.done:
            return self.status.value
        return "nothing wrong" if not self.findings else f"{self.findings} finding{'s' if self.findings > 1 else ''}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"flagged": list(self.flagged), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CohortRow:
        """Read what `to_json` gave."""
        lists = {key: tuple(data[key]) for key in ("flagged", "warnings")}
        return cls(**{**data, **lists, "status": Status(data["status"])})


def write_table(rows: Sequence[CohortRow], folder: Path) -> None:
    """`cohort.csv` and `cohort.html`, the cases that need a look first."""
    ordered = sorted(rows, key=_urgency)
    write_bytes(folder / CSV, table_csv(ordered).encode())
    write_bytes(folder / PAGE, table_html(ordered).encode())


def table_csv(rows: Sequence[CohortRow]) -> str:
    """The rows with a header line; several values of one cell are divided by spaces."""
    stream = io.StringIO()
    names = [f.name for f in fields(CohortRow)]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*names, "findings", "report"])
    for row in rows:
        cells = [_cell(getattr(row, name)) for name in names]
        writer.writerow([*cells, row.findings if row.status is Status.done else "", _report(row)])
    return stream.getvalue()


def table_html(rows: Sequence[CohortRow]) -> str:
    """A self-contained page."""
    environment = Environment(
        loader=PackageLoader("synth.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"plain": plain, "share": share, "report": _report}
    done = [row for row in rows if row.status is Status.done]
    content = {
        "rows": rows,
        "done": len(done),
        "wrong": sum(row.findings > 0 for row in done),
        "failed": sum(row.status is Status.failed for row in rows),
        "drifting": sum("drift" in row.warnings for row in done),
        "script": Script.of(own_code("table.js")),
    }
    return environment.get_template("cohort.html.j2").render(**content)


def _urgency(row: CohortRow) -> tuple[int, int, float, str]:
    order = {Status.failed: 0, Status.done: 1, Status.waiting: 2}
    return order[row.status], -row.findings, 1.0 if row.p_value is None else row.p_value, row.id


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return " ".join(value)
    # A spreadsheet takes text that begins like this for a formula.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "@")) else value


def _report(row: CohortRow) -> str:
    return f"cases/{row.id}/report.html" if row.status is Status.done else ""
