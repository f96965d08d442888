"""The folder of an audit, whole or not at all: findings, report, summary, images, outlines and counterfactuals."""

from __future__ import annotations

import json
from pathlib import Path

from synth.pipeline.audit import AuditReport
from synth.pipeline.counterfactuals import Renders
from synth.report import place
from synth.report.page import report_html
from synth.report.place import whole_folder
from synth.report.summary import summary_png
from synth.residual.findings import Findings
from synth.volume import write_mask, write_volume

FINDINGS, REPORT, SUMMARY = "findings.json", "report.html", "summary.png"


def save_report(report: AuditReport, folder: Path, *, overwrite: bool = False) -> Findings:
    """Write everything into a new folder and return the findings with the names of their files.

    Everything is made beside `folder` and put in its place at the end; a failure leaves nothing behind.

    Raises:
        InputError: the folder is there and `overwrite` is not set.
    """
    check_free(folder, overwrite=overwrite)
    with whole_folder(folder) as made:
        return _write(report, made)


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise InputError where an audit may not write."""
    place.check_free(folder, FINDINGS, "audit", overwrite=overwrite)


def _write(report: AuditReport, folder: Path) -> Findings:
    seed, decoder = report.findings.seed, report.findings.provenance["decoder"]
    made_up = f"held-out render, {decoder} decoder, seed {seed}"
    drawn = f"{decoder} decoder, seed {seed}"
    if report.render is not None and report.residual is not None:
        write_volume(report.render, folder / "render.nii.gz", synthetic=made_up)
        write_volume(report.residual, folder / "residual.nii.gz", synthetic=f"residual against {made_up}")
    findings = _with_masks(report, _with_counterfactuals(report, report.findings, folder, drawn), folder)
    (folder / FINDINGS).write_text(
        json.dumps(findings.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", "utf-8"
    )
    (folder / REPORT).write_text(report_html(report), "utf-8")
    (folder / SUMMARY).write_bytes(summary_png(report))
    return findings


def _with_counterfactuals(report: AuditReport, findings: Findings, folder: Path, drawn_by: str) -> Findings:
    """Renders with and without each flagged entity and each missing finding, on the decoder's grid."""
    flagged = {f.id for f in findings.flagged}

    def written(stem: str, id: str, renders: Renders | None) -> dict[str, str]:
        if renders is None:
            return {}
        pair = {"with": renders.with_entity, "without": renders.without_entity}
        files = {how: f"{stem}_{how}.nii.gz" for how in pair}
        for how, drawn in pair.items():
            write_volume(drawn, folder / files[how], synthetic=f"{how} {id}, {drawn_by}")
        return {f"{how}_entity": file for how, file in files.items()}

    entities = []
    for entity in findings.entities:
        told = entity.counterfactual
        if entity.id in flagged and told is not None:
            files = written(f"counterfactuals/{entity.id}", entity.id, report.renders(entity.id))
            entity = entity.model_copy(update={"counterfactual": told.model_copy(update=files)})
        entities.append(entity)
    missing = []
    for region in findings.missing or ():
        files = written(f"missing/{region.id}", region.id, report.renders_of_region(region.id))
        missing.append(region.model_copy(update=files))
    told_missing = {} if findings.missing is None else {"missing": missing}
    return findings.model_copy(update={"entities": entities, **told_missing})


def _with_masks(report: AuditReport, findings: Findings, folder: Path) -> Findings:
    """The proposed outlines, on the image's grid: of each missing finding, and of entities that are drawn wrongly."""
    entities = []
    for entity in findings.entities:
        audited = report.examined.get(entity.id)
        if audited is not None and audited.proposed is not None:
            name = f"proposed/{entity.id}.nii.gz"
            write_mask(audited.proposed, report.image.geometry, folder / name)
            entity = entity.model_copy(update={"proposed_mask": name})
        entities.append(entity)
    findings = findings.model_copy(update={"entities": entities})
    missing = []
    for finding in findings.missing or ():
        name = f"missing/{finding.id}.nii.gz"
        write_mask(report.regions[finding.id].mask, report.image.geometry, folder / name)
        missing.append(finding.model_copy(update={"mask": name}))
    return findings if findings.missing is None else findings.model_copy(update={"missing": missing})
