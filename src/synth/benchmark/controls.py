"""What a render is compared with: images that no network drew, and parses that should draw a worse one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.subjects import EVERY, EVERYTHING, Subject, Told
from synth.conditioning import paste
from synth.parse import Parse
from synth.volume import Mask

REST = "rest of the body"
Image = NDArray[np.float32]


def worse_parses(
    subject: Subject, subjects: Sequence[Subject], rng: np.random.Generator
) -> Iterator[tuple[str, Parse]]:
    """Parses that should draw a worse image."""
    parse = subject.told(EVERYTHING)
    if parse.relations:
        yield "ours_no_relations", parse.replace(relations=())
    yield "ours_shuffled", shuffled(parse, rng)
    others = [s for s in subjects if s.name != subject.name]
    if others:
        yield "ours_other", others[int(rng.integers(len(others)))].told(EVERYTHING)


def shuffled(parse: Parse, rng: np.random.Generator) -> Parse:
    """Every numeric attribute keeps its entity and type and gets the value of another entity."""
    values: dict[str, list[float]] = {}
    for a in parse.attributes:
        if isinstance(a.value, float):
            values.setdefault(a.type, []).append(a.value)
    dealt = {kind: iter(rng.permutation(some).tolist()) for kind, some in values.items()}
    attributes = [
        a.model_copy(update={"value": next(dealt[a.type])}) if isinstance(a.value, float) else a
        for a in parse.attributes
    ]
    return parse.replace(attributes=attributes)


def fitted(image: Image, shape: tuple[int, ...]) -> Image:
    """Cut or filled up with air, centre on centre."""
    out = np.full(shape, -1000.0, np.float32)
    _lay(image, np.array([(n - m) // 2 for n, m in zip(shape, image.shape, strict=True)]), out)
    return out


def mean_fills(
    subject: Subject, own: Mapping[str, float], usual: Mapping[str, float]
) -> Iterator[tuple[tuple[str, Told], Image]]:
    """The mean fill told the truth, and the one told what is usual, where other patients have such entities."""
    for told in EVERY:
        means = own if told.attributes == "measured" else usual
        parse = subject.told(Told(told.tissue, "none"))
        if all(name in means for name in (REST, *_names(parse))):
            yield ("mean_fill", told), mean_fill(parse, means)


def mean_hu(subject: Subject) -> dict[str, float]:
    """Mean HU of every organ and tissue by name, and of what no organ covers (`REST`: within the body)."""
    image = subject.image.array
    rest = subject.body.dense()
    for mask in subject.parse.masks.values():
        rest[mask.slices][mask.box] = False
    means = {REST: float(image[rest].mean())} if rest.any() else {}
    parse = subject.with_tissue
    return means | {parse.entity(i).name: float(parse.masks[i].values(image).mean()) for i in parse.present_ids}


def pooled(means: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over patients of each name that any of them has."""
    names = sorted({name for m in means for name in m})
    return {name: float(np.mean([m[name] for m in means if name in m])) for name in names}


def mean_fill(parse: Parse, means: Mapping[str, float]) -> Image:
    """Each mask filled with the mean HU of its name, smaller masks on larger ones.

    What no mask covers is the rest of the body, or air where the parse holds the body.
    """
    outside = -1000.0 if "body" in _names(parse) else means[REST]
    out = np.full(parse.geometry.shape, outside, np.float32)
    for entity in sorted(parse.present_ids, key=lambda i: -parse.masks[i].voxels):
        mask = parse.masks[entity]
        out[mask.slices][mask.box] = means[parse.entity(entity).name]
    return out


def _names(parse: Parse) -> list[str]:
    return [parse.entity(i).name for i in parse.present_ids]


def nearest_patient(subject: Subject, training: Sequence[Subject]) -> Image:
    """The CT of the training patient whose organs overlap best once the centres of the organs are laid on each other.

    An organ of the subject that the other patient lacks counts as no overlap.
    """
    best, score = None, -1.0
    for other in training:
        shared = [i for i in subject.parse.present_ids if i in other.parse.present_ids]
        if not shared:
            continue
        shift = np.rint(np.mean([_centre(subject, i) - _centre(other, i) for i in shared], axis=0)).astype(int)
        dice = sum(_dice(subject.parse.masks[i], other.parse.masks[i], shift) for i in shared)
        if dice > score:
            best, score = (other, shift), dice
    out = np.full(subject.image.shape, -1000.0, np.float32)
    if best is not None:
        _lay(best[0].image.array, best[1], out)
    return out


def _centre(subject: Subject, organ: str) -> NDArray[np.float64]:
    return np.asarray(subject.parse.masks[organ].centroid_voxel())


def _dice(own: Mask, other: Mask, shift: NDArray[np.int64]) -> float:
    x, y, z = (slice(s.start + int(d), s.stop + int(d)) for s, d in zip(other.slices, shift, strict=True))
    under = np.zeros(other.box.shape, bool)
    paste(own, (x, y, z), under)
    return 2 * int(np.count_nonzero(under & other.box)) / (own.voxels + other.voxels)


def _lay(source: Image, shift: NDArray[np.int64], out: Image) -> None:
    """Copy `source` moved by `shift` voxels onto `out`, where both are."""
    into, take = [], []
    for size, step, room in zip(source.shape, shift, out.shape, strict=True):
        low, high = max(0, int(step)), min(room, size + int(step))
        into.append(slice(low, max(low, high)))
        take.append(slice(low - int(step), max(low, high) - int(step)))
    out[tuple(into)] = source[tuple(take)]
