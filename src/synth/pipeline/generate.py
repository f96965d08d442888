"""Synthetic training pairs: phantom patients as an nnU-Net v2 raw dataset and as bundles, resumable and reproducible.

DIR/dataset.json                     channels, labels, number of cases
DIR/imagesTr/case00000_0000.nii.gz   the CT, marked synthetic in its header
DIR/labelsTr/case00000.nii.gz        one value a voxel, in the order of `LABEL_ORDER`
DIR/bundles/case00000/               the whole parse: overlapping masks, attributes, relations
DIR/records/case00000.json           written last: seed, spec and hash of each file; a case without it is made again
DIR/manifest.json                    all records, with the configuration and the generator's version
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.parse import Parse, save_bundle
from synth.phantom import GENERATOR, Phantom, make
from synth.phantom.names import LABEL_ORDER
from synth.volume import write_bytes, write_labels, write_volume

MAX_CASES = 100_000
NOTICE = "Synthetic images made by a procedural generator. They show no real patient."
_FOLDERS = ("imagesTr", "labelsTr", "bundles", "records")


@dataclass(frozen=True)
class GenerateConfig:
    """What decides the bytes of every case; case i is patient `seed + i`."""

    seed: int = 0
    spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0)
    shape: tuple[int, int, int] | None = None
    generator: str = GENERATOR

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**53:
            raise InputError("seed", expected="0 to 2^53", got=str(self.seed), fix="choose another seed")
        if not all(0.5 <= s <= 20 for s in self.spacing_mm):
            got = " ".join(f"{s:g}" for s in self.spacing_mm)
            raise InputError("spacing", expected="0.5 to 20 mm", got=got, fix="change the spacing")
        if self.shape is not None and not all(8 <= n <= 1024 for n in self.shape):
            raise InputError("shape", expected="8 to 1024 voxels each way", got=str(self.shape), fix="change the shape")


@dataclass(frozen=True)
class Generated:
    """Outcome of a run: how many cases it made and how many were there already."""

    folder: Path
    made: int
    kept: int


def generate(
    count: int, folder: str | Path, config: GenerateConfig | None = None, *, advance: Callable[[], None] = lambda: None
) -> Generated:
    """Bring `folder` to `count` cases; `advance` is called after each.

    A run that was stopped goes on where it was, and the folder ends up the same, byte for byte, as without the stop.
    One process at a time may write to a folder. Raises `InputError` when the folder was made with another configuration
    or holds more cases than `count`.
    """
    config, target = config or GenerateConfig(), Path(folder)
    if not 1 <= count <= MAX_CASES:
        raise InputError("number of cases", expected=f"1 to {MAX_CASES:,}", got=str(count), fix="change -n")
    _claim(target, config, count)
    _sweep(target)
    made = 0
    for index in range(count):
        if not _is_whole(target, case_name(index)):
            _write_case(target, index, config)
            made += 1
        advance()
    _write_json(target / "dataset.json", dataset_json(count))
    records = [json.loads(_record(target, case_name(i)).read_text()) for i in range(count)]
    _write_json(target / "manifest.json", {**_header(config), "cases": records})
    return Generated(target, made, count - made)


def case_name(index: int) -> str:
    """The name of a case, of one length so that names sort as numbers do.

    Example:
        >>> case_name(7)
        'case00007'
    """
    return f"case{index:05d}"


def dataset_json(count: int) -> dict[str, Any]:
    """nnU-Net v2's description of the dataset."""
    labels = {"background": 0} | {name: value for value, name in enumerate(LABEL_ORDER, start=1)}
    return {
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": count,
        "file_ending": ".nii.gz",
        "name": "synth phantoms",
        "description": NOTICE,
    }


def label_map(parse: Parse) -> NDArray[np.uint8]:
    """One value a voxel (X, Y, Z): where masks overlap, the entity that is later in `LABEL_ORDER`."""
    value = {name: i for i, name in enumerate(LABEL_ORDER, start=1)}
    drawn = [(value[parse.entity(id).name], id) for id in parse.masks if parse.entity(id).name in value]
    out = np.zeros(parse.geometry.shape, np.uint8)
    for number, id in sorted(drawn):
        mask = parse.masks[id]
        out[mask.slices][mask.box] = number
    return out


