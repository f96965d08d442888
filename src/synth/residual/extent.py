"""Is an entity where its mask ends? The counterfactual of extent: the same outline moved out, in, or to a side.

The evidence is of the image and the population alone (`synth.residual.border`, `nearby`, `evidence`) and a little of
the shape, fused into one score in nats like presence is:

    score < 0    the outline looks more like a shifted, grown, shrunken or merged one than like a jittered correct one
    p            share of jittered correct outlines of alike entities that score this low (Mondrian conformal)

Beyond chance is what Benjamini and Hochberg leave at alpha among the entities of one parse, no p above `MOST` and no
score above -`AGAINST_NATS`. All of it was measured with one population (`ExtentJudge.prior_sha256`); with another
nothing is said of extents.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.parse import Entity, Parse
from synth.residual.border import SIDES, Border, depth_of, read_border, taken_by_others
from synth.residual.conformal import Calibration, Conformal, benjamini_hochberg, scores_needed
from synth.residual.evidence import edge_features
from synth.residual.fusion import Fusion
from synth.residual.intensity_prior import IntensityPrior, bins_of, lineage
from synth.residual.nearby import nearby_features
from synth.residual.neighbourhood import Neighbourhood
from synth.residual.verdict import ANATOMY, Scored, family_of
from synth.volume import Mask, Volume, write_bytes

SHIPPED = Path(__file__).with_name("extent.json")
FORM = "synth-extent-1"
OWN_OUTLINES = "own outlines"  # in the facts: of which families the scores are a site's own
MOST = 0.01  # p-value above which an outline is never called wrong; with few patients to calibrate on, 2% come true
AGAINST_NATS = 1.0  # that the score must speak against it: a p-value read from a hundred scores is coarse
NOT_JUDGED = frozenset({"muscle"})
"""Groups whose outlines are not judged: known from phantoms alone, in which fat does not run through a muscle, and cut
anew by every field of view."""
TOLD_NATS, TOLD_SD = 1.0, 2.0  # a side is named from so much more than usual for the name on, a border voxel


@dataclass(frozen=True, eq=False)
class ExtentJudge:
    """How the evidence about an outline becomes a score and a p-value.

    Attributes:
        prior_sha256: digest of the population that everything was measured with.
        fusion: of the features; calibration: scores of jittered correct outlines under it.
        facts: what it was fitted on.
    """

    prior_sha256: str
    fusion: Fusion
    calibration: Calibration
    facts: Mapping[str, Any] = field(default_factory=dict)

    def judges(self, name: str) -> bool:
        """Whether outlines of this name are judged: some only where a site's own calibration knows them.

        Example:
            >>> ExtentJudge.load().judges("liver"), ExtentJudge.load().judges("gluteus_medius_left")
            (True, False)
        """
        groups = NOT_JUDGED.intersection(lineage(name))
        if not groups:
            return True
        own = self.facts.get(OWN_OUTLINES, {}).get(ANATOMY, False)
        return bool(own) and any(groups.intersection(lineage(s.name)) for s in self.calibration.scores)

    def scored(self, measured: MeasuredExtent, entity: Entity, volume_ml: float) -> Scored:
        """One measured outline, to be judged with the others of its parse."""
        score = self.fusion.score(measured.features, entity.name)
        return Scored(entity.name, volume_ml, score, self.calibration, family_of(entity.kind))

    def usual(self, name: str) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each feature among correct outlines of a name."""
        mean, sd = self.fusion.usual(name)
        return dict(zip(self.fusion.names, zip(mean.tolist(), sd.tolist(), strict=True), strict=True))

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        data = {
            "form": FORM,
            "prior_sha256": self.prior_sha256,
            "fusion": self.fusion.to_json(),
            "calibration": self.calibration.to_json(),
            "facts": dict(self.facts),
        }
        write_bytes(path, (json.dumps(data, separators=(",", ":")) + "\n").encode())

    @classmethod
    def load(cls, path: Path = SHIPPED) -> ExtentJudge:
        """Read what `save` wrote.

        Raises:
            InputError: another form.
        """
        data = json.loads(path.read_text())
        if data.get("form") != FORM:
            got, fix = str(data.get("form")), "fit it with this version: benchmarks/extent_fit.py"
            raise InputError(str(path), expected=f"form {FORM}", got=got, fix=fix)
        calibration = Calibration.from_json(data["calibration"])
        return cls(data["prior_sha256"], Fusion.from_json(data["fusion"]), calibration, data["facts"])

    @classmethod
    def shipped_for(cls, prior: IntensityPrior) -> ExtentJudge | None:
        """The shipped one where this is the population that it was fitted with, else None."""
        judge = cls.load()
        return judge if judge.prior_sha256 == prior.digest else None


