"""What a parse leaves open of how its entities look, filled with what is usual in the contrast phase that it declares.

    organ      mean of a case seen before, brighter or darker by its declared category (a fatty liver is darker)
    part       mean of its organ + what the two differ by in that case
    finding    mean of its organ + what such findings differ from theirs by, or the unenhanced mean + its declared
               enhancement; in any case what its declared category of attenuation allows

One case gives all organs, so that they belong together: a strong bolus is strong everywhere. Where some means are
declared, it is one of the cases nearest to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synth.parse import Attribute, Entity, Kind, Modality, Parse, Phase, Presence
from synth.parse.attenuation import ABSOLUTE_HU, AGAINST_HOST_HU
from synth.parse.place import hosts_of
from synth.population.place import FAT
from synth.population.record import Donor, FindingLook, Population

SOURCE = "population"
"""`Attribute.source` of what was filled in."""
MEAN = "mean_attenuation"
LEAST_SHARED, NEAREST = 3, 0.25  # means that must be declared to choose by them, and the share of cases that is near
LEAST_CHOICE = 3
MOST_SPREAD_HU = 45.0  # between cases of one phase; of what varies more, gut with gas in it, a mean says nothing
USED = (Kind.organ, Kind.substructure)


def with_usual_look(parse: Parse, population: Population, seed: int) -> Parse:
    """The parse with a mean attenuation, of `source` "population", for every drawn entity that has none.

    Nothing is filled in where the phase is not declared, in other modalities, for tissues but fat, whose mean depends
    on what else is drawn, and for names that no case has. The same seed chooses the same case.

    Example:
        >>> from synth.phantom import make
        >>> told = with_usual_look(make(0, spacing_mm=(8.0, 8.0, 8.0)).parse, Population.load(), seed=0)
        >>> {a.source for a in told.attributes_of("spleen") if a.type == "mean_attenuation"}
        {'population'}
    """
    said = parse.circumstance
    if said.phase is None or said.modality is Modality.mr:
        return parse
    rank = np.random.default_rng([seed, len(population.donors)]).random(len(population.donors))
    known = [k for k, donor in enumerate(population.donors) if donor.phase is said.phase]
    if not known:
        return parse
    chosen = _Chosen(population, tuple(sorted(known, key=lambda k: rank[k])), said.phase)
    declared = declared_means(parse)
    usual = chosen.organs(parse, declared)
    usual |= chosen.findings(parse, declared | usual)
    return parse.replace(
        attributes=[
            *parse.attributes,
            *(
                Attribute(entity=i, type=MEAN, value=round(hu, 1), phase=said.phase, source=SOURCE)
                for i, hu in usual.items()
            ),
        ]
    )


def declared_means(parse: Parse) -> dict[str, float]:
    """Entity -> mean HU of the parse's own phase or of none."""
    phases = (None, parse.circumstance.phase)
    said = (a for a in parse.attributes if a.type == MEAN and a.phase in phases)
    return {a.entity: float(a.value) for a in said}


def _open(parse: Parse, declared: Mapping[str, float]) -> Iterator[Entity]:
    """Entities that are drawn and have no mean yet."""
    for entity in parse.entities:
        drawn = entity.id in parse.masks and not parse.masks[entity.id].is_empty
        if drawn and entity.presence in (Presence.present, Presence.uncertain) and entity.id not in declared:
            yield entity


