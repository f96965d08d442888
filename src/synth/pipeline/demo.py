"""A patient whose true anatomy is known and whose parse makes three mistakes; what the audit said of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synth.errors import SynthError
from synth.fault import FaultSpec, inject
from synth.parse import Entity, Parse
from synth.phantom import LesionSpec, make, sample_spec
from synth.pipeline.audit import AuditReport
from synth.residual.findings import Verdict
from synth.volume import Mask, Volume

KIDNEY = "kidney_right"
LESION_MM = (24.0, 40.0)
FOUND_DICE = 0.2
TRIES = 20


@dataclass(frozen=True, eq=False)
class DemoCase:
    """The image, the parse with its mistakes, and where they are.

    Attributes:
        hallucinated: ids of the entities that are not there; unreported: the mask of the lesion that is left out.
    """

    image: Volume
    parse: Parse
    hallucinated: tuple[str, str]
    unreported: Mask


@dataclass(frozen=True)
class Named:
    """One mistake, and whether and how the audit named it."""

    mistake: str
    found: bool
    answer: str

    def to_json(self) -> dict[str, str | bool]:
        """Plain data."""
        return {"mistake": self.mistake, "found": self.found, "answer": self.answer}


def make_case(seed: int) -> DemoCase:
    """A patient after removal of the right kidney, with a liver lesion.

    The parse claims the kidney where it used to be, claims a lesion where there is none and leaves the true one out.

    Raises:
        SynthError: no place in the liver was found for the lesion, for any of the sizes tried.
    """
    rng = np.random.default_rng([seed, 77])
    for _ in range(TRIES):
        drawn = sample_spec(seed)
        lesion = LesionSpec(
            "liver_cyst" if rng.random() < 0.5 else "metastasis", "liver", float(rng.uniform(*LESION_MM))
        )
        spec = replace(
            drawn, lesions=(lesion,), absent=(), liver="normal", steatosis="S0", phase="portal_venous",
            phases=("portal_venous",), field_of_view="abdomen_pelvis",
        )  # fmt: skip
        before, after = make(seed, spec=spec), make(seed, spec=replace(spec, absent=(KIDNEY,)))
        true = [e.id for e in after.parse.entities if e.name == lesion.name and e.id in after.parse.masks]
        if true and KIDNEY in before.parse.masks:
            return _mistaken(after.image, after.parse, before.parse.masks[KIDNEY], true[0], rng)
    raise SynthError(f"no phantom with a liver lesion for seed {seed}; use another seed")


def _mistaken(image: Volume, truth: Parse, kidney: Mask, lesion: str, rng: np.random.Generator) -> DemoCase:
    with_both = truth.without(KIDNEY).with_entity(Entity(id=KIDNEY, name=KIDNEY), kidney)
    spec = FaultSpec("add_lesion", entity="liver", name="metastasis", severity_mm=LESION_MM)
    faulted = inject(with_both, spec, rng, image=image)
    (added,) = (e.entity for e in faulted.record.expected if e.verdict == "hallucinated" and e.entity)
    return DemoCase(image, faulted.parse.without(lesion), (KIDNEY, added), truth.masks[lesion])


def named(report: AuditReport, case: DemoCase) -> tuple[Named, ...]:
    """What the audit said of each mistake."""
    said = {e.id: e for e in report.entities}
    out = []
    for mistake, id in zip(("removed kidney claimed", "lesion claimed"), case.hallucinated, strict=True):
        finding = said[id]
        out.append(Named(f"{mistake} ({id})", finding.verdict is Verdict.hallucinated, finding.reason))
    hit = next((m for m in report.missing if report.regions[m.id].mask.dice(case.unreported) >= FOUND_DICE), None)
    answer = "no such region" if hit is None else f"{hit.name}, {hit.reason}"
    out.append(Named("lesion not reported", hit is not None, answer))
    return tuple(out)
