"""`synth parse validate|measure|diff`: check, measure and compare bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synth.cli.groups import group
from synth.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from synth.parse import Parse

BundleArgument = Annotated[
    Path, typer.Argument(help="A bundle: a folder with parse.json and masks.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to the group `synth parse`."""
    parse_app = group(app, "parse", "Import, check, measure and compare parses.")
    parse_app.command("validate")(validate)
    parse_app.command("measure")(measure)
    parse_app.command("diff")(compare)


def validate(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Check that a bundle holds a well-formed parse; exit code 2 and the path of the field where it does not."""
    from synth.parse import load_bundle

    parse = load_bundle(bundle)
    counts = {
        "entities": len(parse.entities),
        "attributes": len(parse.attributes),
        "relations": len(parse.relations),
        "masks": len(parse.masks),
    }
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    emit({"valid": True, "bundle": str(bundle), **counts}, as_json, f"{bundle}: valid; {words}")


def measure(
    bundle: BundleArgument,
    entity: Annotated[list[str] | None, typer.Option("--entity", help="Only this id; may be given again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every delineated entity: volume, axes, surface, centre; and the RECIST 1.1 sum of its target lesions."""
    from synth.parse import load_bundle
    from synth.parse.recist import choose_targets

    parse = load_bundle(bundle)
    for id in entity or ():
        parse.mask(id)
    rows = [_measured(parse, id) for id in parse.masks if not entity or id in entity]
    recist = choose_targets(parse)
    targets = [
        {"id": each.id, "organ": each.organ, "node": each.is_node, "diameter_mm": each.diameter_mm}
        for each in recist.targets
    ]
    payload = {"bundle": str(bundle), "entities": rows, "recist": {"sum_mm": recist.sum_mm, "targets": targets}}
    emit(payload, as_json, lambda: _measure_text(payload))


def compare(
    first: Annotated[Path, typer.Argument(help="Bundle of the earlier visit.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Bundle of the later visit.", show_default=False)],
    by_id: Annotated[bool, typer.Option("--by-id", help="Trust the ids instead of matching the entities.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what changed between two parses of one patient, entity by entity."""
    from synth.parse import load_bundle
    from synth.parse.diff import compare_visits, diff

    before, after = load_bundle(first), load_bundle(second)
    if by_id:
        change = diff(before, after)
        emit({**change.to_json(), "matching": None}, as_json, lambda: _sentences(change.sentences()))
        return
    found = compare_visits(before, after)
    payload = {
        **found.diff.to_json(),
        "matching": {
            "pairs": [
                {"first": pair.first, "second": pair.second, "affinity": pair.affinity} for pair in found.matching.pairs
            ],
            "gone": list(found.matching.gone),
            "new": list(found.matching.new),
            "regroups": [
                {"kind": each.kind, "first": list(each.first), "second": list(each.second)}
                for each in found.matching.regroups
            ],
        },
        "changed_from": [edge.model_dump(mode="json") for edge in found.edges],
    }
    regrouped = [f"{each.kind}: {', '.join(each.first)} > {', '.join(each.second)}" for each in found.matching.regroups]
    emit(payload, as_json, lambda: _sentences((*found.diff.sentences(), *regrouped)))


def _measured(parse: Parse, id: str) -> dict[str, Any]:
    from synth.parse.measure import axial_extent, centroid_mm, surface_mm2, volume_ml

    mask, extent = parse.masks[id], axial_extent(parse.masks[id], parse.geometry)
    return {
        "id": id,
        "name": parse.entity(id).name,
        "volume_ml": volume_ml(mask, parse.geometry),
        "longest_axis_mm": extent.longest_mm,
        "perpendicular_mm": extent.perpendicular_mm,
        "axial_slice": extent.slice_index,
        "surface_mm2": surface_mm2(mask, parse.geometry),
        "centroid_mm": list(centroid_mm(mask, parse.geometry)),
        "truncated": parse.entity(id).truncated,
    }


def _measure_text(payload: dict[str, Any]) -> str:
    width = max((len(row["id"]) for row in payload["entities"]), default=6)
    lines = [f"{'entity':{width}}  volume mL  longest mm  across mm  surface cm²"]
    for row in payload["entities"]:
        numbers = f"{row['volume_ml']:9.2f}  {row['longest_axis_mm']:10.1f}  {row['perpendicular_mm']:9.1f}"
        cut = "  cut by the field of view" if row["truncated"] else ""
        lines.append(f"{row['id']:{width}}  {numbers}  {row['surface_mm2'] / 100:11.1f}{cut}")
    targets = ", ".join(f"{each['id']} {each['diameter_mm']:.1f}" for each in payload["recist"]["targets"])
    lines.append(f"RECIST 1.1 sum: {payload['recist']['sum_mm']:.1f} mm ({targets or 'no target lesion'})")
    return "\n".join(lines)


def _sentences(sentences: tuple[str, ...]) -> str:
    return "\n".join(sentences) if sentences else "nothing changed"
