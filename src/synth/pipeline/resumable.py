"""A folder that a run goes on in: made by its first command, refused by any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.volume import write_bytes


def claim(folder: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Make the folder this run's, with its settings in the file `name`.

    Raises:
        InputError: the folder is another run's, or holds other files.
    """
    path, wanted = folder / name, json.loads(json.dumps(settings))
    if path.is_file():
        if json.loads(path.read_text("utf-8")) != wanted:
            fix = "repeat the first command, or name a new folder"
            raise InputError(str(folder), expected=f"the settings of its {name}", got="others", fix=fix)
    elif folder.exists() and (not folder.is_dir() or any(p for p in folder.iterdir() if p.name[0] != ".")):
        raise InputError(str(folder), expected="a new folder or one to go on with", got="files", fix="name another")
    write_bytes(path, (json.dumps(wanted, indent=1) + "\n").encode())
