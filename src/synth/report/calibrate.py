"""`synth calibrate`: a site's accepted cases become its own calibration, with a page that says what that changes.

OUT/                     an audit model, as `synth audit --audit-model OUT` takes it
OUT/calibration.json     what was measured: cells and what they need, false alarms before and after, cases left out
OUT/calibration.html     the same to read
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from synth.contracts import Decoder, Tiered
from synth.decoder import load_decoder
from synth.errors import InputError, SynthError
from synth.pipeline.audit import shipped_model
from synth.pipeline.cases import Case, Reading, find_cases, read_image, read_parse
from synth.pipeline.parallel import each_apart
from synth.pipeline.preflight import preflight, require
from synth.report.words import plain
from synth.residual.calibration import CalibrationCase, Collected, Plan, collect
from synth.residual.drift import ALPHA as DRIFT_ALPHA
from synth.residual.judge import CONFIG, NO_DECODER, AuditModel
from synth.residual.site import CellNeed, FalseAlarms, false_alarms, family_size, needs, refit
from synth.residual.site_extent import collect_outlines, extent_alarms, refit_extent
from synth.volume import resample, write_bytes

ALPHAS = (0.05, 0.1, 0.2)
FACTS, PAGE = "calibration.json", "calibration.html"
MOST_ENTITIES = 200
OUTLINES = "outlines"  # among the judges of `SiteCalibration.alarms`
OUTLINES_STREAM = 1  # of random numbers: the jitters of outlines are not those of the claims


@dataclass(frozen=True)
class CalibrateOptions:
    """How to calibrate.

    Attributes:
        decoder, device: as for the audit; every tier of the decoder is calibrated.
        jitters: further scores of each entity, its outline jittered within what is still accepted.
        search: also calibrate the search for what a parse leaves out.
        audit_model: calibration to begin from; None for the shipped one.
    """

    decoder: str = "fused"
    device: str = "cpu"
    reading: Reading = field(default_factory=Reading)
    jitters: int = 2
    search: bool = True
    audit_model: Path | None = None
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.jitters <= 20:
            raise InputError("jitters", expected="0 to 20", got=str(self.jitters), fix="2 is usual")
        if not 1 <= self.workers <= 512:
            raise InputError("workers", expected="1 to 512", got=str(self.workers), fix="change --workers")


@dataclass(frozen=True)
class SiteCalibration:
    """What came of it.

    Attributes:
        folder: the audit model; cases: ids that it was made of; left_out: id -> why a case could not be used.
        entities: median number of entities judged together in a case.
        cells: of the first tier; alarms: judge, or "outlines", -> false alarms before and after, at each alpha.
    """

    folder: Path
    cases: tuple[str, ...]
    left_out: Mapping[str, str]
    entities: int
    cells: tuple[CellNeed, ...]
    alarms: Mapping[str, tuple[FalseAlarms, ...]]

    def to_json(self) -> dict[str, Any]:
        """Plain data, the content of `calibration.json`."""
        return {
            "cases": list(self.cases),
            "left_out": dict(self.left_out),
            "entities_judged_together": self.entities,
            "cells": [asdict(c) for c in self.cells],
            "false_alarms": {name: [asdict(a) for a in found] for name, found in self.alarms.items()},
        }


def calibrate(
    source: str | Path | Sequence[Case],
    output: str | Path,
    options: CalibrateOptions | None = None,
    *,
    decoder: Decoder | None = None,
    model: AuditModel | None = None,
    advance: Callable[..., None] | None = None,
) -> SiteCalibration:
    """Refit the conformal calibration on accepted cases and write it as an audit model.

    The fusion of the evidence stays; the scores that a new one is compared with become the site's. A case that cannot
    be read is left out and named.

    Raises:
        InputError: no cases, none of them usable, or files where the result should go.
    """
    options, folder = options or CalibrateOptions(), Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(str(folder), expected="a new folder", got="one that is there", fix="name another folder")
    cases = tuple(source) if not isinstance(source, str | Path) else find_cases(source)
    model = model or (shipped_model() if options.audit_model is None else AuditModel.load(options.audit_model))
    decoder = decoder or load_decoder(options.decoder, options.device)
    names = _judges(decoder, model)
    collected, left_out = _collect(cases, _Look(decoder, model, options), advance or _quiet)
    used = tuple(case.id for case in cases if case.id not in left_out)
    if not collected.samples:
        got = next(iter(left_out.values()), "no entity that can be checked")
        raise InputError("calibration", expected="accepted cases", got=got, fix="see the cases that were left out")
    facts = {"calibrated_on": "own accepted cases", "jitters": options.jitters}
    judges = {name: refit(model.judge(name), collected, sha, facts) for name, sha in names.items()}
    first, before = next(iter(names)), model.outlines
    alarms = {n: false_alarms(model.judge(n), collected, ALPHAS) for n in names}
    if before is not None and collected.outlines:
        alarms[OUTLINES] = extent_alarms(before, collected.outlines, ALPHAS)
        model = replace(model, extent=refit_extent(before, collected.outlines, {"cases": len(used), **facts}))
    found = SiteCalibration(
        folder, used, left_out, family_size(collected.samples),
        needs(model.judge(first), collected, ALPHAS), alarms,
    )  # fmt: skip
    _save(replace(model, judges=judges), found)
    return found


@dataclass(frozen=True, eq=False)
class _Look:
    """The work on one case; its result, or in words why there is none."""

    decoder: Decoder
    model: AuditModel
    options: CalibrateOptions

    def one(self, numbered: tuple[int, Case]) -> tuple[str, Collected | str]:
        number, case = numbered
        try:
            return case.id, self._collected(number, case)
        except SynthError as error:
            return case.id, " ".join(str(error).split())
        except Exception as error:  # a defect that one case brings out must not cost the others
            return case.id, f"{type(error).__name__}: {error}"

    def _collected(self, number: int, case: Case) -> Collected:
        image = read_image(case.image, self.options.reading)
        parse = read_parse(case.parse, image, self.options.reading)
        require(preflight(image, parse))
        small = resample(image, image.geometry.with_spacing(self.decoder.spacing_mm))
        made = CalibrationCase.of(case.id, self.decoder.encode(small), parse)
        plan = Plan(MOST_ENTITIES, self.options.jitters, moves=0, hallucinations=0, deletions=0)
        seed, search = self.options.seed + number, self.options.search
        found = collect([made], self.decoder, self.model.prior, seed=seed, plan=plan, search=search)
        if self.model.outlines is not None:
            rng = np.random.default_rng([seed, OUTLINES_STREAM])
            given, jitters = parse.without_derived(), self.options.jitters
            found.outlines.extend(collect_outlines(case.id, small, given, self.model.prior, rng, jitters=jitters))
        return found


def _collect(cases: Sequence[Case], look: _Look, step: Callable[..., None]) -> tuple[Collected, dict[str, str]]:
    merged, left_out = Collected(), {}
    step(0, message="calibrating", total=len(cases))
    numbered = list(enumerate(cases))
    parts = {}
    for id, part in each_apart(look.one, numbered, look.options.workers, lambda n: (n[1].id, "its process ended")):
        parts[id] = part
        step(1, message=id)
    for case in cases:  # in their own order, whichever was done first
        part = parts[case.id]
        if isinstance(part, str):
            left_out[case.id] = part
        else:
            merged.samples.extend(part.samples)
            merged.candidates.update(part.candidates)
            merged.outlines.extend(part.outlines)
    return merged, left_out


def _judges(decoder: Decoder, model: AuditModel) -> dict[str, str]:
    """Names of the judges that these answers calibrate, the first tier's first, with the weights of each.

    The direct decoder's answers are a part of the fused one's, and what the population says is a part of both.
    """
    tiers = [decoder.first, decoder] if isinstance(decoder, Tiered) else [decoder]
    names = {tier.name: tier.weights_sha256 for tier in tiers}
    for name in names:
        model.judge(name)  # refused here, before hours of work
    return names | ({NO_DECODER: decoder.weights_sha256} if NO_DECODER in model.judges else {})


def _save(model: AuditModel, found: SiteCalibration) -> None:
    """The model's config is written last: it is what makes the folder count."""
    write_bytes(found.folder / FACTS, (json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n").encode())
    write_bytes(found.folder / PAGE, page(found).encode())
    model.save(found.folder, {name: dict(judge.facts) for name, judge in model.judges.items()})
    assert (found.folder / CONFIG).is_file()


def page(found: SiteCalibration) -> str:
    """`calibration.html`, self-contained."""
    environment = Environment(
        loader=PackageLoader("synth.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["plain"] = plain
    whole = next((c for c in found.cells if c.cell == "all"), None)
    return environment.get_template("calibration.html.j2").render(
        found=found, alphas=[f"{a:g}" for a in ALPHAS], whole=whole, drift_alpha=DRIFT_ALPHA
    )


def _quiet(step: float = 1, *, message: str | None = None, total: float | None = None) -> None:
    """Say nothing."""
