"""Which attributes an entity can have: the guidelines' categories, and what is measured with its unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from synth.parse.kinds import Kind
from synth.parse.vocabulary import unknown_name

Family = Literal["clinical", "appearance"]

_SOLID = (Kind.organ, Kind.substructure, Kind.finding, Kind.tissue)
_ANATOMY = (Kind.organ, Kind.substructure)
_FINDING = (Kind.finding,)


@dataclass(frozen=True)
class AttributeType:
    """One type of attribute.

    Attributes:
        name: what `Attribute.type` says.
        family: "clinical" (read by a person, from a guideline) or "appearance" (measured in the image).
        kinds: the kinds of entity that can have it.
        unit: of a numeric type; None where it has none or is categorical.
        values: the categories, worst last where `ordinal`; None for a numeric type.
        ordinal: the categories are a scale.
        beside_scale: categories of an ordinal type that stand beside the scale (incomplete, not comparable).
        low, high: the range of a numeric type, ends included.
        tolerance: two numeric values nearer than this say the same.
        phased: the value depends on the contrast phase, so that an entity can have one for each.
        guideline: where the categories or the measurement come from.

    Example:
        >>> ATTRIBUTE_TYPES["lung_rads"].rank("4B") > ATTRIBUTE_TYPES["lung_rads"].rank("3")
        True
    """

    name: str
    family: Family
    kinds: tuple[Kind, ...]
    guideline: str
    unit: str | None = None
    values: tuple[str, ...] | None = None
    ordinal: bool = False
    beside_scale: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    tolerance: float = 0.0
    phased: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether values are numbers rather than categories."""
        return self.values is None

    def rank(self, value: str) -> int | None:
        """Place of a category on the scale; None beside it, or where there is no scale."""
        if not self.ordinal or self.values is None or value in self.beside_scale:
            return None
        return [each for each in self.values if each not in self.beside_scale].index(value)

    def same(self, one: float | str, other: float | str) -> bool:
        """Whether two values of this type say the same thing."""
        if isinstance(one, str) or isinstance(other, str):
            return one == other
        return abs(one - other) <= self.tolerance


def _category(
    name: str,
    guideline: str,
    kinds: tuple[Kind, ...],
    values: str,
    *,
    ordinal: bool = False,
    beside: str = "",
    family: Family = "clinical",
) -> AttributeType:
    scale = tuple(values.split("|"))
    aside = tuple(beside.split("|")) if beside else ()
    return AttributeType(name, family, kinds, guideline, values=scale, ordinal=ordinal, beside_scale=aside)


def _number(
    name: str,
    guideline: str,
    unit: str,
    low: float,
    high: float,
    tolerance: float,
    *,
    kinds: tuple[Kind, ...] = _SOLID,
    family: Family = "appearance",
    phased: bool = True,
) -> AttributeType:
    return AttributeType(
        name, family, kinds, guideline, unit=unit, low=low, high=high, tolerance=tolerance, phased=phased
    )


_TYPES = (
    _category(
        "li_rads",
        "ACR LI-RADS v2018, CT/MRI diagnostic algorithm",
        _FINDING,
        "LR-NC|LR-1|LR-2|LR-3|LR-4|LR-5|LR-M|LR-TIV",
        ordinal=True,
        beside="LR-NC|LR-M|LR-TIV",
    ),
    _category(
        "li_rads_treatment_response",
        "ACR LI-RADS v2018, treatment response algorithm",
        _FINDING,
        "LR-TR Nonevaluable|LR-TR Nonviable|LR-TR Equivocal|LR-TR Viable",
        ordinal=True,
        beside="LR-TR Nonevaluable",
    ),
    _category("lung_rads", "ACR Lung-RADS 2022", _FINDING, "0|1|2|3|4A|4B|4X", ordinal=True, beside="0"),
    _category(
        "bi_rads", "ACR BI-RADS Atlas, 5th edition", _FINDING, "0|1|2|3|4|4A|4B|4C|5|6", ordinal=True, beside="0|4|6"
    ),
    _category("pi_rads", "PI-RADS v2.1", _FINDING, "1|2|3|4|5", ordinal=True),
    _category("bosniak", "Bosniak classification, version 2019", _FINDING, "I|II|IIF|III|IV", ordinal=True),
    _category("steatosis_grade", "NASH CRN histological grade, as graded on CT", _ANATOMY, "S0|S1|S2|S3", ordinal=True),
    _category("fibrosis_stage", "METAVIR", _ANATOMY, "F0|F1|F2|F3|F4", ordinal=True),
    _category(
        "parenchyma",
        "descriptive",
        _ANATOMY,
        "normal|steatotic|fibrotic|cirrhotic|emphysematous|atrophic|oedematous|inflamed|atelectatic|heterogeneous",
    ),
    _category(
        "bone_density",
        "WHO 1994 categories, opportunistic CT",
        (*_ANATOMY, Kind.tissue),
        "normal|osteopenic|osteoporotic",
        ordinal=True,
    ),
    _category(
        "margin",
        "descriptive; BI-RADS and Fleischner terms",
        _FINDING,
        "circumscribed|lobulated|obscured|indistinct|irregular|spiculated|infiltrative",
    ),
    _category("shape", "BI-RADS terms", _FINDING, "round|oval|lobular|irregular"),
    _category(
        "attenuation_class",
        "descriptive, against the organ around it",
        _SOLID,
        "air|fat|fluid|hypodense|isodense|hyperdense|calcified|metal",
    ),
    _category(
        "nodule_type", "ACR Lung-RADS 2022 and Fleischner 2017", _FINDING, "solid|part_solid|ground_glass|calcified|fat"
    ),
    _category(
        "enhancement_pattern",
        "LI-RADS v2018 major features and descriptive terms",
        _SOLID,
        "none|homogeneous|heterogeneous|rim|peripheral_nodular|arterial_hyperenhancement|washout|"
        "arterial_hyperenhancement_and_washout|enhancing_capsule|septal|delayed_central|targetoid",
    ),
    _number(
        "fat_fraction",
        "proton density fat fraction or its CT estimate",
        "%",
        0,
        100,
        2,
        kinds=_ANATOMY,
        family="clinical",
        phased=False,
    ),
    _number("mean_attenuation", "mean over the eroded mask", "HU", -1100, 4000, 10),
    _number("attenuation_spread", "standard deviation over the eroded mask", "HU", 0, 2500, 10),
    _number(
        "texture",
        "ln variance, within the mask, of the image between Gaussian scales of 4 and 8 mm",
        "ln(HU^2)",
        -12,
        16,
        0.25,
    ),
    _number("edge_sharpness", "mean outward slope of the image across the border", "HU/mm", 0, 2000, 5),
    _number("enhancement", "mean attenuation less that of the unenhanced phase", "HU", -500, 1500, 10),
    _number("mean_signal", "mean over the eroded mask, MR", "au", -1e6, 1e6, 0.05),
    _number("signal_spread", "standard deviation over the eroded mask, MR", "au", 0, 1e6, 0.05),
)

ATTRIBUTE_TYPES: Mapping[str, AttributeType] = MappingProxyType({each.name: each for each in _TYPES})
"""Every attribute type by name; a new one is one more entry above."""


def attribute_type(name: str) -> AttributeType:
    """The type of this name; an unknown one is an `InputError` that lists the nearest."""
    found = ATTRIBUTE_TYPES.get(name)
    if found is None:
        raise unknown_name("attribute type", name, ATTRIBUTE_TYPES)
    return found
