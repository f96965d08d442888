"""NRRD files: the header through pynrrd, the voxels read here within the bound that the header states."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.volume.bounds import check_promise, check_size, require_file
from synth.volume.geometry import Float64
from synth.volume.nifti import RawImage

# Sign of each space axis against right, anterior, superior.
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_GZIP, _BZIP = ("gzip", "gz"), ("bzip2", "bz2")


def read_nrrd(path: Path, *, max_voxels: int) -> RawImage:
    """Read `.nrrd`, or `.nhdr` with its data file beside it; raw, gzip and bzip2 encodings.

    Raises InputError for a header without space, directions or origin, data outside the header's folder, and data
    shorter than the header says.
    """
    with path.open("rb") as stream:
        header = _header(path, stream)
        sizes = [int(n) for n in header.get("sizes", ())]
        check_size(str(path), sizes, max_voxels)
        dtype = _dtype(path, header)
        affine = _affine(path, header)
        detached = header.get("data file", header.get("datafile"))
        if detached is None:
            array = _voxels(path, stream, header, sizes, dtype)
        else:
            array = _detached(path, str(detached), header, sizes, dtype)
    return RawImage(array, affine, {"format": "nrrd"})


def _header(path: Path, stream: BinaryIO) -> dict[str, Any]:
    try:
        return dict(nrrd.read_header(stream))
    except (nrrd.NRRDError, UnicodeDecodeError, ValueError, IndexError, TypeError) as error:
        got = f"{type(error).__name__}: {error}"[:120]
        raise InputError(str(path), expected="an NRRD header", got=got, fix="write the file again") from None


def _dtype(path: Path, header: dict[str, Any]) -> np.dtype[Any]:
    name = str(header.get("type", "")).lower()
    if name not in _TYPES:
        raise InputError(
            str(path), expected="numbers as voxels", got=f"type '{name}'", fix="convert to a grey-value image"
        )
    order = ">" if str(header.get("endian", "little")).lower() == "big" else "<"
    return np.dtype(order + _TYPES[name])


def _affine(path: Path, header: dict[str, Any]) -> Float64:
    space = str(header.get("space", "")).lower()
    if space not in _SPACES:
        got = f"space '{space}'" if space else "no space"
        fix = "save it with an orientation (3D Slicer does)"
        raise InputError(f"{path}: affine", expected="left-posterior-superior or the like", got=got, fix=fix)
    directions = np.asarray(header.get("space directions", np.nan), dtype=np.float64)
    origin = np.asarray(header.get("space origin", np.nan), dtype=np.float64)
    if directions.shape != (3, 3) or origin.shape != (3,):
        expected = "three space directions and an origin"
        raise InputError(f"{path}: affine", expected=expected, got="none", fix="save it with an orientation")
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    affine[:3, 3] = origin
    return np.asarray(np.diag([*_SPACES[space], 1]) @ affine)


def _detached(path: Path, name: str, header: dict[str, Any], sizes: list[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    data = path.parent / name
    if "%" in name or " " in name.strip() or data.resolve().parent != path.resolve().parent:
        fix = "put the one data file beside its header"
        raise InputError(str(path), expected="a data file in the header's folder", got=f"'{name}'", fix=fix)
    require_file(data)
    with data.open("rb") as stream:
        return _voxels(data, stream, header, sizes, dtype)


def _voxels(
    path: Path, stream: BinaryIO, header: dict[str, Any], sizes: list[int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    skips = [int(header.get(key, 0)) for key in ("line skip", "lineskip", "byte skip", "byteskip")]
    if any(skips):
        raise InputError(str(path), expected="no line or byte skip", got=str(skips), fix="write the file again")
    promised = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
    content = _decode(path, stream, str(header.get("encoding", "")).lower(), promised)
    if len(content) < promised:
        got = f"{len(content):,}"
        raise InputError(str(path), expected=f"{promised:,} bytes of voxels", got=got, fix="copy the file again")
    return np.frombuffer(content[:promised], dtype=dtype).reshape(sizes, order="F").astype(dtype.newbyteorder("="))


def _decode(path: Path, stream: BinaryIO, encoding: str, promised: int) -> bytes:
    start = stream.tell()
    if encoding == "raw":
        check_promise(str(path), path, promised, compressed=False, offset=start)
        return stream.read(promised)
    if encoding not in _GZIP + _BZIP:
        raise InputError(str(path), expected="raw, gzip or bzip2", got=f"encoding '{encoding}'", fix="save it as gzip")
    if encoding in _GZIP:
        check_promise(str(path), path, promised, compressed=True)
    opened = gzip.GzipFile(fileobj=stream) if encoding in _GZIP else bz2.BZ2File(stream)
    try:
        return opened.read(promised)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(str(path), expected="complete voxels", got=str(error), fix="copy the file again") from None
