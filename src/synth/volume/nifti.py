"""NIfTI files, the one place that knows nibabel; headers are checked before a voxel is read."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from synth.errors import InputError
from synth.volume.atomic import write_bytes
from synth.volume.bounds import check_promise, check_size
from synth.volume.geometry import Float64, Geometry, closest_axes

_MAX_HEAD_BYTES = 16 * 1024 * 1024
_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_LABEL = re.compile(r'<Label\s+Key="(\d+)"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))\s*</Label>', re.DOTALL)
_SYNTHETIC = "SYNTHETIC"


@dataclass(frozen=True, eq=False)
class RawImage:
    """Voxels and affine as a file has them, before any reorientation; `facts` are harmless header facts."""

    array: NDArray[Any]
    affine: Float64
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Head:
    header: Any
    shape: tuple[int, int, int]
    affine: Float64
    extensions: tuple[bytes, ...]


def read_nifti(path: Path, *, max_voxels: int, dtype: type[np.generic] | None) -> RawImage:
    """Read `.nii` or `.nii.gz`; `dtype` None keeps the stored type when the header scales nothing.

    Raises InputError for truncated files, headers that promise what the file cannot hold, a missing affine,
    sform and qform that disagree on the axes, colour or complex voxels, and more than three dimensions.
    """
    head = _read_head(path, max_voxels)
    try:
        image: Any = nib.load(path)
        array = np.asanyarray(image.dataobj) if dtype is None else image.get_fdata(dtype=dtype, caching="unchanged")
    except (OSError, EOFError, zlib.error, ValueError, HeaderDataError, ImageFileError) as error:
        raise _broken(path, error) from None
    return RawImage(array.reshape(head.shape), head.affine, _facts(head.header))


def read_label_names(path: str | Path) -> dict[int, str]:
    """Names of label values from the header extension that TotalSegmentator and Connectome tools write; {} if none."""
    head = _read_head(Path(path), max_voxels=2**40)
    names: dict[int, str] = {}
    for content in head.extensions:
        for key, quoted, plain in _LABEL.findall(content.decode("utf-8", errors="replace")):
            names[int(key)] = (quoted or plain).strip()
    return names


def save_nifti(array: NDArray[Any], geometry: Geometry, path: Path, *, description: str) -> None:
    """Write atomically; the same content gives the same bytes (no time stamp in the gzip header)."""
    if not str(path).endswith((".nii", ".nii.gz")):
        raise InputError(str(path), expected="a name ending in .nii.gz", got=path.name, fix="rename the output")
    image = nib.Nifti1Image(array, geometry.affine, dtype=array.dtype)
    image.set_sform(geometry.affine, code=1)
    image.set_qform(geometry.affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii", errors="replace")[:79]
    data = image.to_bytes()
    write_bytes(path, _gzip(data) if path.name.endswith(".gz") else data)


def synthetic_description(text: str | None) -> str:
    """What the header's description says, by which a made-up image is known when it is read again."""
    return f"{_SYNTHETIC} {text}" if text else "parse-synth"


def _gzip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()


def _read_head(path: Path, max_voxels: int) -> _Head:
    compressed = _is_gzip(path)
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            header = _parse_header(path, stream.read(540))
            offset = int(header["vox_offset"])
            stream.seek(0)
            content = stream.read(min(max(offset, 352), _MAX_HEAD_BYTES))
    except (OSError, EOFError, zlib.error) as error:
        raise _broken(path, error) from None
    if not 0 <= offset <= _MAX_HEAD_BYTES:
        raise InputError(
            str(path), expected="voxels within 16 MB of the start", got=f"offset {offset}", fix="write it again"
        )
    shape = _shape(path, header, max_voxels)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(str(path), expected="numbers as voxels", got=str(dtype), fix="convert to a grey-value image")
    promised = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    check_promise(str(path), path, promised, compressed=compressed, offset=offset)
    return _Head(header, shape, _affine(path, header), _extensions(path, header, content))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _parse_header(path: Path, head: bytes) -> Any:
    for kind, size in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        first = {struct.unpack(order + "i", head[:4])[0] for order in "<>"} if len(head) >= 4 else set()
        if size in first and len(head) >= size:
            header = kind(head[:size], check=False)
            if bytes(header["magic"])[:2] in (b"n+", b"ni"):
                return header
    fix = "copy the file again, or convert it to NIfTI"
    raise InputError(str(path), expected="a NIfTI header", got=f"{len(head)} bytes that are none", fix=fix)


def _shape(path: Path, header: Any, max_voxels: int) -> tuple[int, int, int]:
    dims = [int(n) for n in header["dim"]]
    sizes = dims[1 : 1 + dims[0]] if 0 < dims[0] <= 7 else []
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    check_size(str(path), sizes, max_voxels)
    return sizes[0], sizes[1], sizes[2]


def _affine(path: Path, header: Any) -> Float64:
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        got = "sform and qform codes of 0"
        raise InputError(
            f"{path}: affine", expected="an orientation", got=got, fix="write the sform (e.g. with nibabel)"
        )
    try:
        from_q = np.asarray(header.get_qform(), dtype=np.float64) if qform else None
    except HeaderDataError as error:
        raise _broken(path, error) from None
    affine = np.asarray(header.get_sform(), dtype=np.float64) if sform else from_q
    assert affine is not None
    affine = affine * np.array([[_unit(path, header)]] * 3 + [[1.0]])
    Geometry((1, 1, 1), affine)
    if sform and from_q is not None and closest_axes(from_q) != closest_axes(affine):
        got = f"{closest_axes(affine).codes} and {closest_axes(from_q).codes}"
        raise InputError(f"{path}: affine", expected="sform and qform that agree", got=got, fix="correct the wrong one")
    return np.asarray(affine)


def _unit(path: Path, header: Any) -> float:
    try:
        return _MILLIMETRES[header.get_xyzt_units()[0]]
    except KeyError as error:
        raise InputError(
            f"{path}: unit", expected="mm, micron or meter", got=str(error), fix="set xyzt_units"
        ) from None


def _extensions(path: Path, header: Any, content: bytes) -> tuple[bytes, ...]:
    """The contents of the header extensions, walked by hand so that a forged size cannot ask for memory."""
    start, end = int(header.sizeof_hdr), int(header["vox_offset"])
    if end < start + 4 or content[start : start + 1] != b"\x01":
        return ()
    found, at = [], start + 4
    while at + 8 <= min(end, len(content)):
        size = struct.unpack_from(header.endianness + "i", content, at)[0]
        if size < 8 or at + size > end:
            raise InputError(
                f"{path}: extension", expected=f"at most {end - at} bytes", got=f"{size}", fix="write it again"
            )
        found.append(content[at + 8 : at + size])
        at += size
    return tuple(found)


def _facts(header: Any) -> dict[str, Any]:
    text = bytes(header["descrip"].item()).split(b"\0")[0].decode("ascii", errors="replace").strip()
    facts: dict[str, Any] = {"format": "nifti"}
    if text.startswith(_SYNTHETIC):
        facts["synthetic"] = text.removeprefix(_SYNTHETIC).strip()
    return facts


def _broken(path: Path, error: Exception) -> InputError:
    got = f"{type(error).__name__}: {error}"[:160]
    return InputError(str(path), expected="a complete NIfTI file", got=got, fix="copy the file again")
