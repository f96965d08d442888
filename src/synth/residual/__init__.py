"""The residual: an image against what its parse predicts, entity by entity. Knows decoders by their contract only."""

from synth.residual import conformal
from synth.residual.calibration import CalibrationCase, Collected, Plan, Sample, collect, fit_judge
from synth.residual.conformal import Calibration, CalibrationScore
from synth.residual.evidence import EntityEvidence, entity_features
from synth.residual.findings import EntityFinding, Findings, MissingFinding, Verdict
from synth.residual.fusion import Fusion
from synth.residual.held_out import HeldOut, render_held_out
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import NO_DECODER, AuditModel, Judge
from synth.residual.presence import Examined, examine, without_entity

__all__ = [
    "NO_DECODER",
    "AuditModel",
    "Calibration",
    "CalibrationCase",
    "CalibrationScore",
    "Collected",
    "EntityEvidence",
    "EntityFinding",
    "Examined",
    "Findings",
    "Fusion",
    "HeldOut",
    "IntensityPrior",
    "Judge",
    "MissingFinding",
    "Plan",
    "Sample",
    "Verdict",
    "collect",
    "conformal",
    "entity_features",
    "examine",
    "fit_judge",
    "render_held_out",
    "without_entity",
]