def save_phantom(phantom: Phantom, folder: str | Path) -> tuple[Path, ...]:
    """Write one patient to a new folder: `image.nii.gz` (further phases: `image_PHASE.nii.gz`), bundle, manifest."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(str(target), expected="a new folder", got="one that exists", fix="choose another folder")
    files = [target / "image.nii.gz"]
    write_volume(phantom.image, files[0], synthetic=_mark(phantom))
    for phase, volume in phantom.phases.items():
        if phase != phantom.spec.phase:
            files.append(target / f"image_{phase}.nii.gz")
            write_volume(volume, files[-1], synthetic=_mark(phantom))
    save_bundle(phantom.parse, target / "bundle")
    record = _facts(phantom, target, files + sorted((target / "bundle").rglob("*.*")))
    _write_json(target / "manifest.json", {"generator": GENERATOR, "synthetic": True, "notice": NOTICE, **record})
    return (*files, target / "bundle", target / "manifest.json")


def _mark(phantom: Phantom) -> str:
    return f"{GENERATOR} seed {phantom.seed}"


def _header(config: GenerateConfig) -> dict[str, Any]:
    return {"synthetic": True, "notice": NOTICE, "config": json.loads(json.dumps(asdict(config)))}


def _claim(target: Path, config: GenerateConfig, count: int) -> None:
    """Make the folder this run's, or refuse it when something else is in it."""
    wanted, path = _header(config), target / "config.json"
    if path.is_file():
        if json.loads(path.read_text()) != wanted:
            raise InputError(
                str(target),
                expected="the configuration of its config.json",
                got="another seed, grid or version",
                fix="repeat the first command, or choose a new folder",
            )
        there = len(list((target / "records").glob("case*.json")))
        if there > count:
            raise InputError(
                "number of cases", expected=f"at least the {there} there are", got=str(count), fix="raise -n"
            )
        return
    if target.exists() and (
        not target.is_dir() or any(p for p in target.iterdir() if not p.name.startswith(".config.json."))
    ):
        raise InputError(
            str(target), expected="a new folder or one to resume", got="other files", fix="choose a new folder"
        )
    _write_json(path, wanted)


def _sweep(target: Path) -> None:
    """Remove the temporary files that a killed run left behind."""
    for folder in (target, *(target / name for name in _FOLDERS)):
        for left in folder.glob(".*") if folder.is_dir() else ():
            _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            _remove(inner)
        path.rmdir()
    else:
        path.unlink()


def _record(target: Path, name: str) -> Path:
    return target / "records" / f"{name}.json"


def _is_whole(target: Path, name: str) -> bool:
    """The record is there, and each file that it lists has its hash."""
    record = _record(target, name)
    if not record.is_file():
        return False
    files = json.loads(record.read_text())["files"]
    return all((target / file).is_file() and _hash(target / file) == digest for file, digest in files.items())


def _write_case(target: Path, index: int, config: GenerateConfig) -> None:
    name = case_name(index)
    phantom = make(config.seed + index, spacing_mm=config.spacing_mm, shape=config.shape)
    image, labels = target / "imagesTr" / f"{name}_0000.nii.gz", target / "labelsTr" / f"{name}.nii.gz"
    write_volume(phantom.image, image, synthetic=_mark(phantom))
    write_labels(label_map(phantom.parse), phantom.parse.geometry, labels)
    bundle = target / "bundles" / name
    if bundle.is_dir():
        _remove(bundle)
    save_bundle(phantom.parse, bundle)
    files = [image, labels, *sorted(p for p in bundle.rglob("*") if p.is_file())]
    _write_json(_record(target, name), {"case": name, **_facts(phantom, target, files)})


def _facts(phantom: Phantom, target: Path, files: list[Path]) -> dict[str, Any]:
    hashes = {path.relative_to(target).as_posix(): _hash(path) for path in files}
    return {
        "seed": phantom.seed,
        "image_sha256": phantom.image.sha256(),
        "spec": phantom.spec.to_json(),
        "files": hashes,
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, payload: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(payload, indent=1) + "\n").encode())
