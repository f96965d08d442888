"""What a phantom patient is like and how it was scanned: everything a user may ask for, everything else sampled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth.errors import InputError

UNENHANCED = "unenhanced"
PHASES = (UNENHANCED, "arterial", "portal_venous", "delayed")
REMOVABLE = ("kidney_left", "kidney_right", "gallbladder", "spleen")
VIEWS = ("torso", "abdomen_pelvis", "abdomen", "chest_abdomen")
STEATOSIS = ("S0", "S1", "S2", "S3")
LIVER_STATES = ("normal", "cirrhotic")
LESION_TYPES = (
    "liver_cyst",
    "metastasis",
    "hepatocellular_carcinoma",
    "liver_hemangioma",
    "kidney_cyst_left",
    "kidney_cyst_right",
    "kidney_stone",
    "gallstone",
    "lung_nodule",
)

LOBES = (
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)
HOSTS = ("liver", "kidney_left", "kidney_right", "gallbladder", *LOBES)
"""Organs that can hold a lesion."""


@dataclass(frozen=True)
class LesionSpec:
    """One lesion: what it is (a vocabulary name), the organ it lies in, and its diameter."""

    name: str
    organ: str
    diameter_mm: float

    def __post_init__(self) -> None:
        if self.name not in LESION_TYPES:
            raise InputError("lesion", expected=f"one of {', '.join(LESION_TYPES)}", got=self.name, fix="pick one")
        if self.organ not in HOSTS:
            raise InputError(
                f"lesion '{self.name}'", expected=f"an organ of {', '.join(HOSTS)}", got=self.organ, fix="pick one"
            )
        if not 2 <= self.diameter_mm <= 120:
            raise InputError(
                f"lesion '{self.name}'",
                expected="a diameter of 2 to 120 mm",
                got=f"{self.diameter_mm:g} mm",
                fix="change diameter_mm",
            )


@dataclass(frozen=True)
class PhantomSpec:
    """A patient and a scan; `sample_spec(seed)` draws one, `dataclasses.replace` changes what matters.

    Sizes are relative to a standard adult; `belly` is visceral fat (0 lean, 1 obese); `breath_mm` lowers the diaphragm;
    `noise_hu` is that of a 4 mm voxel in the abdomen, `kernel_mm` the reconstruction's blur.

    Example:
        >>> PhantomSpec(absent=("spleen",)).absent
        ('spleen',)
    """

    sex: str = "female"
    height: float = 1.0
    width: float = 1.0
    depth: float = 1.0
    fat_mm: float = 18.0
    belly: float = 0.3
    muscle: float = 1.0
    breath_mm: float = 0.0
    bone_hu: float = 150.0
    arms: str = "raised"
    absent: tuple[str, ...] = ()
    lesions: tuple[LesionSpec, ...] = ()
    steatosis: str = "S0"
    liver: str = "normal"
    oral_contrast: bool = False
    phase: str = "portal_venous"
    phases: tuple[str, ...] = ("portal_venous",)
    field_of_view: str = "abdomen_pelvis"
    centre_z_mm: float | None = None
    noise_hu: float = 7.0
    kernel_mm: float = 1.0

    def __post_init__(self) -> None:
        _one_of("sex", self.sex, ("female", "male"))
        _one_of("arms", self.arms, ("raised", "down"))
        _one_of("steatosis", self.steatosis, STEATOSIS)
        _one_of("liver", self.liver, LIVER_STATES)
        _one_of("phase", self.phase, self.phases)
        _one_of("field_of_view", self.field_of_view, VIEWS)
        for name in self.absent:
            _one_of("absent", name, REMOVABLE)
        for name in self.phases:
            _one_of("phases", name, PHASES)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"phantom {field}", expected=f"one of {', '.join(allowed)}", got=repr(value), fix="pick one")


def sample_spec(seed: int) -> PhantomSpec:
    """A plausible patient: build, fat, habitus, operations, lesions and scan all drawn from `seed`."""
    rng = np.random.default_rng([seed, 1])
    sex = str(rng.choice(["female", "male"]))
    male = sex == "male"
    phase = str(rng.choice(PHASES, p=[0.3, 0.1, 0.45, 0.15]))
    absent = tuple(str(n) for n, p in zip(REMOVABLE, (0.07, 0.07, 0.15, 0.05), strict=True) if rng.random() < p)
    if {"kidney_left", "kidney_right"} <= set(absent):
        absent = tuple(n for n in absent if n != "kidney_left")
    return PhantomSpec(
        sex=sex,
        height=float(np.clip(rng.normal(1.02 if male else 0.95, 0.04), 0.86, 1.12)),
        width=float(np.clip(rng.normal(1.04 if male else 0.97, 0.05), 0.84, 1.18)),
        depth=float(np.clip(rng.normal(1.03 if male else 0.98, 0.06), 0.84, 1.2)),
        fat_mm=float(np.clip(rng.gamma(4.0, 4.0 if male else 5.0), 5.0, 48.0)),
        belly=float(np.clip(rng.beta(1.6, 2.2) * (1.15 if male else 0.85), 0.0, 1.0)),
        muscle=float(np.clip(rng.normal(1.05 if male else 0.93, 0.1), 0.7, 1.25)),
        breath_mm=float(rng.normal(0, 12)),
        bone_hu=float(np.clip(rng.normal(140, 45), 50, 270)),
        arms="raised" if rng.random() < 0.8 else "down",
        absent=absent,
        lesions=_sample_lesions(rng, absent),
        steatosis=str(rng.choice(STEATOSIS, p=[0.62, 0.18, 0.12, 0.08])),
        liver="cirrhotic" if rng.random() < 0.1 else "normal",
        oral_contrast=bool(rng.random() < 0.15),
        phase=phase,
        phases=(phase,),
        field_of_view=str(rng.choice(VIEWS, p=[0.25, 0.4, 0.2, 0.15])),
        noise_hu=float(np.clip(7.0 * np.exp(rng.normal(0, 0.4)), 2.5, 20.0)),
        kernel_mm=float(rng.uniform(0.6, 1.6)),
    )


_SITES = {
    "liver_cyst": "liver",
    "metastasis": "liver",
    "hepatocellular_carcinoma": "liver",
    "liver_hemangioma": "liver",
    "kidney_cyst_left": "kidney_left",
    "kidney_cyst_right": "kidney_right",
    "gallstone": "gallbladder",
}
_SIZES = {  # median and spread (natural logarithm) of the diameter in mm
    "liver_cyst": (18, 0.5),
    "metastasis": (22, 0.45),
    "hepatocellular_carcinoma": (30, 0.4),
    "liver_hemangioma": (22, 0.4),
    "kidney_cyst_left": (24, 0.5),
    "kidney_cyst_right": (24, 0.5),
    "kidney_stone": (7, 0.4),
    "gallstone": (11, 0.4),
    "lung_nodule": (11, 0.4),
}
_FREQUENCY = (0.2, 0.2, 0.1, 0.08, 0.1, 0.1, 0.07, 0.06, 0.09)


def _sample_lesions(rng: np.random.Generator, absent: tuple[str, ...]) -> tuple[LesionSpec, ...]:
    out = []
    for _ in range(int(rng.poisson(1.3))):
        name = str(rng.choice(LESION_TYPES, p=_FREQUENCY))
        organ = _SITES.get(name) or str(rng.choice(LOBES if name == "lung_nodule" else ("kidney_left", "kidney_right")))
        median, spread = _SIZES[name]
        count = 1 + int(rng.poisson(1.2)) if name == "metastasis" else 1
        for _ in range(count):
            size = float(np.clip(median * np.exp(rng.normal(0, spread)), 5, 60))
            out.append(LesionSpec(name, organ, size))
    return tuple(lesion for lesion in out if lesion.organ not in absent)
