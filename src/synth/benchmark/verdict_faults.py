"""Which faults the verdicts benchmark plants in a correct parse, one at a time, and how bad.

| family | severities | must be called |
| --- | --- | --- |
| hallucinated_organ | | hallucinated: an organ of this patient, claimed where it was before its removal |
| move | by 8-12, 16-24, 32-56 mm | wrong_extent (family `shift`), or hallucinated where no voxel is left in place |
| add_lesion | 12-16, 16-24, 24-36 mm | hallucinated |
| false_side | | hallucinated |
| delete, of a lesion | 12-16, 16-24, 24-36 mm | missing |
| false_absence, of an abdominal organ | | missing |
| dilate, erode | by 4, 8, 12 mm | wrong_extent |
| merge, split | | wrong_extent |
| relabel, swap_sides | | wrong_label |
| attenuation (a declared mean) | 40-60, 60-80, 80-100 HU off | wrong_attribute |
| attenuation_class, steatosis, enhancement | | wrong_attribute |
| wrong_relation | | wrong_relation |
| three | three of `THREE` in different organs | each what it must get alone |

The entity is drawn at random among those that the audit's grid can hold (`MIN_VOXELS`), organs alone where the fault is
one of extent or of name. A family that a patient offers nothing for is left out of that patient.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from synth.benchmark.verdict_truth import Truth
from synth.errors import InputError
from synth.fault import Expectation, Faulted, FaultSpec, inject, plant_apart
from synth.parse import Attribute, Kind, Parse
from synth.parse.derive.appearance import measured_appearance
from synth.phantom.patients import LESIONS_MM, LIVER_LESIONS
from synth.phantom.spec import REMOVABLE
from synth.residual.verdict import MIN_VOXELS

ONE = "all"  # severity of a family that has only one
MOVES_MM = {"8-12 mm": (8.0, 12.0), "16-24 mm": (16.0, 24.0), "32-56 mm": (32.0, 56.0)}
GROWTHS_MM = {"4 mm": (4.0, 4.0), "8 mm": (8.0, 8.0), "12 mm": (12.0, 12.0)}
OFF_HU = {"40-60 HU": (40.0, 60.0), "60-80 HU": (60.0, 80.0), "80-100 HU": (80.0, 100.0)}
LEAST_MERGED = 1.2  # volume ratio: a neighbour smaller than a fifth is a matter of taste
VOXEL_ML = 0.064  # of the audit's grid
TRIES = 12  # entities tried before a family is left out


@dataclass(frozen=True)
class Plan:
    """A fault to plant; `key` names it within a run."""

    family: str
    severity: str = ONE

    @property
    def key(self) -> str:
        """Family and severity.

        Example:
            >>> Plan("dilate", "4 mm").key
            'dilate/4 mm'
        """
        return f"{self.family}/{self.severity}"


@dataclass(frozen=True, eq=False)
class Planted:
    """A parse with one thing wrong, or with nothing wrong where nothing is expected.

    Attributes:
        family: as reported, where the place of a moved mask decides what it is.
        size, unit: how bad, as realised.
    """

    parse: Parse
    family: str
    severity: str
    expected: tuple[Expectation, ...]
    size: float
    unit: str
    said: str


TRUE = Plan("none")
Plant = Callable[[Truth, str, np.random.Generator], Planted | None]


def plant(truth: Truth, plan: Plan, *, seed: int = 0) -> Planted | None:
    """Plant one fault, drawn from the patient, the plan and `seed` alone; None where the patient offers nothing for it.

    Raises InputError for an unknown family or severity.
    """
    if plan == TRUE:
        return Planted(truth.parse, TRUE.family, ONE, (), 0.0, "", "nothing is wrong")
    if plan not in PLANS:
        known = ", ".join(dict.fromkeys(p.family for p in PLANS))
        raise InputError("family", expected=f"one of {known}", got=plan.key, fix="choose one of these")
    rng = np.random.default_rng(
        [seed, truth.seed, zlib.crc32(plan.key.encode()), *([truth.drawn] if truth.drawn else [])]
    )
    return _FAMILIES[plan.family][0](truth, plan.severity, rng)


def _organs(truth: Truth, rng: np.random.Generator) -> list[str]:
    return _drawn(truth, rng, (Kind.organ,))


def _drawn(truth: Truth, rng: np.random.Generator, kinds: tuple[Kind, ...]) -> list[str]:
    """Ids of the entities that can be judged, in random order."""
    parse = truth.parse
    ids = [i for i in parse.present_ids if parse.entity(i).kind in kinds and _is_large_enough(parse, i)]
    return [str(i) for i in rng.permutation(ids) if i not in truth.spared]


def _is_large_enough(parse: Parse, id: str) -> bool:
    """The audit's grid can hold it."""
    return parse.masks[id].volume_ml(parse.geometry) >= MIN_VOXELS * VOXEL_ML - 1e-9


