"""Images with their parses, many at a time: found in a folder or listed in a CSV, read when their turn comes.

FOLDER/ID/                 one image file (or a DICOM folder) beside one bundle
FOLDER/imagesTr, bundles   a dataset of `synth generate`
CASES.csv                  columns image, parse and, if wanted, id; paths from where the CSV lies
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from synth.errors import InputError
from synth.parse import Parse, load_bundle
from synth.volume import Volume, read_volume

IMAGES = (".nii", ".nii.gz", ".nrrd")
PARSE = "parse.json"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LAYOUT = "ID/ folders with an image and a bundle, imagesTr/ beside bundles/, or a CSV with columns image, parse"


@dataclass(frozen=True)
class Case:
    """An image and its parse on disk; the id names its folder in a result."""

    id: str
    image: Path
    parse: Path

    def __post_init__(self) -> None:
        if not _SAFE.fullmatch(self.id):
            expected = "letters, digits, dots, dashes and underscores, 100 at most"
            raise InputError("case id", expected=expected, got=f"'{self.id[:120]}'", fix="give another id in the CSV")


@dataclass(frozen=True)
class Reading:
    """How files become an image and a parse.

    Attributes:
        modality: CT or MR, where the image file does not say.
        source: what made a label map (totalsegmentator, nnunet, names); None for bundles.
        names: dataset.json, or a table of values and names, for a label map.
    """

    modality: str | None = None
    source: str | None = None
    names: Path | None = None


def read_image(path: str | Path, reading: Reading | None = None) -> Volume:
    """The image, its modality as stated where the file does not say."""
    return read_volume(path, modality=(reading or Reading()).modality)


def read_parse(path: str | Path, image: Volume, reading: Reading | None = None) -> Parse:
    """A bundle, or with a source a label map of this image.

    Raises:
        InputError: a file that is no bundle, and no source.
    """
    path, reading = Path(path), reading or Reading()
    if reading.source is not None:
        from synth.interop import import_labels

        return import_labels(path, source=reading.source, names=reading.names, image=image, derive=False)  # type: ignore[arg-type] # checked there
    if path.is_file():
        fix = "say what made it with --from totalsegmentator, nnunet or names"
        raise InputError(str(path), expected="a bundle (a folder with parse.json)", got="a file", fix=fix)
    return load_bundle(path)


def find_cases(source: str | Path) -> tuple[Case, ...]:
    """The cases of a folder or of a CSV, in the order of their ids or of the rows.

    Raises:
        InputError: there are none, two have one id, or a row or a folder does not say which is which.
    """
    path = Path(source)
    if path.is_file():
        cases = tuple(_rows(path))
    elif (path / "bundles").is_dir() and (path / "imagesTr").is_dir():
        cases = tuple(_generated(path))
    else:
        cases = tuple(_folders(path)) if path.is_dir() else ()
    if not cases:
        got = "none" if path.exists() else "no such file or folder"
        raise InputError(str(path), expected=_LAYOUT, got=got, fix="name a folder or a CSV of cases")
    twice = [id for id, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise InputError(f"case id '{twice[0]}'", expected="once", got="more often", fix="add a column id to the CSV")
    return cases


def _rows(path: Path) -> Iterator[Case]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        table = csv.DictReader(stream)
        columns = tuple(table.fieldnames or ())
        if not {"image", "parse"} <= set(columns):
            got = ", ".join(columns)[:120] or "none"
            raise InputError(str(path), expected="columns image and parse", got=got, fix="add a header line")
        for number, row in enumerate(table, start=2):
            image, parse = (row.get("image") or "").strip(), (row.get("parse") or "").strip()
            if not image or not parse:
                raise InputError(f"{path}:{number}", expected="an image and a parse", got="less", fix="fill the row")
            id = (row.get("id") or "").strip() or _id_of(path.parent / image)
            yield Case(id, path.parent / image, path.parent / parse)


def _id_of(image: Path) -> str:
    """The file's own name, or its folder's where every image is called the same."""
    stem = image.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".nrrd")
    generic = stem in ("ct", "image", "mr", "scan") and image.parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "_", image.parent.name if generic else stem).lstrip("._-") or "case"


def _generated(path: Path) -> Iterator[Case]:
    for bundle in sorted(p.parent for p in (path / "bundles").glob(f"*/{PARSE}")):
        image = path / "imagesTr" / f"{bundle.name}_0000.nii.gz"
        if image.is_file():
            yield Case(bundle.name, image, bundle)


def _folders(path: Path) -> Iterator[Case]:
    for folder in sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")):
        bundles = sorted(p.parent for p in folder.glob(f"*/{PARSE}"))
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(IMAGES))
        if not bundles:
            continue
        images = files or [p for p in sorted(folder.iterdir()) if p.is_dir() and p not in bundles]
        yield Case(folder.name, _only(folder, images, "image"), _only(folder, bundles, "bundle"))


def _only(folder: Path, found: Sequence[Path], what: str) -> Path:
    if len(found) != 1:
        got = ", ".join(p.name for p in found[:4]) or "none"
        raise InputError(str(folder), expected=f"one {what}", got=got, fix="list the cases in a CSV")
    return found[0]
