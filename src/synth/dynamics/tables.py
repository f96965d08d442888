"""Tables of growth series: what each looks like, read into `Series`, refused with the line where it is not one."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from synth.dynamics.births import Seen
from synth.dynamics.series import FLOOR_MM, Series
from synth.errors import InputError

Line = Mapping[str, str]
Key = tuple[str, ...]
LARGEST_BYTES = 256 * 2**20
RECIST = ("study", "patient", "day", "target_lesion_long_diam_mm", "study_arm")
PDXE = ("Tumor", "ID", "Type", "Arms", "Times", "Volume")
NEW_LESIONS = ("id", "time0", "time1", "new.lesions")
MAEVE = ("study_id", "group_name", "animalID", "DAY_OF_STUDY", "TUMOR_VOLUME")
NOT_EVALUABLE = ("NOT EVALUABLE", "")
TOO_SMALL = "TOO SMALL TO MEASURE"


def read_recist(path: Path) -> list[Series]:
    """Longest diameter of the target lesion, as in Ghaffari Laleh et al. 2022; a patient is (study, patient)."""

    def size(line: Line, where: str) -> float:
        text = line["target_lesion_long_diam_mm"]
        return FLOOR_MM if text == TOO_SMALL else read_number(text, where, "target_lesion_long_diam_mm")

    def key(line: Line) -> Key:
        return f"{line['study']}/{line['patient']}", line["study_arm"], line["study"]

    lines = [(n, r) for n, r in read_lines(path, RECIST) if r["target_lesion_long_diam_mm"] not in NOT_EVALUABLE]
    return _collect(path, lines, key, "day", size)


def read_pdxe(path: Path) -> list[Series]:
    """Volumes (mm³) of xenografts, each tumour under many drugs; the patient is the tumour (Gao et al. 2015)."""

    def key(line: Line) -> Key:
        return line["Tumor"], line["Arms"], line["Type"], line["ID"]

    return _collect(path, read_lines(path, PDXE), key, "Times", _volume("Volume"))


def read_maeve(path: Path) -> list[Series]:
    """Volumes (mm³) of glioma xenografts on dose grids: a table, or a folder of them; the patient is the animal."""
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise InputError(str(path), expected="tables of series", got="no .csv in it", fix="check the folder")

    def key(line: Line) -> Key:
        return f"{line['study_id']}/{line['animalID']}", line["group_name"], "xenograft"

    found: list[Series] = []
    for file in files:
        lines = [(n, r) for n, r in read_lines(file, MAEVE) if r["TUMOR_VOLUME"].strip().upper() not in ("", "NA")]
        found += _collect(file, lines, key, "DAY_OF_STUDY", _volume("TUMOR_VOLUME"))
    return found


def read_new_lesions(path: Path) -> list[Seen]:
    """New lesions of each patient: a line is a time at risk in years, from one event or the beginning to the next.

    The layout of the table `colorectal` in frailtypack (Rondeau et al. 2012, J Stat Softw 47:4).
    """
    found: dict[str, tuple[float, float]] = {}
    for number, line in read_lines(path, NEW_LESIONS):
        start, stop, event = time_at_risk(line, f"{path.name}, line {number}")
        count, years = found.get(line["id"], (0.0, 0.0))
        found[line["id"]] = (count + event, years + stop - start)
    return [Seen(int(count), years) for count, years in found.values()]


def time_at_risk(line: Line, where: str) -> tuple[float, float, float]:
    """Begin and end in years of a line of `NEW_LESIONS`, and 1 where a new lesion ends it, else 0."""
    start, stop = (read_number(line[name], where, name) for name in ("time0", "time1"))
    if stop < start:
        raise InputError(where, expected="time1 from time0 on", got=f"{stop:g}", fix="correct it")
    event = read_number(line["new.lesions"], where, "new.lesions")
    if event not in (0.0, 1.0):
        raise InputError(f"{where}: new.lesions", expected="0 or 1", got=f"{event:g}", fix="correct it")
    return start, stop, event


def read_lines(path: Path, columns: Sequence[str]) -> list[tuple[int, Line]]:
    """The lines of a .csv or .csv.gz with their numbers.

    Raises InputError for what is no such table, for a column that is not there, and for a line that is cut off.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(str(path), expected="a table of at most 256 MiB", got="a larger one", fix="split it")
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise InputError(str(path), expected="at most 256 MiB of text", got="more", fix="split it")
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        lines: list[tuple[int, Line]] = list(enumerate(reader, start=2))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(path), expected="a table (.csv or .csv.gz)", got=str(error), fix="check it") from None
    if missing or not lines:
        got = f"no {', '.join(missing)}" if missing else "no line"
        raise InputError(
            str(path), expected=f"columns {', '.join(columns)}", got=got, fix="see docs/how-to/benchmarks.md"
        )
    for number, line in lines:
        if any(line[name] is None for name in columns):
            expected = f"{len(columns)} columns or more"
            raise InputError(f"{path.name}, line {number}", expected=expected, got="fewer", fix="complete it")
    return lines


def _collect(
    path: Path,
    lines: Sequence[tuple[int, Line]],
    key: Callable[[Line], Key],
    day: str,
    size: Callable[[Line, str], float],
) -> list[Series]:
    """Group lines into series, in the order of their first line."""
    visits: dict[Key, list[tuple[float, float]]] = defaultdict(list)
    for number, line in lines:
        where = f"{path.name}, line {number}"
        visits[key(line)].append((read_number(line[day], where, day, least=-math.inf), size(line, where)))
    return [Series.of(who[0], of, action=who[1], group=who[2]) for who, of in visits.items()]


def _volume(column: str) -> Callable[[Line, str], float]:
    """Diameter (mm) of the ball of the volume (mm³) in a column."""

    def size(line: Line, where: str) -> float:
        return float((6.0 * read_number(line[column], where, column) / math.pi) ** (1 / 3))

    return size


def read_number(text: str, where: str, column: str, *, least: float = 0.0) -> float:
    """A finite number from `least` on; raises InputError that says `where` and in which column it is not."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        expected = "a number" if least == -math.inf else f"a number from {least:g} on"
        raise InputError(f"{where}: {column}", expected=expected, got=repr(text[:60]), fix="correct it")
    return value
