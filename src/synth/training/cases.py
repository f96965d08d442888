"""Training cases: images with their scene on the decoder's grid.

A set is a folder in one of `LAYOUTS`, or patients that are drawn as they are needed; adding a layout is one function
and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from synth.conditioning import Codec
from synth.errors import InputError
from synth.interop import import_labels, with_tissues
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse, load_bundle
from synth.parse.derive import derive_appearance, derive_relations
from synth.phantom import Phantom, make
from synth.phantom.patients import make_with_lesions
from synth.training.prepared import INDEX, Case, Prepared, StoredCases, digest, store
from synth.training.scanner import another_scanner
from synth.volume import Volume, read_volume, resample
from synth.volume.tissue import body_mask

NOT_PREPARED: dict[str, Any] = {"weight": 1.0, "crop": 0, "batch": 0, "keep": 0}
"""Settings that change nothing in how a case is prepared."""

HELD_OUT = 26  # the last cases of openkbp/train and of the phantoms select models and calibrate; never trained on


@dataclass(frozen=True)
class SetConfig:
    """One training set.

    Attributes:
        layout: a key of `LAYOUTS`; path: its folder; weight: how often a step draws from it, relative to the others.
        crop: side of the cubic crops, voxels; batch: crops a step.
        limit: use the first so many cases only; 0 for all.
        scanners: put every case through another scanner, drawn by its number, so that what is calibrated on few
            machines does not take their sharpness for granted.
        keep: with a cache, how many cases stay in memory, the others are read when they are drawn; 0 for all.
        tissue: add body, fat, bone and air, drawn from the image by threshold, as entities.
        appearance: measure the appearance of every entity, for scenes that no claim is judged in.
        relations: read the spatial relations off the masks, where the set comes without.
    """

    layout: str
    path: str
    weight: float = 1.0
    crop: int = 32
    batch: int = 8
    limit: int = 0
    tissue: bool = False
    appearance: bool = False
    relations: bool = False
    scanners: bool = False
    keep: int = 0


def load_cases(config: SetConfig, codec: Codec, spacing_mm: float, cache: str | None = None) -> Sequence[Case]:
    """All cases of a set, resampled; with a `cache` folder they are prepared there once, and read from it.

    Raises InputError when there is none.
    """
    cases: Sequence[Case]
    if cache is None:
        cases = [
            make_case(
                *read, codec, spacing_mm, tissue=config.tissue, appearance=config.appearance, relations=config.relations
            )
            for read in read_set(config)
        ]
    else:
        folder = Path(cache) / digest((replace(config, **NOT_PREPARED), spacing_mm), Path(config.path))
        folder.mkdir(parents=True, exist_ok=True)
        store((partial(_prepared, config, spacing_mm, read) for read in read_set(config)), folder)
        cases = StoredCases(folder, codec, config.keep) if (folder / INDEX).exists() else []
    if not cases:
        got = f"none for layout {config.layout!r}, which sets {HELD_OUT} aside where it is split"
        raise InputError(config.path, expected="at least one case", got=got, fix="give a larger set")
    return cases


def _prepared(config: SetConfig, spacing_mm: float, read: tuple[str, Volume, Parse]) -> Prepared:
    return prepare(*read, spacing_mm, tissue=config.tissue, appearance=config.appearance, relations=config.relations)


def read_set(config: SetConfig) -> Iterator[tuple[str, Volume, Parse]]:
    """The images and parses of a set, each on its own grid."""
    if config.layout not in LAYOUTS:
        raise InputError("layout", expected=f"one of {sorted(LAYOUTS)}", got=config.layout, fix="correct the config")
    cases = islice(LAYOUTS[config.layout](Path(config.path)), config.limit or None)
    if not config.scanners:
        return cases
    return (
        (name, image.with_array(another_scanner(image.array, np.random.default_rng(k))), parse)
        for k, (name, image, parse) in enumerate(cases)
    )


def make_case(
    name: str,
    image: Volume,
    parse: Parse,
    codec: Codec,
    spacing_mm: float,
    *,
    tissue: bool = False,
    appearance: bool = False,
    relations: bool = False,
) -> Case:
    """Put one image and its parse on the decoder's grid, in the indices of a codec."""
    return prepare(name, image, parse, spacing_mm, tissue=tissue, appearance=appearance, relations=relations).case(
        codec
    )


