"""What is done to a patient and when: typed actions, plans of them, and `plan.json`. Needs no torch."""

from synth.action.kinds import (
    Ablation,
    Action,
    AgentClass,
    Embolisation,
    Observation,
    Radiotherapy,
    Surgery,
    SystemicTherapy,
    TherapyAgent,
)
from synth.action.plan import Plan, json_schema, write_schema

__all__ = [
    "Ablation",
    "Action",
    "AgentClass",
    "Embolisation",
    "Observation",
    "Plan",
    "Radiotherapy",
    "Surgery",
    "SystemicTherapy",
    "TherapyAgent",
    "json_schema",
    "write_schema",
]
