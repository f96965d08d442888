"""Does a small critic, trained on injected faults, add to what the audit knows? It does not (docs/decisions/0024).

    python benchmarks/critic.py DATA CACHE [--patients 24] [--reported 32] [--resized 8]

DATA: a folder laid out like openkbp.

A 3D network sees a claim and its counterfactual (`critic_claims.py`, `critic_net.py`) and learns from training patients
whether a mask is right, untouched or jittered, or moved. `fused` is the audit of tier 1 as shipped, `direct` the
decoder's evidence and `histogram` the organ's HU alone, `critic` the network alone, `fused and critic` a logistic model
of two scores; `refitted` is the audit's fusion fitted anew on its own features, `refitted and critic` the same with the
critic's logit as one more feature. These are fitted on the last 26 training patients, which neither the decoder nor the
critic learned from: reported there in folds over patients (`split: selection`; the shipped fusion has seen them), and
on validation patients. `auroc_gain` is the difference to `against`, patients resampled. Six reference masks of the
validation patients that are wrong are left out, and so is the mandible, which every method tells. Dilated and eroded
masks are a family that the critic did not learn from.

Claims and weights are kept in CACHE; stopped, it goes on where it was. Writes `critic.json` beside this file.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from critic_claims import Asker, Seen, Told, collect, read
from critic_net import Critic, asked, fit
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from synth.benchmark.extents import TRUE
from synth.benchmark.faults import read_reference_errors
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.separation import auroc
from synth.decoder import DirectDecoder
from synth.decoder.checkpoint import weights_folder
from synth.interop.openkbp import patient_folders
from synth.residual import AuditModel
from synth.residual.fusion import Fusion
from synth.training.cases import HELD_OUT

HERE = Path(__file__).resolve().parent
FOLDS = 5
SEED = 0


@dataclass(frozen=True, eq=False)
class Scored:
    """Claims of one kind about some patients, and every method's scores, higher is more believable."""

    told: Sequence[Told]
    scores: Mapping[str, NDArray[np.float64]]

    def chosen(self, keep: Sequence[bool]) -> Scored:
        """Some of the claims."""
        kept = np.asarray(keep, bool)
        told = [t for t, k in zip(self.told, keep, strict=True) if k]
        return Scored(told, {m: s[kept] for m, s in self.scores.items()})

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return np.array([t.family != TRUE for t in self.told])

    @property
    def cases(self) -> NDArray[np.str_]:
        return np.array([t.case for t in self.told])


def scored(seen: Sequence[Seen], critic: Critic) -> Scored:
    """What the audit and the critic say of these claims."""
    told = [s.told for s in seen]
    scores = {
        "fused": np.array([t.score for t in told]),
        "direct": np.array([t.features["decoder_evidence"] for t in told]),
        "histogram": np.array([t.features["prior_core"] for t in told]),
        "critic": asked(critic, seen),
    }
    return Scored(told, scores)


def fused_with_critic(fitted: Scored, of: Scored) -> NDArray[np.float64]:
    """Log-odds of a logistic model of two scores, both labels weighing the same."""

    def pairs(some: Scored) -> NDArray[np.float64]:
        return np.stack([some.scores["fused"], some.scores["critic"]], axis=1)

    model = LogisticRegression(C=10.0, class_weight="balanced").fit(pairs(fitted), ~fitted.wrong)
    return np.asarray(model.decision_function(pairs(of)))


def refitted(fitted: Scored, of: Scored, *, critic: bool) -> NDArray[np.float64]:
    """The audit's fusion, fitted anew on its own features, and with the critic's logit as one more."""

    def rows(some: Scored) -> list[dict[str, float]]:
        more = [{"critic": float(v)} if critic else {} for v in some.scores["critic"]]
        return [{**t.features, **m} for t, m in zip(some.told, more, strict=True)]

    fusion = Fusion.fit(rows(fitted), list(~fitted.wrong), [t.name for t in fitted.told])
    return np.array([fusion.score(r, t.name) for r, t in zip(rows(of), of.told, strict=True)])


FITTED: Mapping[str, Callable[[Scored, Scored], NDArray[np.float64]]] = {
    "fused and critic": fused_with_critic,
    "refitted": partial(refitted, critic=False),
    "refitted and critic": partial(refitted, critic=True),
}
AGAINST = {"critic": "fused", "fused and critic": "fused", "refitted and critic": "refitted"}


