"""Stored benchmark objects as tables (RESULTS.md) and plots: python benchmarks/render.py."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
DISTANCES = ("8-12", "16-24", "32-56")
METHODS = {
    "ours": "ours: both decoders and the population, fused",
    "tier1": "ours, tier 1: direct decoder and the population, fused",
    "prior": "the population alone: no decoder",
    "latent": "latent decoder's evidence alone",
    "direct": "direct decoder's evidence alone",
    "histogram": "baseline: HU histogram of the organ",
    "l1": "baseline: size of the residual (L1)",
    "synthcp": "baseline: render and regress (SynthCP)",
    "ks": "baseline: presence test against Beta distributions (BiomedParse)",
    "anoddpm": "baseline: partial noise and back (AnoDDPM)",
    "anoddpm_usual": "baseline: the same, against what is usual for the organ",
}
CHECKED = " Reference masks that are wrong (openkbp-reference-errors.csv) left out."
Row = dict[str, Any]


def main() -> None:
    """Write RESULTS.md, and a plot for each file of faults and of verdicts."""
    parts = ["# Results\n\nMade by `python benchmarks/render.py` from the JSON files here; each holds its command.\n"]
    for path in sorted(HERE.glob("*.json")):
        result = json.loads(path.read_text())
        if "benchmark" not in result:  # an audit or a demo: read as it is
            continue
        parts.append(f"\n## {path.stem}\n\n`{result['command']}`, {result['seconds']:.0f} s\n")
        if any("scanner" in r["group"] for r in result["rows"]) and result["benchmark"] == "faults":
            parts += scanners(result["rows"], _titles(result["command"]))
        elif result["benchmark"] == "faults":
            parts += faults(result["rows"], _titles(result["command"]))
            plot(result["rows"], path.with_suffix(".png"))
            parts.append(f"\n![AUROC by distance and organ]({path.stem}.png)\n")
        elif result["benchmark"] == "verdicts":
            checked = [r for r in result["rows"] if "reference" in r["group"]]
            if checked:
                parts.append(f"\n{CHECKED.strip()}\n")
            parts += verdicts(checked or result["rows"])
            if checked:
                parts.append("\nThe same, all reference masks.\n")
                everything = [r for r in result["rows"] if "reference" not in r["group"]]
                parts += plain([r for r in everything if "family" not in r["group"] and r["metric"] != "share"])
            plot_verdicts(checked or result["rows"], path.with_suffix(".png"))
            parts.append(f"\n![Power by family and severity; what was called what]({path.stem}.png)\n")
        elif result["benchmark"] == "reconstruction":
            parts += reconstruction(result["rows"])
        else:
            parts += plain(result["rows"])
            if result["benchmark"] == "curves":
                parts.append(f"\n![ROC, reliability, FDR, risk, size, validity]({path.stem}.png)\n")
    (HERE / "RESULTS.md").write_text("".join(parts))


def _titles(command: str) -> dict[str, str]:
    """What the methods are called: of the direct decoder alone ours is the first tier."""
    return METHODS | ({"ours": METHODS["tier1"]} if "--decoder direct" in command else {})


def faults(rows: list[Row], titles: dict[str, str]) -> Iterable[str]:
    """AUROC and FPR95, pooled over organs: all masks, then untouched and jittered ones alone; then by organ."""
    head = " | ".join(f"{d} mm" for d in DISTANCES) + " |\n|---" + "|---" * len(DISTANCES) + "|\n"
    for reference in sorted({r["group"].get("reference", "") for r in rows}):
        known = CHECKED if reference else ""
        of = [r for r in rows if r["group"].get("reference", "") == reference]
        for surface in (None, "untouched", "jittered"):
            yield f"\nMasks: {surface or 'untouched and jittered together'}.{known}\n\n| method | {head}"
            for method, title in titles.items():
                cells = [_cell(of, method, d, surface) for d in DISTANCES]
                if any(cells):
                    yield f"| {title} | " + " | ".join(cells) + " |\n"
        best = _shown(of)
        yield f"\nBy organ, {best}, AUROC.{known}\n\n| organ | {head}"
        for organ in sorted({r["group"]["organ"] for r in of} - {"all"}):
            values = [_find(of, best, d, None, "auroc", organ) for d in DISTANCES]
            yield f"| {organ} | " + " | ".join(f"{v['value']:.3f}" if v else "" for v in values) + " |\n"


def scanners(rows: list[Row], titles: dict[str, str]) -> Iterable[str]:
    """AUROC and FPR95 of each method on each scanner, pooled over organs and surfaces."""
    head = " | ".join(f"{d} mm" for d in DISTANCES) + " |\n|---|---" + "|---" * len(DISTANCES) + "|\n"
    for reference in sorted({r["group"].get("reference", "") for r in rows}):
        of = [r for r in rows if r["group"].get("reference", "") == reference]
        yield f"\nUntouched and jittered masks together.{CHECKED if reference else ''}\n\n| scanner | method | {head}"
        for scanner in dict.fromkeys(r["group"]["scanner"] for r in of):
            same = [r for r in of if r["group"]["scanner"] == scanner]
            for method, title in titles.items():
                cells = [_cell(same, method, d, None) for d in DISTANCES]
                if any(cells):
                    yield f"| {scanner} | {title} | " + " | ".join(cells) + " |\n"


def _shown(rows: list[Row]) -> str:
    """Whose organs are shown: the first of `METHODS` that is there."""
    there = {r["method"] for r in rows}
    return next(method for method in METHODS if method in there)


def reconstruction(rows: list[Row]) -> Iterable[str]:
    """Every measure of the whole images and the clinical distance, one line for each method and what it was told."""
    metrics = ("psnr", "ssim", "lpips", "frechet", "mae", "d_clin", "d_clin_share", "d_clin_worst")
    titles = "PSNR, dB | SSIM | LPIPS | Fréchet | organ's mean off, HU | d_clin | share within 1 | d_clin, worst sample"
    yield f"\n| tissue | attributes | method | {titles} | share within 1, terms not told |\n"
    yield "|---" * (4 + len(metrics)) + "|\n"
    found = {(r["group"]["tissue"], r["group"]["attributes"], r["method"]) for r in rows}
    for tissue, attributes, method in sorted(found):
        cells = []
        for metric, terms in (*((m, "all") for m in metrics), ("d_clin_share", "not_told")):
            found_row = [
                r
                for r in rows
                if (r["group"]["tissue"], r["group"]["attributes"], r["method"]) == (tissue, attributes, method)
                and (r["metric"], r["group"]["organ"]) == (metric, "all")
                and r["group"].get("terms", "all") == terms
            ]
            cells += [_with_interval(r) for r in found_row] or [""]
        yield f"| {tissue} | {attributes} | {method} | " + " | ".join(cells) + " |\n"


def verdicts(rows: list[Row]) -> Iterable[str]:
    """One line a family and severity, then false alarms and rates, then what was called what."""
    columns = [("ours", m) for m in ("power", "detected", "top3", "auroc", "aupr", "fpr95", "aurc", "augrc")]
    columns += [(b, "auroc") for b in ("presence", "l1", "histogram", "ks")]
    titles = "power | any flag | top 3 | AUROC | AUPR | FPR95 | AURC | AUGRC | AUROC: presence | L1 | histogram | KS"
    yield f"\n| family | severity | n | {titles} |\n" + "|---" * (3 + len(columns)) + "|\n"
    for family, severity in _families(rows):
        of = [r for r in rows if (r["group"].get("family"), r["group"].get("severity")) == (family, severity)]
        of = [r for r in of if "task" not in r["group"]]
        found = [[r for r in of if (r["method"], r["metric"]) == c] for c in columns]
        cells = " | ".join(_with_interval(r[0]) if r and r[0]["value"] is not None else "" for r in found)
        yield f"| {family} | {severity} | {found[0][0]['n']} | {cells} |\n"
    given = sorted({r["group"]["verdict"] for r in rows if r["metric"] == "share"})
    yield "\nWhat was called what, shares of a row.\n\n| must be called | n | " + " | ".join(given) + " |\n"
    yield "|---" * (2 + len(given)) + "|\n"
    for expected, shares, n in _confusion(rows):
        yield f"| {expected} | {n} | " + " | ".join(f"{shares[g]:.2f}" if g in shares else "" for g in given) + " |\n"
    rest = [r for r in rows if r["metric"] != "share"]
    yield from plain([r for r in rest if "family" not in r["group"] or "task" in r["group"]])


def _families(rows: list[Row]) -> list[tuple[str, str]]:
    return [(r["group"]["family"], r["group"]["severity"]) for r in rows if r["metric"] == "power"]


def _confusion(rows: list[Row]) -> list[tuple[str, dict[str, float], int]]:
    """(expected verdict, share by given verdict, n), in the order of the rows."""
    table: dict[str, tuple[dict[str, float], int]] = {}
    for r in (r for r in rows if r["metric"] == "share"):
        shares, _ = table.setdefault(r["group"]["expected"], ({}, r["n"]))
        shares[r["group"]["verdict"]] = r["value"]
    return [(expected, shares, n) for expected, (shares, n) in table.items()]


def plot_verdicts(rows: list[Row], path: Path) -> None:
    """Power with its interval and the share with any flag for each family and severity; beside it the confusion."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 9), constrained_layout=True, width_ratios=(1, 1.1))
    families = [f for f in _families(rows) if f != ("all", "all")]
    names = [f if s == "all" else f"{f}, {s}" for f, s in families]
    for metric, style in (("detected", "|"), ("power", "o")):
        found = {
            (r["group"]["family"], r["group"]["severity"]): r
            for r in rows
            if r["metric"] == metric and "family" in r["group"]
        }
        value = [found[f]["value"] for f in families]
        error = [[found[f]["value"] - found[f]["low"] for f in families]]
        error.append([found[f]["high"] - found[f]["value"] for f in families])
        spread = error if metric == "power" else None
        left.errorbar(value, range(len(names)), xerr=spread, fmt=style, capsize=2, label=metric, ms=5)
    left.set(yticks=range(len(names)), yticklabels=names, xlim=(-0.03, 1.03), xlabel="share of faults")
    left.invert_yaxis()
    left.grid(axis="x", alpha=0.3)
    left.legend(fontsize=8)
    table = _confusion(rows)
    given = sorted({v for _, shares, _ in table for v in shares})
    grid = [[shares.get(v, 0.0) for v in given] for _, shares, _ in table]
    right.imshow(grid, vmin=0, vmax=1, cmap="Blues")
    for y, line in enumerate(grid):
        for x, share in enumerate(line):
            right.text(x, y, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.6 else "black")
    right.set(xticks=range(len(given)), yticks=range(len(table)), xlabel="called", ylabel="must be called (n)")
    right.set_xticklabels(given, rotation=40, ha="right")
    right.set_yticklabels([f"{expected} ({n})" for expected, _, n in table])
    figure.savefig(path, dpi=110)


