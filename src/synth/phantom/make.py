"""`make`: a phantom patient as an image and the parse that is true of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from synth.parse import Attribute, BodyRegion, Circumstance, Entity, Modality, Parse, Phase, Presence
from synth.parse.derive.appearance import measured_appearance
from synth.phantom.anatomy import Anatomy, anatomy
from synth.phantom.intensity import Palette
from synth.phantom.lesions import Lesion
from synth.phantom.patient import Patient
from synth.phantom.relations import declared
from synth.phantom.spec import UNENHANCED, PhantomSpec
from synth.volume import Geometry, Mask, Volume

GENERATOR = "synth phantom 2"
"""Name and version of the generator: the version changes when the same seed gives another image or another parse."""

LEAST_VOXELS = 3
_REGION_OF = {
    "chest": ("heart", "lung_upper_lobe_left", "lung_upper_lobe_right", "sternum"),
    "abdomen": ("liver", "kidney_left", "kidney_right", "pancreas", "vertebrae_L3"),
    "pelvis": ("hip_left", "hip_right", "urinary_bladder"),
    "neck": ("thyroid_gland",),
    "lower_limb": ("femur_left", "femur_right"),
}


@dataclass(frozen=True)
class Phantom:
    """A patient: the image of the primary phase, the true parse, and the image of every phase."""

    image: Volume
    parse: Parse
    phases: Mapping[str, Volume]
    spec: PhantomSpec
    seed: int


def make(
    seed: int,
    *,
    spec: PhantomSpec | None = None,
    spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0),
    shape: tuple[int, int, int] | None = None,
) -> Phantom:
    """Make patient `seed`: same seed, spec and grid, same voxels.

    Args:
        seed: of the patient's build, organs, lesions and noise.
        spec: what the patient and the scan are like; drawn from the seed where it is not given.
        spacing_mm: of the image, any.
        shape: voxels (X, Y, Z); without it the field of view of the spec.

    Example:
        >>> phantom = make(1, spacing_mm=(12.0, 12.0, 12.0), shape=(32, 28, 30))
        >>> phantom.image.shape, "liver" in phantom.parse
        ((32, 28, 30), True)
    """
    drawn = anatomy(seed, spec=spec, spacing_mm=spacing_mm, shape=shape)
    geometry = Geometry(drawn.grid.shape, drawn.grid.affine)
    meta = {"synthetic": f"{GENERATOR} seed {seed}"}
    phases = {
        name: Volume(image, geometry, "CT", "HU", {**meta, "phase": name}) for name, image in drawn.images.items()
    }
    image = phases[drawn.spec.phase]
    return Phantom(image, _parse(drawn, geometry, image.sha256()), phases, drawn.spec, seed)


def _parse(drawn: Anatomy, geometry: Geometry, image_sha256: str) -> Parse:
    masks = {id: Mask.from_dense(inside) for id, inside in drawn.masks.items()}
    masks = {id: mask for id, mask in masks.items() if mask.voxels >= (1 if id in _ids(drawn) else LEAST_VOXELS)}
    lesions = {lesion.id: lesion for lesion in drawn.lesions if lesion.id in masks}
    parse = Parse(
        tuple(_entities(drawn, masks, lesions)),
        (),
        declared(masks, {id: lesion.organ for id, lesion in lesions.items()}),
        geometry=geometry,
        circumstance=Circumstance(
            modality=Modality.ct,
            phase=Phase(drawn.spec.phase),
            day=0.0,
            field_of_view=_regions(masks),
            patient=f"phantom-{drawn.seed}",
            image_sha256=image_sha256,
            made_by=GENERATOR,
        ),
        masks=masks,
    )
    return parse.replace(attributes=tuple(_attributes(drawn, parse, lesions)))


def _ids(drawn: Anatomy) -> set[str]:
    return {lesion.id for lesion in drawn.lesions}


def _entities(drawn: Anatomy, masks: Mapping[str, Mask], lesions: Mapping[str, Lesion]) -> Iterator[Entity]:
    for id, mask in masks.items():
        name = lesions[id].name if id in lesions else id
        yield Entity(id=id, name=name, truncated=mask.touches_border)
    for name in drawn.spec.absent:
        yield Entity(id=name, name=name, presence=Presence.absent)


def _regions(masks: Mapping[str, Mask]) -> tuple[BodyRegion, ...]:
    return tuple(BodyRegion(region) for region, names in _REGION_OF.items() if any(n in masks for n in names))


def _attributes(drawn: Anatomy, parse: Parse, lesions: Mapping[str, Lesion]) -> Iterator[Attribute]:
    spec = drawn.spec
    if "liver" in parse:
        yield Attribute(entity="liver", type="steatosis_grade", value=spec.steatosis)
        state = "cirrhotic" if spec.liver == "cirrhotic" else "normal" if spec.steatosis == "S0" else "steatotic"
        yield Attribute(entity="liver", type="parenchyma", value=state)
    palette = Palette(Patient(drawn.seed, spec), drawn.lesions)
    plain, unenhanced = (
        Volume(drawn.noise_free[phase], parse.geometry, "CT", "HU") for phase in (spec.phase, UNENHANCED)
    )
    for lesion in lesions.values():
        seen = measured_appearance(parse, parse.entity(lesion.id), plain, unenhanced=unenhanced)
        yield from _reading(lesion, seen["mean_attenuation"], seen["enhancement"], palette, spec)


def _reading(lesion: Lesion, hu: float, rise: float, palette: Palette, spec: PhantomSpec) -> Iterator[Attribute]:
    """What a radiologist who knew the truth would say of a lesion of that mean and rise, HU, measured without noise."""
    host = {"liver": "liver", "gallbladder": "bile"}.get(
        lesion.organ, "lung" if "lung" in lesion.organ else "kidney_cortex"
    )
    readings: dict[str, float | str] = {
        "margin": lesion.margin,
        "attenuation_class": _attenuation(lesion.name, hu, palette.mean(host, spec.phase)),
        "enhancement_pattern": lesion.behaviour.pattern,
    }
    size = 2 * max(lesion.radii_mm)
    if lesion.name == "hepatocellular_carcinoma":
        readings["li_rads"] = "LR-5" if size >= 20 else "LR-4"
    elif lesion.name == "lung_nodule":
        readings["lung_rads"] = "2" if size < 6 else "3" if size < 8 else "4A" if size < 15 else "4B"
        readings["nodule_type"] = "solid"
    elif "kidney_cyst" in lesion.name:
        readings["bosniak"] = "I"
    for kind, value in readings.items():
        yield Attribute(entity=lesion.id, type=kind, value=value)
    if spec.phase != UNENHANCED:
        yield Attribute(entity=lesion.id, type="enhancement", value=round(rise, 1), phase=Phase(spec.phase))


def _attenuation(name: str, hu: float, host_hu: float) -> str:
    if "stone" in name and hu > 100:
        return "calcified"
    if "cyst" in name:
        return "fluid"
    return "hypodense" if hu < host_hu - 10 else "hyperdense" if hu > host_hu + 10 else "isodense"