def crossed(of: Scored) -> Scored:
    """The claims with the scores of every fitted method, each from a fit that has not seen its patient."""
    fold = np.unique(of.cases, return_inverse=True)[1] % FOLDS
    scores = {method: np.zeros(len(fold)) for method in FITTED}
    for k in range(FOLDS):
        others, own = of.chosen(list(fold != k)), of.chosen(list(fold == k))
        for method, fit_and_score in FITTED.items():
            scores[method][fold == k] = fit_and_score(others, own)
    return Scored(of.told, {**of.scores, **scores})


def transferred(fitted: Scored, of: Scored) -> Scored:
    """The claims with the scores of every method fitted on others."""
    return Scored(of.told, {**of.scores, **{m: f(fitted, of) for m, f in FITTED.items()}})


def rows_of(of: Scored, group: Mapping[str, str]) -> Iterator[Row]:
    """AUROC by family and severity, pooled over organs, and what the critic adds."""
    for family, severity in sorted({(t.family, t.severity) for t in of.told if t.family != TRUE}):
        part = of.chosen([(t.family, t.severity) in ((TRUE, TRUE), (family, severity)) for t in of.told])
        about = {**group, "family": family, "distance" if family == "moved" else "severity": severity}
        for method in part.scores:
            yield row(part, about, method, None)
        for method, base in AGAINST.items():
            yield row(part, {**about, "against": base}, method, base)


def row(of: Scored, group: Mapping[str, str], method: str, base: str | None) -> Row:
    """One AUROC, or how much higher it is than a baseline's, with its interval."""
    wrong, cases = of.wrong, of.cases
    members = [np.flatnonzero(cases == c) for c in np.unique(cases)]

    def measure(drawn: Sequence[NDArray[np.int64]]) -> float:
        pick = np.concatenate(drawn)
        if wrong[pick].all() or not wrong[pick].any():
            return float("nan")
        value = auroc(wrong[pick], of.scores[method][pick])
        return value - (0.0 if base is None else auroc(wrong[pick], of.scores[base][pick]))

    ends = bootstrap_interval(members, measure, rng=np.random.default_rng(0), draws=500)
    metric = "auroc" if base is None else "auroc_gain"
    return Row(dict(group), method, metric, measure(members), ends.low, ends.high, int(wrong.sum()))


def trained(path: Path, practice: Callable[[], list[Seen]]) -> Critic:
    """The critic, from the cache where it is there."""
    if not path.exists():
        weights = fit(practice(), seed=SEED).state_dict()
        save_file({k: v.contiguous() for k, v in weights.items()}, path)
    critic = Critic()
    critic.load_state_dict(load_file(path))
    return critic


def main() -> None:
    """Ask, train, weigh, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--patients", type=int, default=24, help="that the critic learns from")
    parser.add_argument("--reported", type=int, default=32, help="validation patients")
    parser.add_argument("--resized", type=int, default=8, help="patients whose masks are dilated and eroded")
    given = parser.parse_args()
    started = time.monotonic()
    asker = Asker(DirectDecoder.from_pretrained(), AuditModel.load(weights_folder("audit")))
    folders = patient_folders(given.data / "train")
    learned = list(folders[:-HELD_OUT])
    random.Random(SEED).shuffle(learned)

    def claims(kind: str, of: Sequence[Path]) -> list[Seen]:
        collect(of, kind, given.cache / kind, asker)
        return [seen for folder in of for seen in read(given.cache / kind / f"{folder.name}.npz")]

    name = f"critic-{given.patients}.safetensors"
    critic = trained(given.cache / name, lambda: claims("practice", learned[: given.patients]))
    selection = scored(claims("near", folders[-HELD_OUT:]), critic)
    rows = list(rows_of(crossed(selection), {"arena": "openkbp", "split": "selection"}))
    errors = {(e.patient, e.organ) for e in read_reference_errors(HERE / "openkbp-reference-errors.csv")}
    validation = patient_folders(given.data / "validation")
    for kind, count in (("presence", given.reported), ("resized", given.resized)):
        right = [s for s in claims(kind, validation[:count]) if (s.told.case, s.told.name) not in errors]
        about = {"arena": "openkbp", "split": "validation", "reference": "checked"}
        rows += rows_of(transferred(selection, scored(right, critic)), about) if right else []
    asked_for = {"patients": given.patients, "reported": given.reported, "resized": given.resized}
    options = " ".join(f"--{name} {value}" for name, value in asked_for.items())
    command = f"python benchmarks/critic.py {given.data.name} CACHE {options}"
    weights = {"direct": asker.decoder.weights_sha256, "audit": asker.model.sha256}
    result = BenchmarkResult("critic", command, weights, time.monotonic() - started, tuple(rows))
    (HERE / "critic.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