def prepare(
    name: str,
    image: Volume,
    parse: Parse,
    spacing_mm: float,
    *,
    tissue: bool = False,
    appearance: bool = False,
    relations: bool = False,
) -> Prepared:
    """Put one image and its parse on the decoder's grid."""
    grid = image.geometry.with_spacing(spacing_mm)
    small, parse = resample(image, grid), parse.resampled(grid)
    if relations:
        parse = derive_relations(parse)
    if tissue:
        parse = with_tissues(parse, small)
    measured = derive_appearance(parse, small) if appearance else None
    return Prepared(name, small, parse, body_mask(small), measured)


def _openkbp(folder: Path) -> Iterator[tuple[str, Volume, Parse]]:
    for case in patient_folders(folder)[:-HELD_OUT]:
        patient = read_patient(case)
        yield patient.name, patient.image, patient.parse


def _openkbp_held_out(folder: Path) -> Iterator[tuple[str, Volume, Parse]]:
    for case in patient_folders(folder)[-HELD_OUT:]:
        patient = read_patient(case)
        yield patient.name, patient.image, patient.parse


def _generated(folder: Path) -> Iterator[tuple[str, Volume, Parse]]:
    bundles = _bundles(folder)
    yield from _pairs(folder, bundles[: len(bundles) - _held_out(bundles)])


def _generated_held_out(folder: Path) -> Iterator[tuple[str, Volume, Parse]]:
    bundles = _bundles(folder)
    yield from _pairs(folder, bundles[len(bundles) - _held_out(bundles) :])


def _held_out(bundles: list[Path]) -> int:
    """A small set keeps a quarter aside."""
    return min(HELD_OUT, -(-len(bundles) // 4))


def _bundles(folder: Path) -> list[Path]:
    """The bundles that `synth generate` wrote."""
    if not (folder / "bundles").is_dir():
        fix = "run synth generate first"
        raise InputError(str(folder), expected="a folder of synth generate", got="no bundles in it", fix=fix)
    return sorted(p for p in (folder / "bundles").iterdir() if p.is_dir())


def _pairs(folder: Path, bundles: list[Path]) -> Iterator[tuple[str, Volume, Parse]]:
    for bundle in bundles:
        image = read_volume(folder / "imagesTr" / f"{bundle.name}_0000.nii.gz", modality="CT")
        yield bundle.name, image, load_bundle(bundle)


def _labelled(folder: Path) -> Iterator[tuple[str, Volume, Parse]]:
    """`ct.nii.gz`, `labels.nii.gz` and `labels.txt` with an index and a name a line."""
    image = read_volume(folder / "ct.nii.gz", modality="CT")
    parse = import_labels(
        folder / "labels.nii.gz", source="names", names=folder / "labels.txt", image=image, derive=False
    )
    yield folder.name, image, parse


def _drawn_now(draw: Callable[[int], Phantom], first: Path) -> Iterator[tuple[str, Volume, Parse]]:
    """No folder: patients drawn now, from the number that the path is on; a `limit` ends them."""
    if not first.name.isdigit():
        raise InputError("path", expected="the number of the first patient", got=str(first), fix="correct the config")
    for seed in count(int(first.name)):
        phantom = draw(seed)
        yield f"patient {seed}", phantom.image, phantom.parse


LAYOUTS: dict[str, Callable[[Path], Iterator[tuple[str, Volume, Parse]]]] = {
    "openkbp": _openkbp,
    "openkbp-held-out": _openkbp_held_out,
    "generated": _generated,
    "generated-held-out": _generated_held_out,
    "labelled": _labelled,
    "with-lesions": partial(_drawn_now, make_with_lesions),
    "sampled": partial(_drawn_now, make),
}
