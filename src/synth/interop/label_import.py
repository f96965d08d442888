"""Turn a label map, or a folder of masks, into a parse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.interop.regions import regions_of
from synth.interop.tables import LabelClass, classes_from_names, read_name_table, read_nnunet_classes
from synth.interop.totalsegmentator import TOTAL_CLASSES
from synth.parse import Circumstance, Entity, Modality, Parse, Presence, unknown_name
from synth.parse.derive import derive_appearance, derive_relations
from synth.volume import Geometry, Mask, Volume, flipped_axes, read_label_names, read_labels, read_mask, tissue_masks

Source = Literal["totalsegmentator", "nnunet", "names"]
_MADE_BY = {"totalsegmentator": "TotalSegmentator", "nnunet": "nnU-Net", "names": "label map"}
_NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True, eq=False)
class _Found:
    """Class name -> mask (empty for a class without a voxel), the grid, and the way the file's axes ran."""

    masks: Sequence[tuple[str, Mask]]
    geometry: Geometry
    original_axes: str


def import_labels(
    path: str | Path,
    *,
    source: Source,
    names: str | Path | None = None,
    image: Volume | None = None,
    derive: bool = True,
    tissues: bool = False,
    assume_absent: bool = False,
) -> Parse:
    """Read another tool's segmentation as a parse.

    `source`: "totalsegmentator" (multilabel file, named by its header or else by the table of the task `total`; or
    a folder of NAME.nii.gz), "nnunet" (`names` is the dataset.json) or "names" (`names` is a table). With `image`, its
    hash and modality go in, and with `derive` relations from the masks and appearance from the image, marked as
    derived; `tissues` adds body, fat, bone and air from the image. A class without a voxel is `not_assessed`, for the
    tool may have missed it; `assume_absent` takes its word. An entity at the border of the image is `truncated`.

    Raises InputError for unknown names, values without a name, a grid that is not the image's, and a map without
    any label.
    """
    if source not in get_args(Source):
        raise unknown_name("source", source, get_args(Source))
    found = _read(Path(path), source, None if names is None else Path(names))
    if all(mask.is_empty for _, mask in found.masks):
        raise InputError(str(path), expected="labelled voxels", got="an empty label map", fix="check the segmentation")
    geometry = found.geometry if image is None else _same_grid(Path(path), found, image)
    missing = Presence.absent if assume_absent else Presence.not_assessed
    parse = _assemble(found.masks, geometry, missing, _circumstance(source, found.masks, image))
    if tissues:
        parse = with_tissues(parse, image)
    if derive:
        parse = derive_relations(parse)
        parse = parse if image is None else derive_appearance(parse, image)
    return parse


def with_tissues(parse: Parse, image: Volume | None) -> Parse:
    """Add `body`, `fat`, `bone` and `air` by threshold, where the parse has no such entity; marked as derived."""
    if image is None:
        raise InputError("tissues", expected="an image", got="none", fix="give the CT, or leave tissues out")
    made = []
    for name, mask in tissue_masks(image).items():
        if not parse.by_name(name):
            id = parse.free_id(name)
            parse = parse.with_entity(Entity(id=id, name=name, truncated=mask.touches_border), mask)
            made.append(f"entities.{id}")
    return parse.replace(circumstance=parse.circumstance.deriving(*made))


def _read(path: Path, source: Source, names: Path | None) -> _Found:
    if source == "totalsegmentator":
        return _read_folder(path) if path.is_dir() else _read_multilabel(path, _total_classes(path))
    if names is None:
        what = "dataset.json" if source == "nnunet" else "a table of label values and names"
        raise InputError("--names", expected=what, got="none", fix=f"give --names for source {source}")
    return _read_multilabel(path, read_nnunet_classes(names) if source == "nnunet" else read_name_table(names))


def _total_classes(path: Path) -> tuple[LabelClass, ...]:
    in_header = read_label_names(path) if path.name.lower().endswith(_NIFTI) and path.is_file() else {}
    return classes_from_names(in_header or TOTAL_CLASSES, f"{path.name} header" if in_header else "task total")


