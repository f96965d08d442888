"""synth: check, render and forecast parses of medical images by analysis-by-synthesis.

The names below are loaded when they are first used, so that `import synth` stays light and loads no torch.

Example:
    >>> import synth
    >>> patient = synth.make_phantom(0)
    >>> patient.image.unit
    'HU'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth.errors import InputError, SynthError
    from synth.fault import inject
    from synth.interop import import_labels
    from synth.parse import (
        VOCABULARY,
        Attribute,
        Circumstance,
        Entity,
        Parse,
        Presence,
        Relation,
        load_bundle,
        save_bundle,
    )
    from synth.parse.diff import diff
    from synth.phantom import make as make_phantom
    from synth.pipeline.audit import AuditOptions, AuditReport
    from synth.pipeline.audit_files import audit
    from synth.pipeline.forecast import forecast
    from synth.pipeline.preflight import preflight
    from synth.pipeline.prior_alignment import PriorVisit
    from synth.pipeline.render import RenderPipeline
    from synth.report.calibrate import calibrate
    from synth.report.cohort import audit_cohort
    from synth.volume import Geometry, Mask, Volume, read_labels, read_volume, write_volume

__version__ = "0.1.0"

__all__ = [
    "VOCABULARY",
    "Attribute",
    "AuditOptions",
    "AuditReport",
    "Circumstance",
    "Entity",
    "Geometry",
    "InputError",
    "Mask",
    "Parse",
    "Presence",
    "PriorVisit",
    "Relation",
    "RenderPipeline",
    "SynthError",
    "Volume",
    "__version__",
    "audit",
    "audit_cohort",
    "calibrate",
    "diff",
    "forecast",
    "import_labels",
    "inject",
    "load_bundle",
    "make_phantom",
    "preflight",
    "read_labels",
    "read_volume",
    "save_bundle",
    "write_volume",
]

_HOMES = {
    "InputError SynthError": "synth.errors",
    "inject": "synth.fault",
    "import_labels": "synth.interop",
    "VOCABULARY Attribute Circumstance Entity Parse Presence Relation load_bundle save_bundle": "synth.parse",
    "diff": "synth.parse.diff",
    "AuditOptions AuditReport": "synth.pipeline.audit",
    "audit": "synth.pipeline.audit_files",
    "calibrate": "synth.report.calibrate",
    "audit_cohort": "synth.report.cohort",
    "forecast": "synth.pipeline.forecast",
    "preflight": "synth.pipeline.preflight",
    "PriorVisit": "synth.pipeline.prior_alignment",
    "RenderPipeline": "synth.pipeline.render",
    "Geometry Mask Volume read_labels read_volume write_volume": "synth.volume",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first asked for."""
    if name == "make_phantom":
        return import_module("synth.phantom").make
    for names, module in _HOMES.items():
        if name in names.split():
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'synth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
