"""The dynamics p(z' | z, a, dt): how lesions change under a plan, with calibrated spread. Runs without torch."""

from synth.dynamics.compare import Comparison, Outcome, compare_plans
from synth.dynamics.futures import LesionHistory, PatientFutures, PatientHistory
from synth.dynamics.model import DynamicsModel

__all__ = [
    "Comparison",
    "DynamicsModel",
    "LesionHistory",
    "Outcome",
    "PatientFutures",
    "PatientHistory",
    "compare_plans",
]