@dataclass(frozen=True)
class Reach:
    """One side on which an outline ends in the wrong place: `mm` too far, or short of it where negative."""

    side: str
    mm: float

    @property
    def words(self) -> str:
        """As in a sentence about the entity."""
        if self.mm > 0:
            return f"reaches about {self.mm:.0f} mm too far on its {self.side} side"
        return f"stops about {-self.mm:.0f} mm short on its {self.side} side"


@dataclass(frozen=True, eq=False)
class MeasuredExtent:
    """What speaks for and against one outline, and how far its border would have to move on each side."""

    features: Mapping[str, float]
    border: Border

    def reaches(self, usual: Mapping[str, tuple[float, float]] | None = None) -> tuple[Reach, ...]:
        """The sides that seem wrong, worst first, given mean and deviation of each feature among correct outlines.

        Some sides always look short: nothing tells where an oesophagus ends. Only what is more than usual is told.
        """
        found = []
        for what, sign, distances in (("far", 1.0, self.border.far_mm), ("short", -1.0, self.border.short_mm)):
            for side, mm in zip(SIDES, distances.tolist(), strict=True):
                mean, sd = (usual or {}).get(f"{what}_{side}", (0.0, 0.0))
                more = mean - self.features[f"{what}_{side}"]
                if more >= max(TOLD_NATS, TOLD_SD * sd):
                    found.append((more, Reach(side, sign * mm)))
        return tuple(reach for _, reach in sorted(found, key=lambda pair: -pair[0]))


@dataclass(frozen=True, eq=False)
class CheckedExtent:
    """An outline, checked.

    Attributes:
        score: nats; positive speaks for the outline. conformal: its p-value, None without calibration.
        wrong: beyond chance; needed: calibration scores that a cell needs for this many entities.
        reaches: where it is wrong, the sides on which it seems so, worst first.
    """

    entity_id: str
    score: float
    conformal: Conformal | None
    wrong: bool
    needed: int
    reaches: tuple[Reach, ...]

    @property
    def reason(self) -> str:
        """One sentence with the numbers that decided."""
        p = (
            ""
            if self.conformal is None
            else f"; {100 * self.conformal.p_value:.1f}% of correct outlines score this low"
        )
        where = f": it {self.reaches[0].words}" if self.reaches else ""
        what = "does not end" if self.wrong else "ends"
        return f"the image {what} where its outline does{where} ({self.score:+.1f} nats{p})"

    def to_json(self) -> dict[str, Any]:
        """Plain data for `findings.json`."""
        found = self.conformal
        return {
            "score": round(self.score, 3),
            "p_value": None if found is None else found.p_value,
            "wrong": self.wrong,
            "cell": None if found is None else found.cell,
            "scores": None if found is None else found.scores,
            "needed": self.needed,
            "reaches": [{"side": r.side, "mm": r.mm} for r in self.reaches],
        }


