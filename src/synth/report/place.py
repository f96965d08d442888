"""A folder that is written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synth.errors import InputError


def check_free(folder: Path, marker: str, what: str, *, overwrite: bool) -> None:
    """Raise InputError where nothing may be written: only `overwrite` replaces, and only what holds the `marker`."""
    if folder.is_file():
        raise InputError(str(folder), expected="a folder", got="a file", fix="name another folder")
    filled = folder.exists() and any(folder.iterdir())
    if filled and not overwrite:
        raise InputError(str(folder), expected="a new or empty folder", got="files in it", fix="add --overwrite")
    if filled and not (folder / marker).exists():
        got = f"a folder without {marker}"
        raise InputError(str(folder), expected=f"an earlier {what} to replace", got=got, fix="name another folder")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; on a clean exit it takes its place, else it is removed.

    Example:
        >>> with tempfile.TemporaryDirectory() as top:
        ...     with whole_folder(Path(top) / "out") as made:
        ...         _ = (made / "a.txt").write_text("whole")
        ...     [p.name for p in Path(top).iterdir()]
        ['out']
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield made
        made.chmod(0o755)
        _put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put_in_place(made: Path, folder: Path) -> None:
    """Rename into place; what was there is moved aside first and removed last."""
    aside = None
    if folder.exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        folder.replace(aside / "old")
    try:
        made.replace(folder)
    except OSError:
        if aside is not None:
            (aside / "old").replace(folder)
        raise
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
