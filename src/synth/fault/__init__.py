"""Fault injection: correct parses jittered or broken in known ways, each with the verdict it must get."""

from synth.fault.inject import FAMILIES, inject
from synth.fault.jitter import jitter, jittered, smooth_noise
from synth.fault.move import Moved, move_onto, moved, moved_by_mm, random_move, random_shift
from synth.fault.record import Expectation, Family, Faulted, FaultRecord, FaultSpec, Verdict
from synth.fault.scene import Scene
from synth.fault.several import Attempt, SeveralFaults, inject_several, plant_apart

__all__ = [
    "FAMILIES",
    "Attempt",
    "Expectation",
    "Family",
    "FaultRecord",
    "FaultSpec",
    "Faulted",
    "Moved",
    "Scene",
    "SeveralFaults",
    "Verdict",
    "inject",
    "inject_several",
    "jitter",
    "jittered",
    "move_onto",
    "moved",
    "moved_by_mm",
    "plant_apart",
    "random_move",
    "random_shift",
    "smooth_noise",
]
