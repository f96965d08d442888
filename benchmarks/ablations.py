"""What each part of the conditioning and of the loss is worth: the same small network, trained without it.

    python benchmarks/ablations.py --data ../shared/data --phantoms runs/phantoms [--steps 300]

`full` is configs/ct-4mm/flow.toml with a narrower network, from nothing; the others leave one part out: the attributes
or the relations of every parse, the tokens that voxels may ask (what is left is the scattered map: concatenation only),
the region contrast, or the clinical term of the loss. All see the same batches and noise. Scores are those of the last
26 patients of the training split, which are never trained on: `auroc` of true claims against moved ones, `matching` the
flow-matching error, and on the PATIENTS smallest of them the mean render, before it is brought to what is declared:
`psnr`, `d_clin`, and `shuffled`, d_clin with the attributes dealt out anew over d_clin with the true ones.
Writes `ablations.json` beside this file.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_trainings import config_of, log, options, write

from synth.benchmark.controls import shuffled
from synth.benchmark.reconstruction import measure
from synth.benchmark.result import Row, bootstrap_interval
from synth.benchmark.subjects import EVERYTHING, Subject, read_subjects
from synth.decoder import LatentDecoder
from synth.training.cases import HELD_OUT
from synth.training.loop import train
from synth.training.tasks import make_task

WIDTHS = [48, 96, 144]
PATIENTS = 6
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "without attributes": {"without": ("attributes",)},
    "without relations": {"without": ("relations",)},
    "concatenation only": {"without": ("tokens",)},
    "without the region contrast": {"loss": {"contrast": 0.0}},
    "without the clinical term": {"loss": {"clinical": 0.0}},
}


def trained(name: str, asked: argparse.Namespace) -> tuple[Path, dict[str, float]]:
    """The weights folder of one variant and its scores."""
    config = config_of("flow.toml", asked)
    change = VARIANTS[name]
    config = replace(
        config,
        steps=asked.steps,
        start=None,
        cache=asked.cases,
        ema_decay=0.98,
        checkpoint_every=100,
        validate_every=asked.steps,
        model=config.model | {"widths": WIDTHS},
        loss=config.loss | change.get("loss", {}),
        without=change.get("without", ()),
    )
    run: Path = asked.work / name.replace(" ", "-")
    scores = train(make_task(config), config, run, run / "weights", log=lambda row: log(name, row))
    return run / "weights", scores


def pictures(folder: Path, name: str, subjects: list[Subject]) -> list[Row]:
    """PSNR and clinical distance of mean renders."""
    decoder = LatentDecoder.from_pretrained(folder).with_sampling(steps=1, declared=False)
    found: dict[str, list[float]] = {}
    for subject in subjects:
        parse = subject.told(EVERYTHING)
        if name == "without relations":
            parse = parse.replace(relations=())
        other = shuffled(parse, np.random.default_rng(0))
        if name == "without attributes":
            parse = other = parse.replace(attributes=())
        scores = []
        for scene in (parse, other):
            drawn = decoder.render(scene, generator=torch.Generator().manual_seed(0))
            assert drawn.location is not None  # the latent decoder always has one
            scores.append(measure(subject, name, EVERYTHING, drawn.location))
        far = [float(np.mean([s.value for s in some if s.metric == "d_clin" and s.terms == "all"])) for some in scores]
        found.setdefault("psnr", []).append(float(np.mean([s.value for s in scores[0] if s.metric == "psnr"])))
        found.setdefault("d_clin", []).append(far[0])
        found.setdefault("shuffled", []).append(far[1] / far[0])
    rows = []
    for metric, values in found.items():
        interval = bootstrap_interval(values, np.mean, rng=np.random.default_rng(0), draws=500)
        rows.append(
            Row({"arena": "openkbp"}, name, metric, float(np.mean(values)), interval.low, interval.high, len(values))
        )
    return rows


def main() -> None:
    """Train every variant, measure, write the table."""
    asked = options(__doc__, work="runs/ablations", steps=300)
    held_out = read_subjects(Path(asked.data) / "openkbp" / "train", 4.0)[-HELD_OUT:]
    smallest = sorted(held_out, key=lambda s: math.prod(s.image.shape))[:PATIENTS]
    rows, weights = [], {}
    for name in VARIANTS:
        folder, scores = trained(name, asked)
        for key, value in scores.items():
            arena, metric = key.split("/")
            rows.append(Row({"arena": arena}, name, metric, value, math.nan, math.nan, HELD_OUT))
        rows += pictures(folder, name, smallest)
        weights[name] = LatentDecoder.from_pretrained(folder).weights_sha256
    write("ablations", asked, weights, rows)


if __name__ == "__main__":
    main()
