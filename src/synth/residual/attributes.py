"""Declared appearance against the image: is what the parse says of an entity's look what is seen there?

What is measured under a mask depends on the outline, and an outline is never exact: under the jitter of a correct one
the mean of a thin bone moves by 60 HU. So the value is measured under several jittered outlines, and the claim is
compared with all of them,

    z = |declared - median| / sqrt(tolerance² + (2 sd)²),      wrong above 2.5, open between 1.25 and 2.5

The tolerance is that of the attribute's type. A fatty liver and a rise after contrast medium are compared with other
patients (`against_usual`). Texture is not asked about: an outline that takes in a little of the
border moves it further than any disease. What was derived from this very image agrees with it by construction and is
not asked about either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synth.fault import jitter
from synth.parse import Attribute, Entity, Kind, Parse
from synth.parse.attenuation import ABSOLUTE_HU, AGAINST_HOST_HU
from synth.parse.derive.appearance import measured_appearance
from synth.population import Population
from synth.residual.against_usual import COMPARED, STEATOSIS, phase_of, usual_difference, usual_unenhanced
from synth.residual.intensity_prior import CORE, EDGES, IntensityPrior
from synth.residual.relations import SHARE, share_inside
from synth.volume import Volume

WRONG, HOLDS = 2.5, 1.25
OUTLINES = 8
SPREADS = 2.0  # standard deviations of the outlines that a value may be off
MEASURED = ("mean_attenuation", "attenuation_spread", "edge_sharpness")
ASKED = (*MEASURED, "attenuation_class", *COMPARED)
USUAL = (0.01, 0.99)  # quantiles of the population's voxels between which a mean is plausible
CLASS_TOLERANCE_HU = 10.0


@dataclass(frozen=True)
class CheckedAttribute:
    """A declared attribute, checked.

    Attributes:
        measured: under the outlines, their median; None where it cannot be checked, and `reason` says why.
        z: how far off; wrong: None where the image does not decide.
        plausible: whether the population has such values at all; None where nothing is known.
    """

    attribute: Attribute
    measured: float | None
    z: float | None
    wrong: bool | None
    plausible: bool | None
    reason: str

    def to_json(self) -> dict[str, object]:
        """Plain data for `findings.json`."""
        a = self.attribute
        return {
            "type": a.type,
            "value": a.value,
            "phase": None if a.phase is None else a.phase.value,
            "wrong": self.wrong,
            "plausible": self.plausible,
            "measured": None if self.measured is None else round(self.measured, 3),
            "z": None if self.z is None else round(self.z, 3),
            "reason": self.reason,
        }


def check_attributes(
    image: Volume,
    parse: Parse,
    entity: Entity,
    prior: IntensityPrior,
    population: Population,
    rng: np.random.Generator,
) -> tuple[CheckedAttribute, ...]:
    """Every declared attribute of one present, delineated entity; image and parse share a grid."""
    declared = [a for a in parse.attributes_of(entity.id) if not a.derived]
    if not declared:
        return ()
    seen = _Seen.of(image, parse, entity, rng) if any(_askable(a, parse) for a in declared) else None
    spleen = _mean_of(image, parse, "spleen") if any(a.type == STEATOSIS for a in declared) else None
    return tuple(
        _compared(a, parse, entity, seen, spleen, population)
        if a.type in COMPARED and seen is not None and _askable(a, parse)
        else _checked(a, parse, entity, seen, prior)
        for a in declared
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is measured of an entity, type -> value under each outline, and the mean of its host, HU."""

    values: Mapping[str, tuple[float, ...]]
    host_hu: float | None

    @classmethod
    def of(cls, image: Volume, parse: Parse, entity: Entity, rng: np.random.Generator) -> _Seen:
        found: dict[str, list[float]] = {}
        own = parse.masks[entity.id]
        for mask in (own, *(jitter(own, parse.geometry, rng) for _ in range(OUTLINES))):
            for name, value in measured_appearance(parse.with_mask(entity.id, mask), entity, image).items():
                found.setdefault(name, []).append(value)
        return cls({name: tuple(v) for name, v in found.items()}, host_hu(image, parse, entity))


def _askable(attribute: Attribute, parse: Parse) -> bool:
    phase = parse.circumstance.phase
    if attribute.phase is not None and attribute.phase is not phase:
        return False
    return attribute.type in ASKED


def _checked(
    attribute: Attribute, parse: Parse, entity: Entity, seen: _Seen | None, prior: IntensityPrior
) -> CheckedAttribute:
    plausible = _plausible(attribute, entity, prior)
    if seen is None or not _askable(attribute, parse):
        return CheckedAttribute(attribute, None, None, None, plausible, _not_asked(attribute, parse))
    if attribute.type == "attenuation_class":
        return _checked_class(attribute, seen)
    values = seen.values.get(attribute.type, ())
    if not values or isinstance(attribute.value, str):
        return CheckedAttribute(attribute, None, None, None, plausible, "too small to be measured")
    kind = attribute.definition
    measured = float(np.median(values))
    z = _z(abs(attribute.value - measured), kind.tolerance, values)
    reason = f"declared {attribute.value:.4g} {kind.unit}, seen {measured:.4g}"
    if plausible is False:
        reason += f"; unusual for a {entity.name.replace('_', ' ')}"
    return CheckedAttribute(attribute, measured, z, _wrong(z), plausible, reason)


