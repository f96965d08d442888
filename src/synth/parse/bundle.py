"""The bundle: a folder with `parse.json` and one compressed NIfTI mask for each delineated entity."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from synth.errors import InputError
from synth.parse.closure import CAN_HAVE_MASK
from synth.parse.document import MAX_JSON_BYTES, Document, geometry_of, mask_file, read_document, to_document
from synth.parse.parse import Parse
from synth.volume import Geometry, Mask, read_mask, write_mask

PARSE_FILE = "parse.json"


def save_bundle(parse: Parse, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write the parse to `folder`, whole or not at all; the same parse gives the same bytes.

    Raises `InputError` where something is there already, unless `overwrite` is set and it is a bundle.

    Example:
        >>> from synth.volume import Geometry
        >>> with tempfile.TemporaryDirectory() as top:
        ...     z = Parse([], geometry=Geometry.regular((4, 4, 4), 3.0))
        ...     save_bundle(z, Path(top) / "case")
        ...     load_bundle(Path(top) / "case") == z
        True
    """
    target = Path(folder)
    _check_target(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        (fresh / "masks").mkdir()
        for id, mask in parse.masks.items():
            write_mask(mask, parse.geometry, fresh / mask_file(id))
        text = json.dumps(to_document(parse), indent=2, ensure_ascii=False, allow_nan=False)
        (fresh / PARSE_FILE).write_text(text + "\n", encoding="utf-8")
        fresh.chmod(0o777 & ~_umask())
        _take_place(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_bundle(folder: str | Path) -> Parse:
    """Read a bundle, every byte of it taken for hostile.

    Raises `InputError` with the path of the field or file: text that is no parse, a mask outside the folder, of
    another grid or missing, and whatever breaks closure.
    """
    source = Path(folder)
    if source.is_file() and source.name == PARSE_FILE:
        source = source.parent
    what = source / PARSE_FILE
    if not what.is_file():
        raise InputError(
            str(folder), expected=f"a bundle with {PARSE_FILE}", got="none", fix="give a folder made by save"
        )
    if what.stat().st_size > MAX_JSON_BYTES:
        got = f"{what.stat().st_size:,}"
        raise InputError(str(what), expected=f"at most {MAX_JSON_BYTES:,} bytes", got=got, fix="split the parse")
    document = read_document(what.read_bytes(), str(what))
    try:
        geometry = geometry_of(document)
        _check_mask_table(document)
        masks = {id: _read(source, id, file, geometry) for id, file in document.masks.items()}
        return Parse(
            document.entities,
            document.attributes,
            document.relations,
            geometry=geometry,
            circumstance=document.circumstance,
            masks=masks,
        )
    except InputError as error:
        raise InputError(f"{source}: {error.what}", expected=error.expected, got=error.got, fix=error.fix) from None


def is_bundle(folder: Path) -> bool:
    """Whether the folder holds a bundle."""
    return (folder / PARSE_FILE).is_file()


def _check_mask_table(document: Document) -> None:
    """Refuse before any mask is read what closure would refuse after it."""
    presence = {entity.id: entity.presence for entity in document.entities}
    for id in document.masks:
        if id not in presence:
            fix = "declare that entity or correct the id"
            raise InputError(f"masks[{id}]", expected="the id of a declared entity", got=f"'{id}'", fix=fix)
        if presence[id] not in CAN_HAVE_MASK:
            fix = "drop the mask or change the presence"
            raise InputError(f"masks[{id}]", expected=f"none, for it is {presence[id]}", got="a mask", fix=fix)


def _read(source: Path, id: str, file: str, geometry: Geometry) -> Mask:
    path = source / _confined(source, id, file)
    if not path.is_file():
        raise InputError(f"masks[{id}]", expected=f"the file {file}", got="nothing there", fix="copy the whole bundle")
    voxels = geometry.shape[0] * geometry.shape[1] * geometry.shape[2]
    mask, own = read_mask(path, max_voxels=voxels)
    # NIfTI keeps float32: a tenth of a millimetre is far above its rounding and far below a voxel.
    difference = geometry.describe_difference(own, atol=0.1)
    if difference is not None:
        raise InputError(
            f"masks[{id}]", expected="the grid of the parse", got=difference, fix="resample the mask to it"
        )
    return mask


def _confined(source: Path, id: str, file: str) -> Path:
    """The relative path, once it is known to stay inside the bundle, links followed."""
    pure = PurePosixPath(file)
    inside = bool(file) and "\0" not in file and "\\" not in file and not pure.is_absolute() and ".." not in pure.parts
    if not inside or not (source / pure).resolve().is_relative_to(source.resolve()):
        got = f"'{file[:80]}'"
        raise InputError(f"masks[{id}]", expected="a file inside the bundle", got=got, fix=f"use {mask_file(id)}")
    return Path(pure)


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise InputError(
            str(target), expected="a new folder", got="one that exists", fix="choose another or overwrite it"
        )
    if not is_bundle(target):
        fix = "choose another folder"
        raise InputError(str(target), expected="a bundle to overwrite", got="something else", fix=fix)


def _take_place(fresh: Path, target: Path) -> None:
    """Rename into place; an older bundle steps aside first and comes back if that fails."""
    if not target.exists():
        fresh.rename(target)
        return
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    target.rename(aside / "bundle")
    try:
        fresh.rename(target)
    except OSError:
        (aside / "bundle").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
