"""HU of every material by contrast phase, drawn per patient, and the texture inside tissues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth.phantom.grid import Real
from synth.phantom.lesions import Lesion, lesion_hu
from synth.phantom.patient import Patient
from synth.phantom.scene import Scene
from synth.phantom.spec import PHASES

# Mean HU in the four phases (unenhanced, arterial, portal venous, delayed), spread between patients, texture within.
_HU: dict[str, tuple[tuple[float, float, float, float], float, float]] = {
    "fat": ((-106, -106, -104, -104), 4, 7),
    "visceral_fat": ((-100, -99, -97, -97), 5, 15),
    "skin": ((0, 5, 10, 10), 10, 8),
    "muscle": ((51, 56, 60, 60), 5, 6),
    "fat_marrow": ((-60, -60, -55, -55), 15, 15),
    "trabecular": ((150, 155, 165, 165), 8, 35),
    "rib_marrow": ((110, 110, 120, 120), 20, 45),
    "sacral_marrow": ((95, 95, 105, 105), 15, 55),
    "pelvic_marrow": ((140, 140, 150, 150), 12, 60),
    "femoral_marrow": ((220, 220, 230, 230), 20, 60),
    "cortical": ((950, 950, 955, 955), 90, 60),
    "cartilage": ((105, 105, 110, 110), 15, 20),
    "disc": ((82, 82, 86, 86), 10, 6),
    "cord": ((32, 34, 36, 36), 4, 4),
    "arterial_blood": ((42, 310, 145, 112), 5, 2),
    "caval_blood": ((40, 75, 125, 110), 6, 4),
    "iliac_venous_blood": ((40, 48, 100, 108), 6, 4),
    "venous_blood": ((41, 160, 125, 108), 6, 4),
    "portal_blood": ((41, 110, 165, 115), 5, 2),
    "hepatic_vein_blood": ((41, 50, 155, 115), 5, 2),
    "left_heart_blood": ((42, 290, 145, 112), 5, 4),
    "right_heart_blood": ((41, 230, 135, 110), 5, 6),
    "myocardium": ((45, 95, 105, 95), 5, 5),
    "lung": ((-800, -800, -798, -798), 35, 30),
    "lung_vessel": ((20, 190, 110, 80), 10, 10),
    "airway": ((-985, -985, -985, -985), 8, 4),
    "wall": ((35, 50, 65, 65), 5, 4),
    "oesophagus": ((34, 50, 64, 62), 5, 10),
    "thyroid": ((105, 180, 150, 135), 15, 6),
    "kidney_cortex": ((32, 160, 175, 145), 5, 4),
    "kidney_medulla": ((29, 70, 165, 155), 5, 4),
    "renal_pelvis": ((6, 8, 25, 320), 4, 4),
    "adrenal": ((18, 55, 68, 50), 6, 4),
    "spleen": ((50, 120, 122, 98), 4, 4),
    "pancreas": ((46, 105, 98, 78), 5, 5),
    "bile": ((8, 8, 9, 10), 5, 2),
    "liver": ((59, 70, 112, 96), 5, 4),
    "urine": ((4, 4, 8, 70), 4, 2),
    "prostate": ((40, 60, 82, 82), 5, 7),
    "uterus": ((46, 80, 105, 100), 6, 9),
    "bowel_wall": ((38, 72, 92, 80), 5, 6),
    "bowel_fluid": ((16, 18, 20, 20), 7, 8),
    "bowel_gas": ((-960, -960, -960, -960), 15, 5),
    "stool": ((38, 38, 40, 40), 14, 38),
}
_STEATOSIS_DROP = {"S0": 0.0, "S1": 13.0, "S2": 28.0, "S3": 48.0}


@dataclass(frozen=True)
class Palette:
    """One patient's HU: `mean(material, phase)` and the texture's amplitude."""

    patient: Patient
    lesions: tuple[Lesion, ...] = ()

    def mean(self, material: str, phase: str) -> float:
        if material.startswith("lesion/"):
            _, id, part = material.split("/")
            return lesion_hu(next(each for each in self.lesions if each.id == id), part, PHASES.index(phase))
        means, spread, _ = _HU[material]
        rng = self.patient.stream("hu " + material)
        i = PHASES.index(phase)
        bolus = float(self.patient.stream("bolus").normal(1.0, 0.16))
        gain = np.clip(bolus * float(rng.normal(1.0, 0.05)), 0.55, 1.5)
        hu = means[0] + (means[i] - means[0]) * gain + float(rng.normal(0, spread))
        return float(hu + self._state(material))

    def _state(self, material: str) -> float:
        """What the patient's condition adds: a fatty liver, thin bone, oral contrast."""
        spec = self.patient.spec
        if material == "liver":
            return -_STEATOSIS_DROP[spec.steatosis] - (4.0 if spec.liver == "cirrhotic" else 0.0)
        if (material.endswith("marrow") and material != "fat_marrow") or material == "trabecular":
            return spec.bone_hu - 150.0
        if material == "bowel_fluid" and spec.oral_contrast:
            return float(self.patient.stream("oral").uniform(120, 260))
        return 0.0

    def texture(self, material: str) -> float:
        if material.startswith("lesion/"):
            return 5.0
        extra = 7.0 if material == "liver" and self.patient.spec.liver == "cirrhotic" else 0.0
        return _HU[material][2] + extra


def render(scene: Scene, phase: str) -> Real:
    """Noise-free HU (X, Y, Z) of the drawn scene: every layer's share times its tissue's HU and texture."""
    palette = Palette(scene.patient, scene.lesions)
    out = np.zeros(scene.grid.shape, np.float32)
    used = np.zeros(scene.grid.shape, np.float32)
    grain = 0.75 * scene.noise("grain", 9.0) + 0.65 * scene.noise("grain coarse", 22.0)
    for layer in scene.layers:
        mean, rough = palette.mean(layer.material, phase), palette.texture(layer.material)
        out[layer.slices] += layer.share * (mean + rough * grain[layer.slices])
        used[layer.slices] += layer.share
    out += scene.amount("lung") * _gravity(scene)
    return out + (1.0 - used) * -1000.0


def _gravity(scene: Scene) -> Real:
    """Lung is denser behind, where the blood and the weight are, in a patient who lies on the back."""
    slope = float(scene.patient.stream("gravity").uniform(0.2, 1.0))
    return np.clip(-slope * (scene.grid.y - 10.0), -60, 120).astype(np.float32)[None, :, None]