def _read_multilabel(path: Path, classes: Sequence[LabelClass]) -> _Found:
    read = read_labels(path)
    labels, geometry = read.labels, read.geometry
    boxes = dict(enumerate(ndimage.find_objects(labels), start=1))
    present = {value for value, box in boxes.items() if box is not None}
    unnamed = sorted(present - {value for each in classes for value in each.values})
    if unnamed:
        got = ", ".join(str(v) for v in unnamed[:8]) + (", ..." if len(unnamed) > 8 else "")
        fix = "add them to the table, or call them background"
        raise InputError(f"{path}: values", expected="a name for each", got=f"none for {got}", fix=fix)
    masks = [(each.name, _union(labels, boxes, each.values)) for each in classes]
    return _Found(masks, geometry, read.original_axes)


def _union(labels: NDArray[Any], boxes: Mapping[int, Any], values: Sequence[int]) -> Mask:
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    used = [boxes[value] for value in values if boxes.get(value) is not None]
    if not used:
        return Mask.empty(shape)
    low = [min(box[axis].start for box in used) for axis in range(3)]
    high = [max(box[axis].stop for box in used) for axis in range(3)]
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Mask.from_box(shape, (low[0], low[1], low[2]), np.isin(labels[window], values))


def _read_folder(folder: Path) -> _Found:
    files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(_NIFTI) and not p.name.startswith("."))
    if not files:
        raise InputError(
            str(folder), expected="masks NAME.nii.gz", got="none", fix="give TotalSegmentator's output folder"
        )
    names = {i: file.name.split(".nii")[0] for i, file in enumerate(files)}
    masks: list[tuple[str, Mask]] = []
    reference: Geometry | None = None
    for each in classes_from_names(names, folder.name):
        file = files[each.values[0]]
        mask, geometry = read_mask(file)
        reference = reference or geometry
        difference = reference.describe_difference(geometry, _tolerance(reference))
        if difference:
            expected = f"the grid of {files[0].name}"
            raise InputError(str(file), expected=expected, got=difference, fix="take masks of one run of the tool")
        masks.append((each.name, mask))
    assert reference is not None
    return _Found(masks, reference, "RAS")


def _same_grid(path: Path, found: _Found, image: Volume) -> Geometry:
    """The image's geometry, which the labels must share up to rounding."""
    difference = image.geometry.describe_difference(found.geometry, _tolerance(image.geometry))
    if difference is None:
        return image.geometry
    flipped = flipped_axes(image.geometry, found.geometry)
    if flipped:
        axes = str(image.meta.get("original_axes", "RAS"))
        got = f"one flipped {' and '.join(flipped)} (its file runs {found.original_axes}, the image's {axes})"
        fix = "correct the sign in the affine of the one that is wrong"
        raise InputError(f"{path}: grid", expected="that of the image", got=got, fix=fix)
    fix = "resample the labels to the image"
    raise InputError(f"{path}: grid", expected="that of the image", got=difference, fix=fix)


def _tolerance(geometry: Geometry) -> float:
    """Affines are stored in single precision and rounded by converters: a fiftieth of a voxel is the same place."""
    return 0.02 * min(geometry.spacing_mm)


def _circumstance(source: Source, masks: Sequence[tuple[str, Mask]], image: Volume | None) -> Circumstance:
    regions = regions_of(name for name, mask in masks if not mask.is_empty)
    return Circumstance(
        modality=Modality.unknown if image is None else Modality(image.modality),
        field_of_view=regions,
        image_sha256=None if image is None else image.sha256(),
        made_by=_MADE_BY[source],
        derived_fields=("circumstance.field_of_view",) if regions else (),
    )


def _assemble(
    masks: Sequence[tuple[str, Mask]], geometry: Geometry, missing: Presence, circumstance: Circumstance
) -> Parse:
    entities, drawn, counts = [], {}, dict.fromkeys((name for name, _ in masks), 0)
    for name, mask in masks:
        counts[name] += 1
        identity = name if counts[name] == 1 else f"{name}.{counts[name]}"
        if mask.is_empty:
            entities.append(Entity(id=identity, name=name, presence=missing))
            continue
        entities.append(Entity(id=identity, name=name, truncated=mask.touches_border))
        drawn[identity] = mask
    return Parse(entities, geometry=geometry, circumstance=circumstance, masks=drawn)
