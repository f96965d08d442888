"""Claims for a critic: what it sees of each, and the score that the audit gives without it; kept, patient by patient.

`practice`: masks that are right, untouched and jittered, against the same moved by 8-16 and 16-64 mm, to learn from.
`presence`: right ones against the same moved by 8-12, 16-24 and 32-56 mm, as `synth benchmark faults` draws them;
`near`: the same without the farthest; `resized`: right ones against dilated and eroded ones. The direct
decoder alone is asked.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synth.benchmark.extents import FAULTS, TRUE
from synth.benchmark.faults import DISTANCES_MM, SMALLEST_VOXELS, SURFACES
from synth.contracts import Contrast, EncodedImage
from synth.decoder import DirectDecoder
from synth.decoder.holes import take
from synth.decoder.intensity import AIR_HU
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jitter, random_shift
from synth.interop.openkbp import Patient, read_patient
from synth.parse import Parse
from synth.residual import AuditModel, examine
from synth.residual.intensity_prior import CLIP_NATS, CORE, OUTER, RIM, SURROUND, bins_of
from synth.residual.neighbourhood import SECTORS, Neighbourhood
from synth.residual.presence import parts_of
from synth.volume import Mask, Volume, write_bytes
from synth.volume.tissue import body_mask

MOVES_MM = ((8.0, 16.0), (16.0, 64.0))  # of what the critic learns from
TOLD_BY_ALL = ("mandible",)  # nothing to learn, and the largest to ask about
RESIZED = (("dilate", "4-6"), ("dilate", "8-10"), ("erode", "4-6"))
SIDE = 24  # voxels of a critic's window
LOOSE = 4  # beyond the mask, or beyond the window, so that it can be shifted
CHANNELS = ("soft", "wide", "mask", "others", "error_with", "error_without", "ratio", "zones", "core")
SOFT_HU, WIDE_HU = (-200.0, 300.0), (-1000.0, 1500.0)
ERROR_HU, MOST_ERRORS = 100.0, 3.0
Cube = NDArray[np.float16]


@dataclass(frozen=True)
class Told:
    """What is known of a claim beside its cube.

    Attributes:
        family: "true", "moved", "lesion" or one of the outlines' families; severity: distance or severity in mm.
        score: of the audit in nats, of presence or of the outline, higher is more believable; features: what it was
            read from.
    """

    case: str
    name: str
    family: str
    severity: str
    surface: str
    score: float
    features: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Seen:
    """A claim and its cube (channels, x, y, z): the mask, a margin, and at least a loose window."""

    told: Told
    cube: Cube


@dataclass(frozen=True, eq=False)
class Asker:
    """What every claim is asked with."""

    decoder: DirectDecoder
    model: AuditModel

    def seen(self, encoded: EncodedImage, parse: Parse, entity: str, about: Mapping[str, str]) -> Seen:
        """One claim, asked."""
        name = parse.entity(entity).name
        generator = torch.Generator().manual_seed(0)
        found = examine(self.decoder, encoded, parse, entity, self.model.prior, generator=generator)
        features = dict(found.evidence.features)
        score = self.model.judge("direct").presence.score(features, name)
        told = Told(name=name, score=score, features=features, **about)
        return Seen(told, self.cube(encoded.image, parse, entity, found.contrast))

    def cube(self, image: Volume, parse: Parse, entity: str, contrast: Contrast) -> Cube:
        """What the critic sees of a claim, `CHANNELS` in this order."""
        box = frame_of(parse, entity)
        hu = take(image.array, box, AIR_HU)
        mine = take(parse.masks[entity].dense(), box, 0)
        own = {entity, *parts_of(parse, entity)}
        others = np.zeros(hu.shape, bool)
        for other in parse.present_ids:
            if other not in own and other in parse.masks:
                others |= take(parse.masks[other].dense(), box, 0)
        channels = [window(hu, SOFT_HU), window(hu, WIDE_HU), mine, others]
        channels += decoded(image, contrast, box)
        channels += self.population(image, parse, entity, box)
        return np.stack([np.asarray(c, np.float16) for c in channels])

    def population(self, image: Volume, parse: Parse, entity: str, box: Any) -> list[NDArray[np.float32]]:
        """Nats a voxel for the zone of the mask that it lies in, and for the core of what is claimed; clipped."""
        table = self.model.prior.log_density(parse.entity(entity).name)
        around = Neighbourhood.of(parse.masks[entity])
        directed = table[:, bins_of(image.array[around.box])]
        zones = np.zeros(around.inside.shape, np.float32)
        for zone, first in ((around.rim, RIM), (around.outer, OUTER)):
            nats = np.choose(around.sector, list(directed[first : first + SECTORS])) - directed[SURROUND]
            zones[zone] = nats[zone]
        inner = around.inside & ~around.rim
        zones[inner] = (directed[CORE] - directed[SURROUND])[inner]
        whole = np.zeros(image.shape, np.float32)
        whole[around.box] = zones
        core = (table[CORE] - table[SURROUND])[bins_of(take(image.array, box, AIR_HU))]
        return [np.clip(v, -CLIP_NATS, CLIP_NATS) / 2.0 for v in (take(whole, box, 0.0), core)]


def frame_of(parse: Parse, entity: str) -> Any:
    """The box of a cube: it may reach beyond the grid."""
    mask = parse.masks[entity]
    box = []
    for start, size in zip(mask.origin, mask.box.shape, strict=True):
        side = max(size + 2 * LOOSE, SIDE + 2 * LOOSE)
        low = start + size // 2 - side // 2
        box.append(slice(low, low + side))
    return tuple(box)


def window(hu: NDArray[np.float32], ends: tuple[float, float]) -> NDArray[np.float32]:
    """HU clipped to a window, -1 to 1."""
    low, high = ends
    return (np.clip(hu, low, high) - (low + high) / 2) / ((high - low) / 2)


def decoded(image: Volume, contrast: Contrast, box: Any) -> list[NDArray[np.float32]]:
    """The image less each render, and the decoder's ratio, in the hidden region; zero elsewhere."""
    assert contrast.with_parse is not None
    assert contrast.with_alternative is not None
    here = take(image.array, contrast.box, AIR_HU)
    errors = [np.clip((here - r) / ERROR_HU, -MOST_ERRORS, MOST_ERRORS) for r in
              (contrast.with_parse, contrast.with_alternative)]  # fmt: skip
    ratio = np.clip(contrast.ratio.mean(axis=0), -CLIP_NATS, CLIP_NATS) / 2.0
    out = []
    for values in (*errors, ratio):
        whole = np.zeros(image.shape, np.float32)
        whole[contrast.box] = np.where(contrast.region, values, 0.0)
        out.append(take(whole, box, 0.0))
    return out


