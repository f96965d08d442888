"""Name tables: which entity each label value stands for, from TotalSegmentator, nnU-Net or a plain list."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.interop.naming import vocabulary_name

_MAX_TABLE_BYTES = 4 * 1024 * 1024
_FORMATS = "`index name` lines, a CSV of index and name, or JSON"


@dataclass(frozen=True)
class LabelClass:
    """One class: its name in the vocabulary, and the label values whose union it is (regions have several)."""

    name: str
    values: tuple[int, ...]


def classes_from_names(names: Mapping[int, str], where: str) -> tuple[LabelClass, ...]:
    """One class a label value; background and ignored labels are left out."""
    found = []
    for value, name in sorted(names.items()):
        known = vocabulary_name(name, f"{where}: label {value}")
        if known is not None:
            found.append(LabelClass(known, (value,)))
    return _not_empty(found, where)


def read_nnunet_classes(path: Path) -> tuple[LabelClass, ...]:
    """Classes of an nnU-Net `dataset.json`: version 2 (name to value or list of values) or 1 (value to name)."""
    data = _read_json(path)
    labels = data.get("labels") if isinstance(data, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise InputError(str(path), expected="an object 'labels'", got="none", fix="give nnU-Net's dataset.json")
    found = []
    for key, entry in labels.items():
        name, values = _nnunet_entry(path, str(key), entry)
        known = vocabulary_name(name, f"{path.name}: labels['{key}']")
        if known is not None and values != (0,):
            found.append(LabelClass(known, values))
    return _not_empty(found, str(path))


def read_name_table(path: Path) -> tuple[LabelClass, ...]:
    """Classes of a name table: `.json` (`{"1": "liver"}`, `{"liver": 1}` or a list), `.csv`, or lines `1 liver`."""
    if path.suffix.lower() == ".json":
        names = _names_from_json(path, _read_json(path))
    elif path.suffix.lower() in (".csv", ".tsv"):
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        names = _names_from_rows(path, csv.reader(_read_text(path).splitlines(), delimiter=delimiter))
    else:
        lines = (line.split("#")[0].split(maxsplit=1) for line in _read_text(path).splitlines())
        names = _names_from_rows(path, lines)
    return classes_from_names(names, path.name)


def _nnunet_entry(path: Path, key: str, entry: Any) -> tuple[str, tuple[int, ...]]:
    if isinstance(entry, str) and key.lstrip("-").isdigit():
        return entry, (int(key),)
    values = tuple(entry) if isinstance(entry, list) else (entry,)
    if not values or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
        what = f"{path.name}: labels['{key}']"
        raise InputError(
            what, expected="a label value or a list of them", got=repr(entry)[:60], fix="correct the entry"
        )
    return key, values


def _names_from_json(path: Path, data: Any) -> dict[int, str]:
    if isinstance(data, list):
        return {value: _text(path, name) for value, name in enumerate(data)}
    if not isinstance(data, dict):
        raise InputError(str(path), expected=_FORMATS, got=type(data).__name__, fix='write {"1": "liver", ...}')
    if all(str(key).isdigit() for key in data):
        return {int(key): _text(path, name) for key, name in data.items()}
    return _names_from_rows(path, ([str(value), str(name)] for name, value in data.items()))


def _names_from_rows(path: Path, rows: Iterable[list[str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and not cells[0].isdigit()):
            continue
        if len(cells) < 2 or not cells[0].isdigit() or not cells[1]:
            what = f"{path.name}: line {number}"
            raise InputError(what, expected="a label value and a name", got=" ".join(row)[:60], fix="correct the line")
        if int(cells[0]) in names:
            fix = "keep one line per value"
            raise InputError(f"{path.name}: line {number}", expected="a new value", got=f"{cells[0]} again", fix=fix)
        names[int(cells[0])] = cells[1]
    return names


def _text(path: Path, name: Any) -> str:
    if not isinstance(name, str):
        raise InputError(str(path), expected="names as text", got=repr(name)[:60], fix='write {"1": "liver", ...}')
    return name


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise InputError(str(path), expected="a name table", got="nothing there", fix="check the path")
    if path.stat().st_size > _MAX_TABLE_BYTES:
        raise InputError(
            str(path), expected="at most 4 MB", got=f"{path.stat().st_size:,} bytes", fix="give a name table"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(str(path), expected="text in UTF-8", got="other bytes", fix="give a name table") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(str(path), expected="valid JSON", got=str(error)[:80], fix="correct the file") from None


def _not_empty(classes: list[LabelClass], where: str) -> tuple[LabelClass, ...]:
    if not classes:
        raise InputError(where, expected="at least one class", got="none", fix="name the labels")
    return tuple(classes)