def _first(
    truth: Truth, specs: Iterator[FaultSpec], rng: np.random.Generator, accept: Callable[[Faulted], bool] | None = None
) -> Faulted | None:
    """The first of the specs that can be planted and accepted."""
    for spec, _ in zip(specs, range(TRIES), strict=False):
        try:
            found = inject(truth.parse, spec, rng, image=truth.image)
        except InputError:
            continue  # no room, nothing to touch, too thin: another entity may do
        if _judgeable(found) and (accept is None or accept(found)):
            return found
    return None


def _judgeable(found: Faulted) -> bool:
    """What is expected can be given: the masks in question are large enough for the audit's grid."""
    return all(e.place is not None or _is_large_enough(found.parse, e.entity or "") for e in found.record.expected)


def _as_planted(found: Faulted | None, family: str, severity: str) -> Planted | None:
    if found is None:
        return None
    r = found.record
    return Planted(found.parse, family, severity, r.expected, r.severity, r.unit, r.description)


def _hallucinated_organ(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    if truth.removed is None:
        return None
    entity, mask = truth.removed
    spec = FaultSpec("hallucinated_organ", name=entity.name)
    r = (found := inject(truth.parse, spec, rng, places={entity.name: mask})).record
    said = f"{entity.term.words} claimed after its removal"
    return Planted(found.parse, "hallucinated_organ", severity, r.expected, r.severity, r.unit, said)


def _move(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    specs = (FaultSpec("move", entity=i, severity_mm=MOVES_MM[severity]) for i in _organs(truth, rng))
    found = _first(truth, specs, rng)
    away = found is not None and found.record.expected[0].verdict == "hallucinated"
    return _as_planted(found, "moved_away" if away else "shift", severity)


def _add_lesion(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    hosts = [i for i in ("liver", "kidney_left", "kidney_right") if i in truth.parse.present_ids]
    specs = (
        FaultSpec("add_lesion", entity=host, name=_lesion_of(host, rng), severity_mm=LESIONS_MM[severity])
        for host in rng.permutation(hosts)
    )
    return _as_planted(_first(truth, specs, rng), "add_lesion", severity)


def _lesion_of(host: str, rng: np.random.Generator) -> str:
    """A name that true lesions of this organ have as well."""
    return str(rng.choice(LIVER_LESIONS)) if host == "liver" else host.replace("kidney", "kidney_cyst")


def _false_side(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    kidneys = [i for i in ("kidney_left", "kidney_right") if i in truth.parse.present_ids]
    return _as_planted(_first(truth, (FaultSpec("false_side", entity=i) for i in kidneys), rng), "false_side", severity)


def _delete(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    ids = [truth.lesions[severity]] if severity in truth.lesions else []
    return _missing(truth, "delete", ids, severity, rng)


def _false_absence(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    ids = [i for i in _organs(truth, rng) if i in REMOVABLE]
    return _missing(truth, "false_absence", ids, severity, rng)


def _missing(truth: Truth, family: str, ids: list[str], severity: str, rng: np.random.Generator) -> Planted | None:
    """Left out of the parse; what must be found is the exact outline, not the jittered one."""
    found = _first(truth, (FaultSpec(family, entity=i) for i in ids), rng)
    if found is None:
        return None
    (e,) = found.record.expected
    place = truth.outlines.masks[found.record.entity]
    size = place.volume_ml(truth.outlines.geometry)
    expected = (Expectation(e.verdict, e.name, e.entity, place),)
    return Planted(found.parse, family, severity, expected, size, "mL", found.record.description)


def _resize(family: str, truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    specs = (FaultSpec(family, entity=i, severity_mm=GROWTHS_MM[severity]) for i in _organs(truth, rng))
    return _as_planted(_first(truth, specs, rng), family, severity)


def _merge(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    def accept(found: Faulted) -> bool:
        swallowed = truth.parse.entity(str(found.record.parameters["swallowed"]))
        return swallowed.kind is Kind.organ and found.record.severity >= LEAST_MERGED

    specs = (FaultSpec("merge", entity=i) for i in _organs(truth, rng))
    return _as_planted(_first(truth, specs, rng, accept), "merge", severity)


def _of_organ(family: str, truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    specs = (FaultSpec(family, entity=i) for i in _organs(truth, rng))
    return _as_planted(_first(truth, specs, rng), family, severity)


def _attenuation(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    """A mean is declared of one organ, as measured under its exact outline but for so many HU."""
    for id in _organs(truth, rng)[:TRIES]:
        entity = truth.outlines.entity(id)
        true = round(measured_appearance(truth.outlines, entity, truth.image)["mean_attenuation"], 1)
        declared = Attribute(entity=id, type="mean_attenuation", value=true)
        parse = truth.parse.replace(attributes=[*truth.parse.attributes, declared])
        off = float(rng.uniform(*OFF_HU[severity]) * rng.choice([-1, 1]))
        spec = FaultSpec("flip_attribute", entity=id, attribute="mean_attenuation", value=round(true + off, 1))
        try:
            found = inject(parse, spec, rng)
        except InputError:
            continue  # below what the attribute can be
        r = found.record
        return Planted(found.parse, "attenuation", severity, r.expected, abs(off), "HU", r.description)
    return None


def _flip(attribute: str, truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    ids = _drawn(truth, rng, (Kind.organ, Kind.finding))
    specs = (FaultSpec("flip_attribute", entity=i, attribute=attribute) for i in ids if _has(truth, i, attribute))
    family = "steatosis" if attribute == "steatosis_grade" else attribute
    return _as_planted(_first(truth, specs, rng), family, severity)


def _has(truth: Truth, id: str, attribute: str) -> bool:
    return any(a.type == attribute for a in truth.parse.attributes_of(id))


def _three(truth: Truth, severity: str, rng: np.random.Generator) -> Planted | None:
    """Faults of different kinds in different organs, one after the other."""

    def attempt(parse: Parse, touched: frozenset[str], *, k: int) -> Faulted | None:
        left = replace(truth, parse=parse, spared=truth.spared | touched)
        return _first(left, (replace(THREE[k], entity=i) for i in _organs(left, rng)), rng)

    made = plant_apart(truth.parse, (partial(attempt, k=k) for k in rng.permutation(len(THREE))), MOST)
    if len(made.records) < MOST:
        return None
    said = "; ".join(record.description for record in made.records)
    return Planted(made.parse, "three", severity, made.expected, float(MOST), "faults", said)


MOST = 3
THREE = (
    FaultSpec("move", severity_mm=MOVES_MM["16-24 mm"]),
    FaultSpec("move", severity_mm=MOVES_MM["32-56 mm"]),
    FaultSpec("dilate", severity_mm=GROWTHS_MM["8 mm"]),
    FaultSpec("erode", severity_mm=GROWTHS_MM["8 mm"]),
    FaultSpec("relabel"),
)
"""What several faults of one parse are drawn from."""
_FAMILIES: Mapping[str, tuple[Plant, tuple[str, ...]]] = {
    "hallucinated_organ": (_hallucinated_organ, (ONE,)),
    "move": (_move, tuple(MOVES_MM)),
    "add_lesion": (_add_lesion, tuple(LESIONS_MM)),
    "false_side": (_false_side, (ONE,)),
    "delete": (_delete, tuple(LESIONS_MM)),
    "false_absence": (_false_absence, (ONE,)),
    "dilate": (partial(_resize, "dilate"), tuple(GROWTHS_MM)),
    "erode": (partial(_resize, "erode"), tuple(GROWTHS_MM)),
    "merge": (_merge, (ONE,)),
    "split": (partial(_of_organ, "split"), (ONE,)),
    "relabel": (partial(_of_organ, "relabel"), (ONE,)),
    "swap_sides": (partial(_of_organ, "swap_sides"), (ONE,)),
    "attenuation": (_attenuation, tuple(OFF_HU)),
    "attenuation_class": (partial(_flip, "attenuation_class"), (ONE,)),
    "steatosis": (partial(_flip, "steatosis_grade"), (ONE,)),
    "enhancement": (partial(_flip, "enhancement"), (ONE,)),
    "wrong_relation": (partial(_of_organ, "wrong_relation"), (ONE,)),
    "three": (_three, (ONE,)),
}
PLANS: tuple[Plan, ...] = tuple(Plan(family, s) for family, (_, severities) in _FAMILIES.items() for s in severities)
"""Every family in every severity."""
SEARCHED = ("none", "delete", "false_absence")
"""Families whose audits look for what is left out: of the others nothing is."""