def _checked_class(attribute: Attribute, seen: _Seen) -> CheckedAttribute:
    """The category as an interval of HU, by itself or against the organ around."""
    value = str(attribute.value)
    values = seen.values.get("mean_attenuation", ())
    absolute = ABSOLUTE_HU.get(value)
    if not values or (absolute is None and seen.host_hu is None):
        reason = "too small to be measured" if not values else "no organ around it is delineated"
        return CheckedAttribute(attribute, None, None, None, None, reason)
    low, high = absolute or AGAINST_HOST_HU[value]
    base = 0.0 if absolute else (seen.host_hu or 0.0)
    measured = float(np.median(values)) - base
    z = _z(max(low - measured, measured - high, 0.0), CLASS_TOLERANCE_HU, values)
    against = "" if absolute else " against the organ around"
    return CheckedAttribute(
        attribute, measured, z, _wrong(z), None, f"declared {value}, seen {measured:+.0f} HU{against}"
    )


def _compared(
    attribute: Attribute, parse: Parse, entity: Entity, seen: _Seen, spleen: float | None, population: Population
) -> CheckedAttribute:
    """A grade of steatosis or a rise after contrast, against what other patients have."""
    values = seen.values.get("mean_attenuation", ())
    phase = phase_of(attribute, parse)
    if not values or phase is None:
        reason = "too small to be measured" if not values else "the image's contrast phase is not known"
        return CheckedAttribute(attribute, None, None, None, None, reason)
    mean, spread = float(np.median(values)), SPREADS * float(np.std(values))
    if attribute.type == STEATOSIS:
        usual = usual_difference(population, phase, str(attribute.value)) if entity.name == "liver" else None
        measured, told = (float("nan"), "") if spleen is None else (mean - spleen, "against the spleen")
    else:
        usual = usual_unenhanced(population, entity.name)
        measured, told = mean - float(attribute.value), "without it"
    if usual is None or not np.isfinite(measured):
        return CheckedAttribute(attribute, None, None, None, None, "nothing to compare it with")
    z = usual.off(measured, spread)
    reason = f"declared {attribute.value}: {usual.mean:+.0f} HU {told} is usual, seen {measured:+.0f} HU"
    return CheckedAttribute(attribute, measured, z, _wrong(z), None, reason)


def _mean_of(image: Volume, parse: Parse, name: str) -> float | None:
    """Mean HU of the one present, delineated entity of a name."""
    there = [e for e in parse.by_name(name) if e.id in parse.present_ids and e.id in parse.masks]
    return measured_appearance(parse, there[0], image).get("mean_attenuation") if len(there) == 1 else None


def _z(off: float, tolerance: float, values: tuple[float, ...]) -> float:
    return float(off / np.hypot(tolerance, SPREADS * np.std(values)))


def _wrong(z: float) -> bool | None:
    return True if z > WRONG else (False if z <= HOLDS else None)


def _not_asked(attribute: Attribute, parse: Parse) -> str:
    if attribute.type not in ASKED:
        return "nothing here measures it"
    told = parse.circumstance.phase
    assert attribute.phase is not None  # else it would have been asked about
    return f"declared for the {attribute.phase.value} phase; the image's is {told.value if told else 'not known'}"


def _plausible(attribute: Attribute, entity: Entity, prior: IntensityPrior) -> bool | None:
    """Whether a declared mean lies among the voxels that the population has under this name."""
    if attribute.type != "mean_attenuation" or isinstance(attribute.value, str) or not prior.knows(entity.name):
        return None
    share = np.cumsum(np.exp(prior.log_density(entity.name)[CORE]))
    low, high = (int(np.searchsorted(share, q)) for q in USUAL)
    here = int(np.searchsorted(EDGES, attribute.value, side="right"))
    return low <= here <= high


def host_hu(image: Volume, parse: Parse, entity: Entity) -> float | None:
    """Mean of the organ that holds most of the entity, without any finding; None where no organ holds half of it."""
    own = parse.masks[entity.id]
    window = own.padded_slices(1)
    shares = {
        other.id: share_inside(own, parse.masks[other.id], parse.geometry).value
        for other in parse.entities
        if other.kind is Kind.organ
        and other.id in parse.present_ids
        and other.id != entity.id
        and parse.masks[other.id].crop(window).any()
    }
    best = max(shares, key=lambda i: shares[i], default=None)
    if best is None or shares[best] < SHARE:
        return None
    return measured_appearance(parse, parse.entity(best), image).get("mean_attenuation")