def measure_extent(image: Volume, parse: Parse, entity_id: str, prior: IntensityPrior) -> MeasuredExtent | None:
    """Measure the outline of one present, delineated entity; image and parse share the prior's grid.

    None where the mask fills all of the image: there is no outline then.

    Example:
        >>> from synth.parse import Entity
        >>> from synth.volume import Geometry
        >>> shape = (24, 24, 24)
        >>> hu = np.full(shape, -100, np.float32)
        >>> hu[8:16, 8:16, 8:16] = 60
        >>> image = Volume(hu, Geometry.regular(shape, 4.0), "CT", "HU")
        >>> prior = IntensityPrior.fit([(hu, {"liver": hu > 0})] * 9)
        >>> grown = Mask.from_box(shape, (8, 8, 8), np.ones((10, 8, 8), bool))
        >>> z = Parse([Entity(id="liver", name="liver")], geometry=image.geometry, masks={"liver": grown})
        >>> [r.words for r in measure_extent(image, z, "liver", prior).reaches()]
        ['reaches about 8 mm too far on its right side']
    """
    mask, name = parse.masks[entity_id], parse.entity(entity_id).name
    around = Neighbourhood.of(mask)
    if around.inside.all():
        return None
    hu, table = image.array[around.box], prior.log_density(name)
    bins, depth = bins_of(hu), depth_of(around, parse.geometry.spacing_mm[0])
    border = read_border(hu, table, bins, around, depth, taken_by_others(parse, entity_id, around))
    features = {
        **border.features,
        **nearby_features(table, bins, around),
        **edge_features(hu, around),
        **_shape(mask, around, depth[around.inside]),
    }
    return MeasuredExtent(features, border)


def check_extents(
    image: Volume, parse: Parse, ids: Sequence[str], prior: IntensityPrior, judge: ExtentJudge, alpha: float
) -> tuple[CheckedExtent, ...]:
    """Judge the outlines of these entities together, organs and their parts apart from findings.

    Those of a name that the judge does not judge are left out.
    """
    found = {i: measure_extent(image, parse, i, prior) for i in ids if judge.judges(parse.entity(i).name)}
    measured = {i: m for i, m in found.items() if m is not None}
    scored = [judge.scored(m, parse.entity(i), parse.masks[i].volume_ml(parse.geometry)) for i, m in measured.items()]
    return tuple(
        CheckedExtent(i, s.score, o.conformal, o.wrong, o.needed, m.reaches(judge.usual(s.name)) if o.wrong else ())
        for (i, m), s, o in zip(measured.items(), scored, judge_outlines(scored, alpha), strict=True)
    )


@dataclass(frozen=True)
class JudgedOutline:
    """Whether an outline is wrong beyond chance; its p-value, and the calibration scores that a cell needs for it."""

    conformal: Conformal | None
    wrong: bool
    needed: int


def judge_outlines(scored: Sequence[Scored], alpha: float) -> tuple[JudgedOutline, ...]:
    """The outlines of one parse, judged together within each family."""
    sizes = Counter(s.family for s in scored)
    needed = [max(scores_needed(sizes[s.family], alpha), scores_needed(1, MOST)) for s in scored]
    p_values = [s.conformal(n) for s, n in zip(scored, needed, strict=True)]
    wrong = beyond_chance(scored, p_values, alpha)
    return tuple(map(JudgedOutline, p_values, wrong, needed))


def beyond_chance(scored: Sequence[Scored], p_values: Sequence[Conformal | None], alpha: float) -> list[bool]:
    """Which outlines of one parse are called wrong: Benjamini-Hochberg in each family, and no p above `MOST`."""
    p = [1.0 if c is None or s.score > -AGAINST_NATS else c.p_value for s, c in zip(scored, p_values, strict=True)]
    out = [False] * len(p)
    for family in {s.family for s in scored}:
        members = [k for k, s in enumerate(scored) if s.family == family]
        for k, rejected in zip(members, benjamini_hochberg([p[k] for k in members], alpha), strict=True):
            out[k] = bool(rejected) and p[k] <= MOST
    return out


def _shape(mask: Mask, around: Neighbourhood, depth_mm: NDArray[np.float64]) -> dict[str, float]:
    """Size and thickness; what the field of view cuts has no size to speak of."""
    size = float(np.log(mask.voxels))
    surface = float(np.log(around.rim.sum())) - 2.0 / 3.0 * size
    cut = mask.touches_border
    return {
        "log_voxels": float("nan") if cut else size,
        "surface": float("nan") if cut else surface,
        "thickest": float(depth_mm.max()),
        "thickness": float(np.log(depth_mm.mean())),
    }
