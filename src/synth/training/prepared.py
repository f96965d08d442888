"""Training cases on disk as a network wants them: resampled and measured once, read when they are drawn.

A folder for each set and way of preparing it, named by a digest of both, so that changed data or settings are prepared
anew. A case is written whole or not at all; a preparation that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synth.conditioning import Codec, Scene
from synth.contracts import Box
from synth.decoder.holes import take
from synth.parse import Parse, load_bundle, save_bundle
from synth.volume import Mask, Volume, write_bytes

INDEX = "cases.json"


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of a whole image.

    Attributes: values: (C, x, y, z) float16, their first voxel at voxel `first` of the image along each axis (a
        multiple of `factor`, negative where air around is encoded too); factor: voxels a side of a latent voxel.
    """

    values: NDArray[np.float16]
    first: int
    factor: int

    def crop(self, box: Box) -> NDArray[np.float32]:
        """(C, x, y, z) over a box of the image whose starts are multiples of `factor`; air where it reaches beyond."""
        f = self.factor
        place: Box = tuple(slice((s.start - self.first) // f, (s.stop - self.first) // f) for s in box)  # type: ignore[assignment]  # 3 long
        corner = np.asarray(self.values[:, 0, 0, 0], np.float32)
        parts = [take(part, place, float(air)) for part, air in zip(self.values, corner, strict=True)]
        return np.stack(parts).astype(np.float32)

    def aligned(self, box: Box) -> Box:
        """The box, moved by less than a latent voxel, so that `crop` can be asked for it."""
        return tuple(_down(s, self.factor) for s in box)  # type: ignore[return-value]  # 3 long


def _down(window: slice, factor: int) -> slice:
    shift = window.start % factor
    return slice(window.start - shift, window.stop - shift)


@dataclass(frozen=True, eq=False)
class Case:
    """One image on the decoder's grid.

    Attributes: name; hu: (X, Y, Z) float32; scene: every entity, with what was declared about it; body: the patient
        without air around; measured: the scene with appearance measured from the image, where that was asked for;
        latents: of `hu`, where they were encoded beforehand.
    """

    name: str
    hu: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    scene: Scene
    body: Mask
    measured: Scene | None = None
    latents: Latents | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """One case before it is put into a checkpoint's indices.

    Attributes: image, parse: on the decoder's grid; body: as in `Case`; measured: the parse with its appearance.
    """

    name: str
    image: Volume
    parse: Parse
    body: Mask
    measured: Parse | None = None

    def case(self, codec: Codec) -> Case:
        """In the indices of a codec."""
        scene = Scene.from_parse(self.parse, codec)
        measured = None if self.measured is None else Scene.from_parse(self.measured, codec, like=scene)
        return Case(self.name, self.image.array, scene, self.body, measured)


class StoredCases(Sequence[Case]):
    """Cases of a folder that `store` wrote, read when they are asked for.

    Args:
        folder: of one set; codec: of the network; keep: how many stay in memory, the last used ones; 0 for all.
    """

    def __init__(self, folder: Path, codec: Codec, keep: int = 0) -> None:
        self.folder, self.codec, self.keep = folder, codec, keep
        self.names = [str(n) for n in json.loads((folder / INDEX).read_text(encoding="utf-8"))]
        self._held: OrderedDict[int, Case] = OrderedDict()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Case:  # type: ignore[override]  # slices are not needed
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        if number not in self._held:
            self._held[number] = _read(self.folder / f"{number:05d}", self.names[number]).case(self.codec)
        self._held.move_to_end(number)
        if self.keep and len(self._held) > self.keep:
            self._held.popitem(last=False)
        return self._held[number]


def store(cases: Iterator[Callable[[], Prepared]], folder: Path) -> None:
    """Prepare and write what is not there yet; `cases` gives a way to prepare each, in order."""
    if (folder / INDEX).exists():
        return
    names = []
    for number, prepare in enumerate(cases):
        place = folder / f"{number:05d}"
        if not place.exists():
            fresh = folder / f"{number:05d}.{os.getpid()}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            _write(prepare(), fresh)
            try:
                fresh.replace(place)
            except OSError:  # another process was faster
                shutil.rmtree(fresh)
        names.append(json.loads((place / "name.json").read_text(encoding="utf-8")))
    if names:
        write_bytes(folder / INDEX, json.dumps(names).encode())


def digest(settings: object, source: Path) -> str:
    """Of the way of preparing, and of the names, sizes and times of the files."""
    told = hashlib.sha256(repr(settings).encode())
    for path in sorted(source.rglob("*")):
        if path.is_file():
            state = path.stat()
            told.update(f"{path.relative_to(source)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return told.hexdigest()[:16]


def _write(prepared: Prepared, folder: Path) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "hu.npy", prepared.image.array)
    np.save(folder / "body.npy", np.packbits(prepared.body.dense()))
    save_bundle(prepared.parse, folder / "parse")
    if prepared.measured is not None:
        save_bundle(prepared.measured, folder / "measured")
    (folder / "name.json").write_text(json.dumps(prepared.name), encoding="utf-8")


def _read(folder: Path, name: str) -> Prepared:
    parse = load_bundle(folder / "parse")
    shape = parse.geometry.shape
    hu = np.load(folder / "hu.npy", allow_pickle=False)
    bits = np.load(folder / "body.npy", allow_pickle=False)
    body = Mask.from_dense(np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool))
    measured = None
    if (folder / "measured").exists():
        measured = load_bundle(folder / "measured")
        measured = measured.replace(masks={i: parse.masks[i] for i in measured.masks})  # the same objects
    return Prepared(name, Volume(hu, parse.geometry, "CT", "HU"), parse, body, measured)
