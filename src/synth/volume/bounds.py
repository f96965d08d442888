"""Limits on what a file may ask for, checked before any memory is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from synth.errors import InputError

MAX_VOXELS = 512 * 1024 * 1024
# Deflate cannot shrink data more than 1032 times, so a header that asks for more than that is a lie.
_DEFLATE_LIMIT = 1032


def check_size(what: str, sizes: Sequence[int], max_voxels: int) -> None:
    """Raises InputError for sizes that are not three positive numbers within the bound."""
    if len(sizes) != 3 or min(sizes) < 1:
        got = "x".join(str(n) for n in sizes) or "none"
        raise InputError(what, expected="one 3-D volume", got=f"size {got}", fix="extract a single volume first")
    if math.prod(sizes) > max_voxels:
        got = f"{'x'.join(str(n) for n in sizes)} = {math.prod(sizes):,}"
        raise InputError(
            what, expected=f"at most {max_voxels:,} voxels", got=got, fix="check the header or crop the image"
        )


def check_promise(what: str, path: Path, promised: int, *, compressed: bool, offset: int = 0) -> None:
    """Raises InputError when the file cannot hold the bytes that its header promises."""
    available = path.stat().st_size - (0 if compressed else offset)
    limit = available * _DEFLATE_LIMIT if compressed else available
    if promised > limit:
        got = f"a file of {path.stat().st_size:,} bytes"
        raise InputError(
            what, expected=f"{promised:,} bytes of voxels as its header says", got=got, fix="copy the file again"
        )


def require_file(path: Path) -> None:
    """Raises InputError when nothing is there."""
    if not path.exists():
        raise InputError(str(path), expected="a file", got="nothing there", fix="check the path")
