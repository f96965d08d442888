"""Where shipped weights lie."""

from __future__ import annotations

import os
from pathlib import Path

from synth.errors import InputError

CONFIG = "config.json"
ENVIRONMENT = "SYNTH_WEIGHTS"


def weights_folder(name: str) -> Path:
    """The folder of shipped weights: $SYNTH_WEIGHTS, else inside the installed package, else in the checkout.

    A `name` that is an existing folder is taken as it is.
    """
    package = Path(__file__).resolve().parent
    roots = [Path(os.environ[ENVIRONMENT])] if ENVIRONMENT in os.environ else []
    roots += [package / "_weights", package.parent.parent / "weights"]
    for folder in (Path(name), *(root / name for root in roots)):
        if (folder / CONFIG).exists():
            return folder
    raise InputError(
        f"weights {name!r}",
        expected=f"a folder with {CONFIG} under {', '.join(str(r) for r in roots)}",
        got="none",
        fix=f"install the package with its weights, or set {ENVIRONMENT}",
    )
