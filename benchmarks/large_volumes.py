"""Memory, seconds and seams of renders of large volumes under a memory bound.

    python benchmarks/large_volumes.py WORK

Writes `large-volumes.json` beside this file. Each volume is drawn in a process of its own, whose peak resident memory
is read from the kernel; WORK keeps the parses and the images. The seam is the step across the borders of the tiles less
the step elsewhere, both of tiled less untiled, in a volume that fits untiled.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import synth
from synth.benchmark.result import BenchmarkResult, Row
from synth.decoder import LatentDecoder
from synth.interop import with_tissues
from synth.parse import Parse
from synth.volume import Geometry

SPACING_MM = 4.0
STEPS = 1
SMALL, LARGE = (128, 128, 128), (256, 256, 160)
BOUND_GB, SMALL_BOUND_GB = 2.0, 0.5
HERE = Path(__file__).resolve().parent


def scene(shape: tuple[int, int, int]) -> Parse:
    """Phantoms side by side until the volume is full."""
    made = synth.make_phantom(3, spacing_mm=(SPACING_MM,) * 3)
    parse = with_tissues(made.parse, made.image)
    masks: dict[str, np.ndarray] = {}
    for id in parse.present_ids:
        if parse.entity(id).kind != "target":
            tile = parse.mask(id).dense()
            count = [-(-n // m) for n, m in zip(shape, tile.shape, strict=True)]
            masks[id] = np.tile(tile, count)[: shape[0], : shape[1], : shape[2]]
    kept = {id: synth.Mask.from_dense(dense) for id, dense in masks.items() if dense.any()}
    entities = [parse.entity(id) for id in kept]
    return Parse(entities, geometry=Geometry.regular(shape, SPACING_MM), masks=kept, circumstance=parse.circumstance)


def draw(shape: tuple[int, int, int], max_memory_gb: float | None, output: Path) -> dict[str, float]:
    """One render in this process; seconds and peak memory."""
    import resource

    parse = scene(shape)
    pipeline = synth.RenderPipeline.from_pretrained("latent")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    drawn = pipeline(parse, steps=STEPS, max_memory_gb=max_memory_gb)
    seconds = time.perf_counter() - started
    np.save(output, drawn.images[0].array)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_gb": peak / 2**20, "before_gb": before / 2**20}


def seam(tiled: np.ndarray, whole: np.ndarray) -> dict[str, float]:
    """How far a tiled render is from an untiled one, and how that jumps from voxel to voxel."""
    difference = np.abs(tiled - whole)
    steps = np.concatenate([np.abs(np.diff(tiled - whole, axis=k)).ravel() for k in range(3)])
    own = np.concatenate([np.abs(np.diff(whole, axis=k)).ravel() for k in range(3)])
    return {
        "difference_mean_hu": float(difference.mean()),
        "difference_p999_hu": float(np.quantile(difference, 0.999)),
        "step_p999_hu": float(np.quantile(steps, 0.999)),
        "step_of_the_image_p999_hu": float(np.quantile(own, 0.999)),
    }


def main() -> None:
    """Run every case in a process of its own and write the table."""
    if len(sys.argv) == 5:
        shape = tuple(int(n) for n in sys.argv[2].split("x"))
        bound = float(sys.argv[3]) or None
        sys.stdout.write(json.dumps(draw((shape[0], shape[1], shape[2]), bound, Path(sys.argv[4]))))
        return
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    rate, started = 0.0, time.monotonic()

    def add(group: dict[str, str], metric: str, value: float) -> None:
        rows.append(Row(group, "ours", metric, value, math.nan, math.nan, 1))

    for shape, bound in ((SMALL, 0.0), (SMALL, SMALL_BOUND_GB), (LARGE, BOUND_GB)):
        size = "x".join(str(n) for n in shape)
        group = {"shape": size, "max_memory_gb": f"{bound:g}" if bound else "none", "steps": str(STEPS)}
        command = [sys.executable, __file__, str(work), size, str(bound), str(work / f"{size}-{bound:g}.npy")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
        found = json.loads(done.stdout)
        for metric, value in found.items():
            add(group, metric, value)
        rate = math.prod(shape) / found["seconds"]
        sys.stderr.write(f"{group} {found}\n")
    size = "x".join(str(n) for n in SMALL)
    pair = (np.load(work / f"{size}-{bound:g}.npy") for bound in (SMALL_BOUND_GB, 0.0))
    for metric, value in seam(*pair).items():
        add({"shape": size, "max_memory_gb": f"{SMALL_BOUND_GB:g}", "steps": str(STEPS)}, metric, value)
    add({"shape": "512x512x300", "steps": str(STEPS)}, "seconds_estimated", 512 * 512 * 300 / rate)
    result = BenchmarkResult(
        benchmark="large-volumes",
        command="python benchmarks/large_volumes.py WORK",
        weights={"latent": LatentDecoder.from_pretrained().weights_sha256},
        seconds=time.monotonic() - started,
        rows=tuple(rows),
    )
    (HERE / "large-volumes.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
