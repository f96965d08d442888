"""Where new lesions come up: an organ drawn from a prior, a free place in it, and a size that grows with age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synth.errors import InputError
from synth.parse import VOCABULARY, Entity, Kind, Parse, Relation
from synth.parse.place import place_undrawn
from synth.volume import Geometry, Mask

SEEN_MM = 5.0
"""Diameter at which a new lesion is first seen, two voxels where those are larger (assumed)."""
DOUBLING_DAYS = 100.0
"""Doubling time of the volume of a new lesion (assumed: the order of solid metastases)."""
# Weights of the organs that the parse draws, for a patient about whose other lesions nothing is known (assumed; liver,
# lung, bone and brain are where metastases are found most). A lesion that is there counts as `A_LESION` of these units.
PRIOR = {"liver": 3.0, "lung": 3.0, "bone": 1.5, "brain": 1.0, "adrenal_gland": 0.5, "spleen": 0.2, "kidney": 0.2}
A_LESION = 10.0
_METASTASES = {"liver": "liver_metastasis", "lung": "lung_metastasis", "bone": "bone_metastasis"}
_METASTASES |= {"brain": "brain_metastasis"}


@dataclass(frozen=True, eq=False)
class Site:
    """The place of one new lesion.

    Attributes:
        entity: the lesion; host: id of what it lies in, None where the parse draws no organ that could hold it.
        mask: as it is first seen; None where it has no place, so that it is claimed and not drawn.
    """

    entity: Entity
    host: str | None
    mask: Mask | None

    @property
    def relations(self) -> tuple[Relation, ...]:
        """What is declared about it: where it lies."""
        if self.host is None:
            return ()
        return (Relation(type="located_in", subject=self.entity.id, object=self.host),)


def volume_at(seen_ml: float, age_days: float) -> float:
    """Volume in mL of a lesion `age_days` after it was first seen with `seen_ml`: V₀ · 2^(age / doubling time).

    Example:
        >>> volume_at(0.1, DOUBLING_DAYS)
        0.2
    """
    return float(seen_ml * 2.0 ** (age_days / DOUBLING_DAYS))


def birth_sites(parse: Parse, count: int, seed: int) -> tuple[Site, ...]:
    """Places of `count` new lesions in the parse as it is now, apart from each other and from what is there.

    The organ is drawn with weight `PRIOR` plus `A_LESION` for every lesion of the patient in it; a second site of the
    same seed does not move the first. A new lesion has the name of those beside it in that organ.

    Example:
        >>> from synth.volume import Geometry
        >>> liver = Mask.from_box((20, 20, 20), (2, 2, 2), np.ones((16, 16, 16), bool))
        >>> grid = Geometry.regular((20, 20, 20), 4.0)
        >>> parse = Parse([Entity(id="liver", name="liver")], geometry=grid, masks={"liver": liver})
        >>> [(s.entity.id, s.entity.name, s.host) for s in birth_sites(parse, 2, seed=1)]
        [('new-1', 'liver_metastasis', 'liver'), ('new-2', 'liver_metastasis', 'liver')]
    """
    rng = np.random.default_rng([seed, 5])
    weights = _weights(parse)
    sites: list[Site] = []
    for number in range(1, count + 1):
        draw, place = float(rng.random()), int(rng.integers(2**31))
        site = _site(parse, _fresh_id(parse, number), weights, draw, place)
        parse = parse.with_entity(site.entity, site.mask, relations=site.relations)
        sites.append(site)
    return tuple(sites)


def _site(parse: Parse, id: str, weights: dict[str, float], draw: float, seed: int) -> Site:
    """The first organ in the order of the draw that has a free place."""
    for host in _order(weights, draw):
        entity = Entity(id=id, name=_name(parse, host))
        site = Site(entity, host, None)
        try:
            placed = place_undrawn(
                _only(parse, host).with_entity(entity, relations=site.relations),
                seed,
                diameter_mm=seen_mm(parse.geometry),
            )
        except InputError:
            continue  # no room for another in this organ
        return Site(entity, host, placed.masks[id])
    lesions = [e.name for e in parse.entities if _is_lesion(e)]
    return Site(Entity(id=id, name=lesions[0] if lesions else "metastasis"), None, None)


def seen_mm(geometry: Geometry) -> float:
    """The diameter at which a lesion is first seen on this grid."""
    return max(SEEN_MM, 2.0 * max(geometry.spacing_mm))


def _only(parse: Parse, host: str) -> Parse:
    """The host and the findings: all that placing looks at, so that no other undrawn finding is placed as well."""
    kept = [e for e in parse.entities if e.id == host or (e.kind is Kind.finding and e.id in parse.masks)]
    masks = {e.id: parse.masks[e.id] for e in kept}
    return Parse(kept, geometry=parse.geometry, masks=masks)


def _order(weights: dict[str, float], draw: float) -> list[str]:
    """The organ that the draw falls on, then the others by weight."""
    if not weights:
        return []
    total = np.cumsum(list(weights.values()))
    first = list(weights)[int(np.searchsorted(total, draw * total[-1], side="right"))]
    return [first, *sorted((w for w in weights if w != first), key=lambda w: (-weights[w], w))]


def _weights(parse: Parse) -> dict[str, float]:
    """Weight of each drawn organ; those of one name family share the prior by volume."""
    families: dict[str, list[Entity]] = {}
    for entity in parse.entities:
        family = _family(entity)
        if family is not None and entity.id in parse.masks:
            families.setdefault(family, []).append(entity)
    weights = {
        entity.id: PRIOR[family] * parse.masks[entity.id].voxels / sum(parse.masks[m.id].voxels for m in members)
        for family, members in families.items()
        for entity in members
    }
    for lesion, host in _hosted(parse):
        if host in parse.masks and _is_host(parse, lesion, host):
            weights[host] = weights.get(host, 0.0) + A_LESION
    return weights


def _family(entity: Entity) -> str | None:
    """The organ of the prior that this is, or is a part of where the whole is not drawn as one (lobes of the lung)."""
    if entity.kind not in (Kind.organ, Kind.substructure):
        return None
    whole = VOCABULARY.whole(entity.name) if entity.kind is Kind.substructure else None
    names = (entity.name,) if whole is None else (whole,)
    found = next((f for f in PRIOR for n in names if VOCABULARY.is_a(n, f)), None)
    return found if whole is None or found == "lung" else None


def _hosted(parse: Parse) -> Iterator[tuple[str, str]]:
    for relation in parse.relations:
        if relation.type == "located_in" and _is_lesion(parse.entity(relation.subject)):
            yield relation.subject, relation.object


def _is_host(parse: Parse, lesion: str, host: str) -> bool:
    """An organ, or a part where the lesion has no organ."""
    if parse.entity(host).kind is Kind.organ:
        return True
    organs = [h for other, h in _hosted(parse) if other == lesion and parse.entity(h).kind is Kind.organ]
    return parse.entity(host).kind is Kind.substructure and not organs


def _is_lesion(entity: Entity) -> bool:
    return entity.kind is Kind.finding and VOCABULARY.is_a(entity.name, "lesion")


def _name(parse: Parse, host: str) -> str:
    beside = [parse.entity(lesion).name for lesion, where in _hosted(parse) if where == host]
    family = _family(parse.entity(host))
    return beside[0] if beside else _METASTASES.get(family or "", "metastasis")


def _fresh_id(parse: Parse, number: int) -> str:
    taken = {id.casefold() for id in parse.ids}
    id = f"new-{number}"
    while id in taken:
        id = f"{id}-b"
    return id