@dataclass(frozen=True, eq=False)
class Organ:
    """One organ of a patient on the decoder's grid: its right masks, by surface, and where the patient is."""

    patient: Patient
    name: str
    drawn: Mapping[str, Mask]
    body: Mask

    def moved(self, surface: str, distance_mm: tuple[float, float], rng: np.random.Generator) -> Mask | None:
        """The mask elsewhere, None where there is no room."""
        return random_shift(self.drawn[surface], self.patient.parse.geometry, self.body, distance_mm, rng)

    def resized(self, fault: FaultSpec, rng: np.random.Generator) -> Mask | None:
        """The mask dilated or eroded, and then jittered like the right one; None where nothing would be left."""
        parse, asked = self.patient.parse, FaultSpec(fault.family, entity=self.name, severity_mm=fault.severity_mm)
        try:
            wrong = inject(parse, asked, rng, image=self.patient.image).parse.masks[self.name]
        except InputError:
            return None
        return jitter(wrong, parse.geometry, rng) if wrong.voxels >= SMALLEST_VOXELS else None


Wrong = tuple[str, str, str, Mask | None]
Draw = Callable[[Organ, np.random.Generator], Iterator[Wrong]]
"""Wrong masks of an organ: family, severity, surface, mask."""


def practised(organ: Organ, rng: np.random.Generator) -> Iterator[Wrong]:
    """Moved a little and moved far."""
    for distance, surface in zip(MOVES_MM, rng.permutation(SURFACES), strict=True):
        moved = organ.moved(str(surface), distance, rng)
        yield "moved", f"{distance[0]:g}-{distance[1]:g}", str(surface), moved


def shifted(distances: Sequence[str], organ: Organ, rng: np.random.Generator) -> Iterator[Wrong]:
    """Moved by each of these distances."""
    for severity in distances:
        surface = SURFACES[int(rng.integers(2))]
        yield "moved", severity, surface, organ.moved(surface, DISTANCES_MM[severity], rng)


def resized(organ: Organ, rng: np.random.Generator) -> Iterator[Wrong]:
    """Dilated and eroded: no critic learns from these."""
    for key in RESIZED:
        yield *key, "jittered", organ.resized(FAULTS[key], rng)


DRAWS: Mapping[str, tuple[int, Draw]] = {
    "practice": (1, practised),
    "near": (0, partial(shifted, ("8-12", "16-24"))),
    "presence": (0, partial(shifted, tuple(DISTANCES_MM))),
    "resized": (2, resized),
}
"""Kind of claims -> seed, how the wrong ones are drawn."""


def claims_of(asker: Asker, folder: Path, seed: int, draw: Draw) -> Iterator[Seen]:
    """Each organ of a patient as it is, jittered, and wrong, less the organs that nothing mistakes."""
    patient = read_patient(folder).resampled(asker.decoder.spacing_mm)
    parse, body = patient.parse, body_mask(patient.image)
    encoded, rng = asker.decoder.encode(patient.image), np.random.default_rng([seed, *patient.name.encode()])
    for name in parse.present_ids:
        mask = parse.masks[name]
        if mask.voxels < SMALLEST_VOXELS or name in TOLD_BY_ALL:
            continue
        drawn = dict(zip(SURFACES, (mask, jitter(mask, parse.geometry, rng)), strict=True))
        right = [(TRUE, TRUE, surface, m) for surface, m in drawn.items()]
        for family, severity, surface, m in (*right, *draw(Organ(patient, name, drawn, body), rng)):
            if m is not None:
                about = {"case": patient.name, "family": family, "severity": severity, "surface": surface}
                yield asker.seen(encoded, parse.with_mask(name, m), name, about)


def collect(folders: Sequence[Path], kind: str, cache: Path, asker: Asker) -> None:
    """Ask every claim of a kind about these patients, those that the cache has left out."""
    cache.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        path = cache / f"{folder.name}.npz"
        if not path.exists():
            write(path, list(claims_of(asker, folder, *DRAWS[kind])))
            sys.stderr.write(f"{kind} {folder.name}\n")


def write(path: Path, seen: Sequence[Seen]) -> None:
    """Keep the claims of one case."""
    file = io.BytesIO()
    told = json.dumps([asdict(s.told) for s in seen])
    np.savez(file, told=np.array(told), **{f"cube{k}": s.cube for k, s in enumerate(seen)})
    write_bytes(path, file.getvalue())


def read(path: Path) -> list[Seen]:
    """What `write` kept."""
    with np.load(path) as file:
        return [Seen(Told(**told), file[f"cube{k}"]) for k, told in enumerate(json.loads(str(file["told"])))]
