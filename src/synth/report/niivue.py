"""NiiVue, the viewer in the report: its JavaScript and its licence, read from the installed `ipyniivue`.

The wheel of `ipyniivue` carries NiiVue's own ES module as a percent-encoded string inside its widget. It is read from
there when a report is written, so that no copy of it lives in this package. Nothing of it runs in Python, and
`ipyniivue` itself is not imported: its notebook libraries are not needed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

from synth.errors import SynthError

LIBRARY, WIDGET = "ipyniivue", "ipyniivue/static/widget.js"
EXTRA = "pip install 'parse-synth[viewer]'"
_ENCODED = re.compile(r"\"([A-Za-z0-9_.!~*'()%-]{100000,})\"")
_EXPORT = re.compile(r"export\s*\{[^}]*\bNiivue\b[^}]*\}")
_CLOSING = re.compile(r"</script|<!--", re.IGNORECASE)


@dataclass(frozen=True)
class NiiVue:
    """The viewer's code: an ES module whose top level declares `Niivue`, and the licence that goes with it."""

    module: str
    licence: str
    version: str


@cache
def niivue() -> NiiVue:
    """The installed viewer.

    Raises:
        SynthError: it is not installed, or is laid out in a way that this version does not know.
    """
    try:
        found = metadata.distribution(LIBRARY)
    except metadata.PackageNotFoundError:
        raise SynthError(f"the interactive viewer is not installed; {EXTRA}") from None
    licence = next((str(found.read_text(name) or "") for name in ("licenses/LICENSE", "LICENSE")), "")
    path = Path(str(found.locate_file(WIDGET)))
    if not path.is_file() or not licence:
        raise _unknown(found.version, "its widget or its licence is missing")
    return NiiVue(_module(path.read_text("utf-8"), found.version), licence, found.version)


def _module(widget: str, version: str) -> str:
    """NiiVue's ES module, decoded from the longest encoded string of the widget."""
    encoded = max(_ENCODED.findall(widget), key=len, default="")
    module = unquote(encoded, errors="strict")
    if not _EXPORT.search(module[-4000:]):
        raise _unknown(version, "no ES module that exports Niivue in its widget")
    if _CLOSING.search(module):  # it would end the script element that it is put in
        raise _unknown(version, "its code cannot stand inside a page")
    return module


def _unknown(version: str, what: str) -> SynthError:
    return SynthError(f"the installed {LIBRARY} {version} cannot be used ({what}); {EXTRA}")
