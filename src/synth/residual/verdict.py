"""From scores to verdicts: what can be checked at all, and what is beyond chance among what can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from synth.parse import VOCABULARY, Entity, Kind, Parse, Presence
from synth.residual.conformal import Calibration, Conformal, benjamini_hochberg, scores_needed
from synth.residual.evidence import EntityEvidence
from synth.residual.findings import Verdict

MIN_VOXELS = 8  # 0.5 mL on a 4 mm grid: smaller, a shift of half a voxel decides
MIN_CUT_VOXELS = 3  # of an entity that the field of view cuts, along the axis on which it is cut
MIN_EFFECT_HU = 3.0  # a render that does not change when the entity goes cannot speak about it
MIN_VISIBILITY = 0.05  # nats a voxel

NOT_CLAIMED = {
    Presence.absent: "declared absent, its place not known: a missed one is looked for among the unexplained regions",
    Presence.uncertain: "declared uncertain and not delineated: nothing is claimed, and there is no place to look at",
    Presence.not_assessed: "not assessed by the parser: nothing is claimed, and nothing was judged",
}


def cannot_check(entity: Entity, original: Parse, parse: Parse, known: Collection[str]) -> str | None:
    """Why an entity said to be present, or perhaps present, cannot be checked, in words; None when it can.

    `original` is the parse on its own grid, `parse` on the decoder's; `known` are the names the decoder was trained on.
    """
    if entity.kind is Kind.target:
        return "a planning volume is drawn, not seen"
    if entity.kind is Kind.tissue:
        return "a tissue is what the rest is compared with"
    if entity.id not in original.masks:
        return "not delineated: there is no place to look at"
    if VOCABULARY.nearest(entity.name, known) is None:
        return f"the decoder was never shown a {entity.name.replace('_', ' ')}, nor anything it is a kind of"
    mask = parse.masks.get(entity.id)
    if mask is None or mask.is_empty:
        return "outside the field of view of the image"
    if mask.voxels < MIN_VOXELS:
        size = original.masks[entity.id].voxels * original.geometry.voxel_ml
        grid = parse.geometry.spacing_mm[0]
        return f"too small for the grid: {size:.2g} mL are {mask.voxels} voxels of {grid:g} mm, {MIN_VOXELS} are needed"
    thin = min((mask.box.shape[axis] for axis, _ in mask.border_faces), default=MIN_CUT_VOXELS)
    if thin < MIN_CUT_VOXELS:
        mm = thin * parse.geometry.spacing_mm[0]
        return f"outside the field of view but for {mm:g} mm: less than {MIN_CUT_VOXELS} voxels of it show no form"
    return None


def cannot_tell(evidence: EntityEvidence) -> str | None:
    """Why the image cannot decide, although it was asked: nothing would look different without the entity."""
    faint = evidence.visibility < MIN_VISIBILITY
    if faint and evidence.effect_hu is not None and evidence.effect_hu < MIN_EFFECT_HU:
        return (
            "no contrast expected between it and its surroundings: the render changes by "
            f"{evidence.effect_hu:.1f} HU without it"
        )
    return None


@dataclass(frozen=True)
class Judged:
    """A scored entity, judged.

    Attributes:
        verdict: supported or hallucinated, None where nothing is claimed; conformal: the p-value and its cell, None
            without calibration.
        rank: 1 is the most suspicious, None outside the ranking; needed: calibration scores that a cell needs for this
            many entities.
    """

    verdict: Verdict | None
    conformal: Conformal | None
    rank: int | None
    needed: int


ANATOMY, FINDINGS = "anatomy", "findings"


@dataclass(frozen=True, eq=False)
class Scored:
    """One entity to be judged; those of one family are judged together.

    Attributes:
        calibration: scores of true entities under the same fusion.
    """

    name: str
    volume_ml: float
    score: float
    calibration: Calibration
    family: str = ANATOMY

    def conformal(self, needed: int) -> Conformal | None:
        """The p-value; None without calibration."""
        return self.calibration.judge(self.name, self.volume_ml, self.score, needed=needed)


def family_of(kind: Kind) -> str:
    """Findings are few and rare, organs many and nearly always there: each is judged among its own."""
    return FINDINGS if kind is Kind.finding else ANATOMY


def judge(scored: Sequence[Scored], alpha: float) -> tuple[Judged, ...]:
    """Verdicts on all checked entities of one parse, the false discovery rate held at alpha in each family.

    Without any calibration the sign of the score decides. An entity is flagged only where its score also speaks
    against it: a p-value says "unusual for a true one", the score says which way.
    """
    sizes = Counter(s.family for s in scored)
    needed = [scores_needed(sizes[s.family], alpha) for s in scored]
    found = [s.conformal(n) for s, n in zip(scored, needed, strict=True)]
    p = [1.0 if c is None else c.p_value for c in found]
    rejected = _rejected(scored, p, alpha)
    order = sorted(range(len(scored)), key=lambda i: (p[i], scored[i].score))
    rank = {i: k + 1 for k, i in enumerate(order)}
    out = []
    for i, (each, conformal) in enumerate(zip(scored, found, strict=True)):
        against = rejected[i] if conformal is not None else each.score < 0.0
        verdict = Verdict.hallucinated if against else Verdict.supported
        out.append(Judged(verdict, conformal, rank[i], needed[i]))
    return tuple(out)


def _rejected(scored: Sequence[Scored], p: Sequence[float], alpha: float) -> list[bool]:
    """Benjamini-Hochberg within each family."""
    out = [False] * len(scored)
    for family in {s.family for s in scored}:
        members = [i for i, s in enumerate(scored) if s.family == family]
        against = benjamini_hochberg([p[i] if scored[i].score < 0 else 1.0 for i in members], alpha)
        for i, flagged in zip(members, against, strict=True):
            out[i] = bool(flagged)
    return out
