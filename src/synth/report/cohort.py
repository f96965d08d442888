"""Many audits, one folder: resumable, each case by itself, and a table of them all.

OUT/cohort.json          the settings; a run with others is refused
OUT/cases/ID/            an audit as `synth audit` writes it
OUT/rows/ID.json         written last: the case's line of the table, or what went wrong
OUT/cohort.csv, .html    the table
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synth import __version__
from synth.contracts import Decoder
from synth.decoder import load_decoder
from synth.errors import InputError, SynthError
from synth.pipeline.audit import AuditOptions, shipped_model
from synth.pipeline.audit_files import audit
from synth.pipeline.cases import Case, Reading, find_cases
from synth.pipeline.parallel import each_apart
from synth.pipeline.resumable import claim
from synth.report.cohort_table import CohortRow, Status, write_table
from synth.report.folder import FINDINGS, save_report
from synth.residual.findings import Findings
from synth.residual.judge import AuditModel
from synth.volume import write_bytes

CASES, ROWS, SETTINGS = "cases", "rows", "cohort.json"
LONGEST_ERROR = 500


@dataclass(frozen=True)
class CohortOptions:
    """How to audit many.

    Attributes:
        audit: how to audit each; reading: how files are read.
        audit_model: folder of `synth calibrate`; None for the shipped one.
        workers: processes; each holds one case, and what ends it costs that case only.
    """

    audit: AuditOptions = field(default_factory=AuditOptions)
    reading: Reading = field(default_factory=Reading)
    audit_model: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 512:
            raise InputError("workers", expected="1 to 512", got=str(self.workers), fix="change --workers")


@dataclass(frozen=True)
class Cohort:
    """What came of it: a row for each case, in the order given; `kept` were there from an earlier run."""

    folder: Path
    rows: tuple[CohortRow, ...]
    kept: int

    @property
    def failed(self) -> tuple[CohortRow, ...]:
        """Cases that could not be audited."""
        return tuple(row for row in self.rows if row.status is Status.failed)

    @property
    def flagged(self) -> tuple[CohortRow, ...]:
        """Cases in which something is wrong, the most findings first."""
        wrong = [row for row in self.rows if row.findings]
        return tuple(sorted(wrong, key=lambda row: (-row.findings, row.id)))


def audit_cohort(
    source: str | Path | Sequence[Case],
    output: str | Path,
    options: CohortOptions | None = None,
    *,
    decoder: Decoder | None = None,
    model: AuditModel | None = None,
    advance: Callable[..., None] | None = None,
) -> Cohort:
    """Audit every case of a folder or a CSV (`synth.pipeline.cases`) into one folder; call again to go on.

    A case that is done is not done again, one that failed is tried again, last. An error of one case is its row. The
    run may be stopped at any moment; one run at a time may write to a folder. `advance` is called after each case.

    Raises:
        InputError: no cases, or the folder holds a run with other settings or something else.
    """
    options, folder = options or CohortOptions(), Path(output)
    cases = tuple(source) if not isinstance(source, str | Path) else find_cases(source)
    step = advance or _quiet
    model = model or (shipped_model() if options.audit_model is None else AuditModel.load(options.audit_model))
    decoder = decoder or load_decoder(options.audit.decoder, options.audit.device)
    _claim(folder, options, f"{decoder.weights_sha256} {model.sha256}")
    before = {case.id: _row(folder, case) for case in cases}
    done = {case.id for case in cases if _is_done(folder, before[case.id])}
    step(len(done), message="auditing", total=len(cases))
    # What failed before comes last: if it ends the process, the others are done by then.
    waiting = sorted((c for c in cases if c.id not in done), key=lambda c: before[c.id] is not None)
    run = _Run(folder, options, decoder, model)
    try:
        for row in each_apart(run.one, waiting, options.workers, run.died):
            step(1, message=f"{row.id}: {row.said}")
    finally:
        rows = tuple(_row(folder, case) or _waiting(case) for case in cases)
        write_table(rows, folder)
    return Cohort(folder, rows, len(done))


@dataclass(frozen=True, eq=False)
class _Run:
    folder: Path
    options: CohortOptions
    decoder: Decoder
    model: AuditModel

    def one(self, case: Case) -> CohortRow:
        """Audit a case; whatever goes wrong with it is its row."""
        started = time.monotonic()
        _write_row(self.folder, _failure(case, "did not finish"))  # what a killed run leaves
        try:
            report = audit(
                case.image, case.parse, self.options.audit,
                decoder=self.decoder, model=self.model, reading=self.options.reading,
            )  # fmt: skip
            findings = save_report(report, self.folder / CASES / case.id, overwrite=True)
            row = _result(case, findings, time.monotonic() - started)
        except SynthError as error:
            row = _failure(case, str(error))
        except Exception as error:  # a defect that one case brings out must not cost the others
            row = _failure(case, f"{type(error).__name__}: {error}")
        _write_row(self.folder, row)
        return row

    def died(self, case: Case) -> CohortRow:
        """The row of a case whose process ended."""
        row = _failure(case, "its process ended: out of memory, or a crash")
        _write_row(self.folder, row)
        return row


def _claim(folder: Path, options: CohortOptions, weights: str) -> None:
    """Make the folder this run's, or refuse it; remove what a killed run left half-written."""
    settings = {"cohort": 1, "version": __version__, "options": asdict(options.audit), "weights": weights}
    claim(folder, SETTINGS, settings)
    for left in (*(folder / CASES).glob(".*"), *(folder / ROWS).glob(".*")):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    (folder / CASES).mkdir(exist_ok=True)


def _quiet(step: float = 1, *, message: str | None = None, total: float | None = None) -> None:
    """Say nothing."""


def _is_done(folder: Path, row: CohortRow | None) -> bool:
    return row is not None and row.status is Status.done and (folder / CASES / row.id / FINDINGS).is_file()


def _result(case: Case, findings: Findings, seconds: float) -> CohortRow:
    checked = findings.checked
    first = checked[0] if checked else None
    warnings = [m.code for m in findings.preflight if m.severity == "warning"]
    return CohortRow(
        id=case.id, image=str(case.image), parse=str(case.parse), status=Status.done,
        checked=len(checked), entities=len(findings.entities), flagged=tuple(e.id for e in findings.flagged),
        missing=None if findings.missing is None else len(findings.missing),
        first=None if first is None else first.id, p_value=None if first is None else first.p_value,
        warnings=tuple(dict.fromkeys(warnings)), seconds=round(seconds, 1),
    )  # fmt: skip


def _failure(case: Case, error: str) -> CohortRow:
    said = " ".join(error.split())[:LONGEST_ERROR]
    return CohortRow(id=case.id, image=str(case.image), parse=str(case.parse), status=Status.failed, error=said)


def _waiting(case: Case) -> CohortRow:
    return CohortRow(id=case.id, image=str(case.image), parse=str(case.parse), status=Status.waiting)


def _row(folder: Path, case: Case) -> CohortRow | None:
    path = folder / ROWS / f"{case.id}.json"
    return CohortRow.from_json(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def _write_row(folder: Path, row: CohortRow) -> None:
    data: dict[str, Any] = row.to_json()
    write_bytes(folder / ROWS / f"{row.id}.json", (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())