def _with_interval(row: Row) -> str:
    interval = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    return f"{row['value']:.3g}{interval}"


def plain(rows: list[Row]) -> Iterable[str]:
    """Every row of another benchmark."""
    yield "\n| group | method | metric | value | 95% interval | n |\n|---|---|---|---|---|---|\n"
    for r in rows:
        group = ", ".join(f"{k} {v}" for k, v in r["group"].items())
        interval = "" if r["low"] is None else f"{r['low']:.3f} to {r['high']:.3f}"
        yield f"| {group} | {r['method']} | {r['metric']} | {r['value']:.3f} | {interval} | {r['n']} |\n"


def plot(rows: list[Row], path: Path) -> None:
    """AUROC against distance for each method, with intervals; beside it each organ. All reference masks."""
    rows = [r for r in rows if "reference" not in r["group"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for k, method in enumerate(METHODS):
        found = [_find(rows, method, d, None, "auroc") for d in DISTANCES]
        if all(found):
            value = [f["value"] for f in found]
            error = [[f["value"] - f["low"] for f in found], [f["high"] - f["value"] for f in found]]
            left.errorbar([i + 0.05 * k for i in range(3)], value, error, marker="o", label=method, capsize=2)
    left.set(xticks=range(3), xticklabels=[f"{d} mm" for d in DISTANCES], ylabel="AUROC", xlabel="organ mask moved by")
    left.legend(fontsize=8)
    organs, best = sorted({r["group"]["organ"] for r in rows} - {"all"}), _shown(rows)
    for d in DISTANCES:
        found = [_find(rows, best, d, None, "auroc", o) for o in organs]
        right.plot([f["value"] if f else float("nan") for f in found], organs, "o", label=f"{d} mm")
    right.set(xlabel=f"AUROC, {best}")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def _cell(rows: list[Row], method: str, distance: str, surface: str | None) -> str:
    a, f = (_find(rows, method, distance, surface, metric) for metric in ("auroc", "fpr95"))
    return f"{a['value']:.3f} ({a['low']:.3f} to {a['high']:.3f}), FPR95 {f['value']:.2f}" if a and f else ""


def _find(
    rows: list[Row], method: str, distance: str, surface: str | None, metric: str, organ: str = "all"
) -> Row | None:
    for r in rows:
        g = r["group"]
        same = g["organ"] == organ and g["distance"] == distance and g.get("surface") == surface
        if same and r["method"] == method and r["metric"] == metric:
            return r
    return None


if __name__ == "__main__":
    main()