@dataclass(frozen=True)
class _Chosen:
    """The cases of one phase, in the order in which the seed takes them."""

    population: Population
    order: tuple[int, ...]
    phase: Phase

    def organs(self, parse: Parse, declared: Mapping[str, float]) -> dict[str, float]:
        donors = [self.population.donors[k] for k in self.order]
        first = self._near(donors, parse, declared)
        known, found = dict(declared), dict[str, float]()
        # Parts after what they are parts of.
        for entity in sorted(_open(parse, declared), key=lambda e: e.kind is Kind.substructure):
            usual = _usual(entity, first, donors) if entity.kind in USED or entity.name == FAT else None
            if usual is not None:
                whole = _whole(parse, entity, known)
                apart = None if whole is None else _usual(whole, first, donors)
                if whole is None or apart is None:
                    found[entity.id] = usual + self._shift(parse, entity)
                else:
                    found[entity.id] = usual + known[whole.id] - apart
                known[entity.id] = found[entity.id]
        return found

    def _near(self, donors: Sequence[Donor], parse: Parse, declared: Mapping[str, float]) -> Donor:
        """The first of the cases nearest to the means that are declared of organs."""
        said = {
            e.name: declared[e.id] - self._shift(parse, e)
            for e in parse.entities
            if e.id in declared and e.kind in USED
        }
        off: list[tuple[float, int]] = []
        for k, donor in enumerate(donors):
            shared = said.keys() & donor.attenuation.keys()
            if len(shared) >= LEAST_SHARED:
                off.append((float(np.mean([abs(said[n] - donor.attenuation[n]) for n in shared])), k))
        if not off:
            return donors[0]
        near = sorted(off)[: max(LEAST_CHOICE, round(NEAREST * len(off)))]
        return donors[min(k for _, k in near)]

    def _shift(self, parse: Parse, entity: Entity) -> float:
        told = ((a.type, str(a.value)) for a in parse.attributes_of(entity.id))
        return sum(self.population.shifts.get(t, {}).get(v, {}).get(entity.name, 0.0) for t, v in told)

    def findings(self, parse: Parse, organs: Mapping[str, float]) -> dict[str, float]:
        looks = {e.id: self._finding(parse, e, organs) for e in _open(parse, organs) if e.kind is Kind.finding}
        return {id: hu for id, hu in looks.items() if hu is not None}

    def _finding(self, parse: Parse, entity: Entity, organs: Mapping[str, float]) -> float | None:
        said = {a.type: a for a in parse.attributes_of(entity.id) if a.phase in (None, self.phase)}
        told = str(said["attenuation_class"].value) if "attenuation_class" in said else None
        host = next((organs[i] for i in hosts_of(parse, entity.id) if i in organs), None)
        look = self._look(entity.name, told)
        if look is None:
            return None if told is None else _allowed(host, told, host)
        hu = look.hu
        if "enhancement" in said:
            hu += float(said["enhancement"].value) - (look.enhancement or 0.0)
        elif look.attenuation_class not in ABSOLUTE_HU and look.host_hu is not None and host is not None:
            hu += host - look.host_hu
        return _allowed(hu, told, host)

    def _look(self, name: str, told: str | None) -> FindingLook | None:
        """That of the first case with such a finding: of the name and category, of the category, of the name."""
        looks = [look for k in self.order for look in self.population.donors[k].findings]
        for wanted in ((name, told), (None, told), (name, None)):
            if wanted != (None, None):
                for look in looks:
                    if wanted[0] in (None, look.name) and wanted[1] in (None, look.attenuation_class):
                        return look
        return None


def _usual(entity: Entity, first: Donor, donors: Sequence[Donor]) -> float | None:
    """Mean HU of the name in the chosen case, else the median of all; None where they differ too much."""
    all_hu = [d.attenuation[entity.name] for d in donors if entity.name in d.attenuation]
    if not all_hu or np.std(all_hu) > MOST_SPREAD_HU:
        return None
    return first.attenuation.get(entity.name, float(np.median(all_hu)))


def _whole(parse: Parse, entity: Entity, known: Mapping[str, float]) -> Entity | None:
    """The organ that a substructure is part of, if its mean is known."""
    if entity.kind is not Kind.substructure or entity.term.parent is None:
        return None
    return next((e for e in parse.by_name(entity.term.parent) if e.id in known), None)


def _allowed(hu: float | None, told: str | None, host: float | None) -> float | None:
    """The nearest value that the declared category has; the value itself where that cannot be told."""
    if told is not None and told in ABSOLUTE_HU:
        low, high = ABSOLUTE_HU[told]
        return float(np.clip(0.0 if hu is None else hu, low, high))
    if hu is not None and host is not None and told is not None and told in AGAINST_HOST_HU:
        low, high = AGAINST_HOST_HU[told]
        return float(np.clip(hu, host + low, host + high))
    return hu
