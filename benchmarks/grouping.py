"""What asking about several entities in one pass could save, in voxels that the network is run over.

    python benchmarks/grouping.py

The phantom of `audit_speed.py`, its parse thinned to 5 to 117 entities. An entity's box is the region that the decoders
look at, hole, margin and context; entities can share a pass where the hidden region of none reaches into the box of
another. Everything is counted in whole images, a hypothesis each:

    alone     the sum of the boxes, as the audit asks
    shared    entities in as few passes as the largest-first rule finds, over the union of each group's boxes
    passes    the same, each pass over the whole image: the number of groups

Writes grouping.json.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from audit_speed import COUNTS, patient, thinned

from synth.benchmark.result import BenchmarkResult, Row
from synth.contracts import Box
from synth.decoder.holes import CONTEXT_VOXELS, hole_around
from synth.parse import Parse
from synth.residual.verdict import MIN_VOXELS

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Count, and write the table."""
    started, phantom = time.monotonic(), patient()
    rows: list[Row] = []
    for count in COUNTS:
        boxes = boxes_of(thinned(phantom.parse, count))
        whole, groups = math.prod(-(-n // 8) * 8 for n in phantom.image.shape), grouped(boxes)
        alone = sum(voxels(b) for b in boxes)
        shared = sum(union([boxes[i] for i in group]) for group in groups)
        group = {"entities": str(count), "boxes": str(len(boxes))}
        for method, images in (("alone", alone / whole), ("shared", shared / whole), ("passes", float(len(groups)))):
            rows.append(Row(group, method, "whole_images", round(images, 3), math.nan, math.nan, 1))
    took = time.monotonic() - started
    result = BenchmarkResult("grouping", "python benchmarks/grouping.py", {}, took, tuple(rows))
    (HERE / "grouping.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def boxes_of(parse: Parse) -> list[Box]:
    """Of every entity that can be checked."""
    return [hole_around(m).box for i, m in parse.masks.items() if i in parse.present_ids and m.voxels >= MIN_VOXELS]


def grouped(boxes: Sequence[Box]) -> list[list[int]]:
    """The largest first, each into the first group that it does not disturb."""
    hidden = [tuple(slice(s.start + CONTEXT_VOXELS, s.stop - CONTEXT_VOXELS) for s in box) for box in boxes]
    groups: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: -voxels(boxes[i])):
        fits = (g for g in groups if not any(meet(hidden[i], boxes[j]) or meet(boxes[i], hidden[j]) for j in g))
        group = next(fits, None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    return groups


def meet(one: Sequence[slice], other: Sequence[slice]) -> bool:
    """Whether two boxes share a voxel."""
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def voxels(box: Box) -> int:
    """In the box."""
    return math.prod(s.stop - s.start for s in box)


def union(boxes: Sequence[Box]) -> int:
    """Voxels in any of them."""
    low = np.min([[s.start for s in b] for b in boxes], axis=0)
    high = np.max([[s.stop for s in b] for b in boxes], axis=0)
    seen = np.zeros(high - low, np.bool_)
    for box in boxes:
        seen[tuple(slice(s.start - a, s.stop - a) for s, a in zip(box, low, strict=True))] = True
    return int(seen.sum())


if __name__ == "__main__":
    main()
