"""Memory, seconds and seams of renders of large volumes under a memory bound.

    python benchmarks/large_volumes.py WORK

Writes `large-volumes.json` beside this file. Each volume is drawn in a process of its own, whose peak resident memory
is read from the kernel; WORK keeps the parses and the images. The seam is the step across the borders of the tiles less
the step elsewhere, both of tiled less untiled, in a volume that fits untiled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import synth
from synth.interop import with_tissues
from synth.parse import Parse
from synth.volume import Geometry, Volume

SPACING_MM = 4.0
STEPS = 1
SMALL, LARGE = (128, 128, 128), (256, 256, 160)
BOUND_GB = 2.0
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


def seam(tiled: Volume | np.ndarray, whole: np.ndarray) -> dict[str, float]:
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
    rows = []
    for shape, bound in ((SMALL, 0.0), (SMALL, 0.5), (LARGE, BOUND_GB)):
        name = f"{'x'.join(str(n) for n in shape)}-{bound:g}.npy"
        command = [sys.executable, __file__, str(work), "x".join(str(n) for n in shape), str(bound), str(work / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
        rows.append({"shape": shape, "max_memory_gb": bound or None, "steps": STEPS, **json.loads(done.stdout)})
        sys.stderr.write(f"{rows[-1]}\n")
    small = "x".join(str(n) for n in SMALL)
    found = seam(np.load(work / f"{small}-0.5.npy"), np.load(work / f"{small}-0.npy"))
    voxels = float(np.prod(LARGE))
    rate = voxels / rows[-1]["seconds"]
    estimate = 512 * 512 * 300 / rate
    result = {
        "benchmark": "large-volumes",
        "command": "python benchmarks/large_volumes.py WORK",
        "rows": rows,
        "seam": found,
        "voxels_per_second": rate,
        "estimated_seconds_512x512x300": estimate,
    }
    (HERE / "large-volumes.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
