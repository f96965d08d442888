"""Fit in which order the search tries candidates (src/synth/residual/search.json): phantoms with one lesion left out.

    python benchmarks/search_fit.py [--phantoms 60]

Outlines are jittered, as those of a parser are. No decoder is asked about a candidate; the held-out render is the
direct decoder's. A candidate is right where it lies on the lesion that was left out. Prints how many lesions of each
size are among the first ten, cross-fitted over the phantoms, and how many were before, by the residual alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synth.benchmark.verdict_phantoms import draw_truth
from synth.benchmark.verdict_truth import Truth
from synth.benchmark.verdicts import found_at
from synth.contracts import Decoder
from synth.decoder import load_decoder
from synth.pipeline.audit import shipped_model
from synth.residual.candidate import Candidate
from synth.residual.fusion import Fusion
from synth.residual.held_out import render_held_out
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.missing import ORDER, apart, candidates, site_in
from synth.volume import write_bytes
from synth.volume.tissue import body_mask

FIRST_SEED = 89_000  # no other program draws these
FOLDS, FIRST = 5, 10


@dataclass(frozen=True, eq=False)
class Row:
    """A candidate, its features, what it is compared among, whether it is the lesion."""

    candidate: Candidate
    features: dict[str, float]
    site: str
    there: bool


@dataclass(frozen=True, eq=False)
class Search:
    """What a search brought up; the lesion's size, and its HU against its organ."""

    case: int
    size: str
    contrast_hu: float
    found: Sequence[Row]


def searches(seed: int, decoder: Decoder, prior: IntensityPrior) -> Iterator[Search]:
    """One for each lesion of the phantom, that lesion left out."""
    truth = draw_truth(seed, spacing_mm=decoder.spacing_mm)
    encoded, body = decoder.encode(truth.image), body_mask(truth.image)
    for size, lesion in truth.lesions.items():
        parse = truth.parse.without(lesion).without_derived()
        held_out = render_held_out(decoder, encoded, parse, body, generator=torch.Generator().manual_seed(0))
        place = truth.outlines.masks[lesion]
        rows = [
            Row(c, c.features(parse), site_in(parse, c), found_at(c.mask, place))
            for c in candidates(truth.image, parse, held_out, prior)
        ]
        yield Search(seed, size, contrast_of(truth, lesion), rows)


def contrast_of(truth: Truth, lesion: str) -> float:
    """HU of the lesion against the median of its organ."""
    (host,) = (r.object for r in truth.outlines.relations if r.subject == lesion and r.type == "located_in")
    inside, around = (truth.outlines.masks[i].values(truth.image.array) for i in (lesion, host))
    return float(inside.mean() - np.median(around))


def fit(chosen: Sequence[Search]) -> Fusion:
    """The order of candidates."""
    rows = [row for search in chosen for row in search.found]
    return Fusion.fit([r.features for r in rows], [r.there for r in rows], [r.site for r in rows])


def recall(done: Sequence[Search], score: Callable[[Search, Row], float]) -> str:
    """How many visible lesions are among the first few, by size."""
    asked, hit = Counter[str](), Counter[str]()
    for search in done:
        if abs(search.contrast_hu) < 15 or not search.found:
            continue
        ranked = sorted(search.found, key=lambda row: -score(search, row))
        kept = apart((r.candidate for r in ranked), np.zeros(ranked[0].candidate.mask.shape, bool), FIRST)
        right = {id(r.candidate) for r in ranked if r.there}
        asked[search.size] += 1
        hit[search.size] += any(id(c) in right for c in kept)
    return ", ".join(f"{size} {hit[size]}/{asked[size]}" for size in sorted(asked))


def main() -> None:
    """Search, fit, write, and print what is found among the first ten."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--phantoms", type=int, default=60)
    count = parser.parse_args().phantoms
    decoder, prior = load_decoder("direct"), shipped_model().prior
    done: list[Search] = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        done += searches(seed, decoder, prior)
        sys.stderr.write(f"phantom {seed}\n")
    orders = [fit([s for s in done if s.case % FOLDS != k]) for k in range(FOLDS)]
    sys.stdout.write(f"ordered: {recall(done, lambda s, r: orders[s.case % FOLDS].score(r.features, r.site))}\n")
    sys.stdout.write(f"by the residual: {recall(done, lambda _, r: abs(r.candidate.peak))}\n")
    whole = fit(done)
    meta = {"command": f"python benchmarks/search_fit.py --phantoms {count}", "decoder": decoder.weights_sha256}
    data = {**whole.to_json(), "meta": meta}
    write_bytes(ORDER, (json.dumps(data, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
