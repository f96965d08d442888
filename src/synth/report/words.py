"""What the report says in words and numbers, the same on the page and on its summary."""

from __future__ import annotations

from synth.parse import Presence
from synth.residual.findings import (
    EntityFinding,
    Findings,
    Leaning,
    MissingFinding,
    PriorAlignment,
    PriorOutcome,
    Verdict,
)

BAR_NATS = 8.0  # score at the end of the bar
NAMED = 3  # entities named in the headline
ALIGNED = {"images": "by registration of the images", "organs": "by the organs of both", "frame": "as it lay"}
BECAME = {
    PriorOutcome.missing: "still there, left out",
    PriorOutcome.not_seen: "not seen any more",
    PriorOutcome.not_checkable: "not checkable",
}
SHORT = {Leaning.speaks_for: "for", Leaning.speaks_against: "against", Leaning.does_not_decide: "open"}


def looks(finding: MissingFinding) -> list[tuple[str, str]]:
    """What a proposed entity would be declared as: its category of attenuation, where there is one."""
    told = [a["value"] for a in finding.attributes or () if a["type"] == "attenuation_class"]
    return [("attenuation", str(told[0]))] if told else []


def headline(findings: Findings) -> str:
    """The result in one sentence."""
    flagged, found = findings.flagged, findings.missing or []
    denied = [plain(m.denies) for m in found if m.denies]
    remembered = [plain(m.name or m.id) for m in found if m.prior and not m.denies]
    missing = [m for m in found if not m.denies and not m.prior]
    if not flagged and not found:
        return "Nothing in this parse is contradicted by the image."
    parts = []
    unsupported = [plain(f.id) for f in flagged if f.verdict is Verdict.hallucinated]
    outlined = [plain(f.id) for f in flagged if f.verdict is Verdict.wrong_extent]
    wrong = [plain(f.id) for f in flagged if f.verdict not in (Verdict.hallucinated, Verdict.wrong_extent)]
    if unsupported:
        parts.append("the image does not support " + _listed(unsupported))
    if outlined:
        parts.append("the image does not end with the outline of " + _listed(outlined))
    if wrong:
        parts.append("what is said of " + _listed(wrong) + " does not hold")
    if denied:
        parts.append(f"{_listed(denied)} is there, although declared absent")
    if remembered:
        parts.append(f"the parse leaves out {_listed(remembered)} of the prior visit")
    if missing:
        first = missing[0].located_in
        elsewhere = len(missing) > 1 and missing[1].located_in != first
        where = f" in {plain(first)}" + (" and elsewhere" if elsewhere else "") if first else ""
        number = "a region" if len(missing) == 1 else f"{len(missing)} regions"
        parts.append(f"the parse leaves out {number}{where}")
    text = ", ".join(parts[:-1]) + ", and " * (len(parts) > 1) + parts[-1] + "."
    return text[0].upper() + text[1:]


def _listed(names: list[str]) -> str:
    if len(names) > NAMED:
        return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more"
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def badge(finding: EntityFinding) -> str:
    """The verdict in a word, also where there is none."""
    if finding.leaning is not None:
        return f"uncertain: {SHORT[finding.leaning]}"
    if finding.presence == Presence.not_assessed.value:
        return "not assessed"
    return "not claimed" if finding.verdict is None else plain(finding.verdict.value)


def aligned(alignment: PriorAlignment) -> str:
    """How a prior visit was brought here, and how well, in words."""
    moved = f"{alignment.shift_mm:g} mm and {alignment.rotation_deg:g} degrees"
    how = f"Aligned {ALIGNED[alignment.method]} ({moved})"
    if alignment.median_dice is None:
        return f"{how}; no organ is drawn in both visits, so nothing shows how well."
    well = f"{how}: median Dice {alignment.median_dice:.2f} of {len(alignment.shared)} organs that both visits draw."
    return well if alignment.used else f"{well} That is too little: nothing was asked of it."


def plain(name: str) -> str:
    """A vocabulary name as words.

    Example:
        >>> plain("kidney_left"), plain("vertebrae_L4")
        ('kidney left', 'vertebrae L4')
    """
    return name.replace("_", " ")


def share(p: float | None) -> str:
    """A p-value for reading.

    Example:
        >>> share(0.0004), share(0.25), share(None)
        ('< 0.001', '0.250', '–')
    """
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def millilitres(ml: float | None) -> str:
    """Millilitres with three figures, or whole ones.

    Example:
        >>> millilitres(0.06412), millilitres(5.31), millilitres(1133.4), millilitres(None)
        ('0.0641', '5.31', '1133', '')
    """
    return "" if ml is None else f"{ml:.3g}" if ml < 100 else f"{ml:.0f}"


def bar(score: float) -> dict[str, float]:
    """Where a score's bar starts and how wide it is, in percent of the track; zero is the middle.

    Example:
        >>> bar(-4.0)
        {'left': 25.0, 'width': 25.0}
    """
    reach = 50.0 * min(abs(score) / BAR_NATS, 1.0)
    return {"left": 50.0 - reach if score < 0 else 50.0, "width": reach}
