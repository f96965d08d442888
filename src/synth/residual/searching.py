"""How the search for what a parse leaves out is fitted: complete parses, and the same less one finding.

Outlines are jittered in all of them, as those of a parser are: with exact ones nothing but findings would stand out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from synth.contracts import Decoder, EncodedImage
from synth.fault import jittered
from synth.parse import Kind, Parse
from synth.residual.fusion import Fusion
from synth.residual.held_out import render_held_out
from synth.residual.hosts import NOT_JUDGED
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.missing import Tried, attempt, find
from synth.volume import Mask

FOLDS = 5
FOUND_DICE = 0.2
COMPLETE = -1  # stands for the number of the finding that was left out
NOTHING_FOUND = -20.0  # score of the most suspicious region where the search brought up none

Key = tuple[str, int]
"""The case, and which of its findings was left out."""


@dataclass(frozen=True, eq=False)
class CandidateSample:
    """A region that the search brought up in some site, and whether a finding had been left out there."""

    case: str
    name: str
    site: str
    truth: bool
    features: Mapping[str, float]


Groups = Mapping[Key, Sequence[CandidateSample]]


@dataclass(frozen=True, eq=False)
class Searched:
    """One image, prepared to be searched under several parses."""

    name: str
    decoder: Decoder
    encoded: EncodedImage
    body: Mask
    prior: IntensityPrior
    generator: torch.Generator

    def groups(self, parse: Parse, rng: np.random.Generator, deletions: int) -> dict[Key, list[CandidateSample]]:
        """Search the complete parse, then the parse less one finding at a time; `parse` is correct and on the grid."""
        rough = jittered(parse, rng)
        out = {(self.name, COMPLETE): [self._sample(t, None) for t in self._search(rough)]}
        findings = [i for i in parse.present_ids if parse.entity(i).kind is Kind.finding]
        for number, gone in enumerate(map(str, rng.permutation(findings)[:deletions])):
            tried = self._search(rough.without(gone))
            out[self.name, number] = [self._sample(t, parse.masks[gone]) for t in tried]
        return out

    def _search(self, parse: Parse) -> list[Tried]:
        held_out = render_held_out(self.decoder, self.encoded, parse, self.body, generator=self.generator)
        found = find(self.encoded.image, parse, held_out, self.prior)
        tried = (attempt(c, self.decoder, self.encoded, parse, self.prior, generator=self.generator) for c in found)
        return [t for t in tried if t is not None]

    def _sample(self, tried: Tried, gone: Mask | None) -> CandidateSample:
        there = gone is not None and tried.candidate.mask.dice(gone) >= FOUND_DICE
        return CandidateSample(self.name, tried.name, tried.site, there, tried.features)


def fit_search(groups: Groups) -> tuple[Fusion | None, tuple[float, ...]]:
    """The fusion over candidates, and the highest cross-fitted score of each complete parse."""
    rows = [c for group in groups.values() for c in group]
    if {c.truth for c in rows} != {True, False}:
        return None, ()
    folds = folds_of(c.case for c in rows)
    everything = _fit(rows)
    most = []
    for k in sorted(set(folds.values())):
        others = [c for c in rows if folds[c.case] != k]
        fusion = _fit(others) if {c.truth for c in others} == {True, False} else everything
        complete = [group for (case, gone), group in groups.items() if gone < 0 and folds.get(case, 0) == k]
        most += [most_suspicious(group, partial(_score, fusion)) for group in complete]
    return everything, tuple(most)


def most_suspicious(found: Iterable[CandidateSample], score: Callable[[CandidateSample], float]) -> float:
    """The highest score of a search, among the sites where regions are judged."""
    return max((score(c) for c in found if c.site not in NOT_JUDGED), default=NOTHING_FOUND)


def folds_of(cases: Iterable[str]) -> dict[str, int]:
    """Each case's fold, the same whatever their order.

    Example:
        >>> folds_of(["b", "a", "b"])
        {'a': 0, 'b': 1}
    """
    return {case: k % FOLDS for k, case in enumerate(sorted(set(cases)))}


def _score(fusion: Fusion, of: CandidateSample) -> float:
    return fusion.score(of.features, of.site)


def _fit(chosen: Sequence[CandidateSample]) -> Fusion:
    return Fusion.fit([c.features for c in chosen], [c.truth for c in chosen], [c.site for c in chosen], l2=0.1)
