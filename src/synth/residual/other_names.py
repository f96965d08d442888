"""An outline that the image does not support under its name: does it support it under another one?

Names are tried that no other entity of the parse has, that were counted in several patients, and that no narrower name
of theirs was counted for. Where the cases that places are known from have the name, the outline must lie near its place
by the other organs; where they lack it, the outline must be about as large, and most other organs of the parse must be
unknown to them as well: a neck has no liver. The population alone ranks the names, voxel by voxel first and then with
everything that a claim is read from; the best one is for the decoder to be asked about.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from synth.parse import VOCABULARY, Kind, Parse
from synth.population import Population
from synth.population.place import centre_of, centres_of, usual_centre
from synth.residual.intensity_prior import CLIP_NATS, CORE, SURROUND, IntensityPrior, bins_of
from synth.residual.judge import Judge
from synth.residual.labels import NEAR_MM
from synth.residual.presence import unaided
from synth.volume import Volume

LEAST_PATIENTS = 8
LARGER = float(np.log(3.0))  # of the usual volume of a name, either way
TRIED = 8  # names that are looked at closely
SURE_NATS, AHEAD_NATS = 2.0, 2.0  # of the other name: its score, and how much more than under the name that is claimed


@dataclass(frozen=True)
class OtherName:
    """The name that fits best, its score and that of the claimed one by the population, nats."""

    name: str
    score: float
    claimed: float


def best_other_name(
    image: Volume, parse: Parse, id: str, prior: IntensityPrior, judge: Judge, population: Population
) -> OtherName | None:
    """The best of the other names by the population alone; None where none is surely better than the claimed one.

    Image and parse share the prior's grid; `judge` is the one that is told nothing by a decoder.
    """
    mask, claimed = parse.masks[id], parse.entity(id).name
    bins = bins_of(mask.values(image.array))

    def core(name: str) -> float:
        table = prior.log_density(name)
        ratio: float = np.clip(table[CORE] - table[SURROUND], -CLIP_NATS, CLIP_NATS)[bins].mean()
        return ratio

    def score(name: str) -> float:
        return unaided(image, renamed(parse, id, name), id, prior, judge)

    names = possible_names(parse, id, prior, judge, population)
    tried = [(score(name), name) for name in sorted(names, key=core, reverse=True)[:TRIED]]
    if not tried:
        return None
    best, name = max(tried)
    own = score(claimed)
    return OtherName(name, best, own) if best >= SURE_NATS and best - own >= AHEAD_NATS else None


def renamed(parse: Parse, id: str, name: str) -> Parse:
    """The parse with one entity called otherwise."""
    return parse.replace(entities=[e.renamed(name) if e.id == id else e for e in parse.entities])


def possible_names(parse: Parse, id: str, prior: IntensityPrior, judge: Judge, population: Population) -> list[str]:
    """Names of organs that the entity could have, by the rest of the parse."""
    held = {e.name for e in parse.entities if e.id != id and e.id in parse.present_ids}
    placed = {name for donor in population.donors for name in donor.places}
    others = [e.name for e in parse.entities if e.id != id and e.kind is Kind.organ and e.id in parse.present_ids]
    elsewhere = 2 * sum(name not in placed for name in others) >= len(others)  # not the body region of the donors
    centres = {name: c for name, c in centres_of(parse).items() if name != parse.entity(id).name}
    here, size = np.asarray(centre_of(parse, id)), float(np.log(parse.masks[id].voxels))

    def fits(name: str) -> bool:
        if name not in placed:
            return elsewhere and abs(_usual_size(judge, name) - size) <= LARGER
        usual = usual_centre(centres, name, population)
        return usual is not None and bool(np.linalg.norm(here - usual[0]) <= NEAR_MM)

    own = parse.entity(id).name
    return [n for n in _narrowest(prior) if n not in held and not VOCABULARY.is_a(n, own) and fits(n)]


def shares_its_name(parse: Parse, id: str) -> bool:
    """Whether another drawn organ has the same name: one of them then lacks its own, or they are one organ in parts."""
    drawn = Counter(parse.entity(i).name for i in parse.present_ids if i in parse.masks)
    return drawn[parse.entity(id).name] > 1


def _narrowest(prior: IntensityPrior) -> list[str]:
    known = [n for n in prior.mass if n in VOCABULARY and VOCABULARY.term(n).kind is Kind.organ]
    counted = [n for n in known if prior.seen(n) >= LEAST_PATIENTS]
    return sorted(n for n in counted if not VOCABULARY.descendants(n) & set(counted))


def _usual_size(judge: Judge, name: str) -> float:
    """Of the logarithm of the number of voxels."""
    mean, _ = judge.presence.usual(name)
    return float(mean[judge.presence.names.index("log_voxels")])
