"""Partial noise and back, a baseline: an image denoised without a parse is what is usual; what changed is not.

    x_t = (1 - t) x + t e,   from t back to 0 under the empty parse,   E = mean over the mask of |image - back|, HU

    anoddpm        score = -E: the larger the error, the less believable the mask
    anoddpm_usual  score = -|ln(E + 5) - m| / s, with m, s of true masks of that name: the error is that of the organ

After Wyatt et al. 2022, "AnoDDPM: Anomaly Detection with Denoising Diffusion Probabilistic Models using Simplex Noise"
(CVPR workshops), with the shipped latent flow as the denoiser, which was trained with Gaussian noise. One
reconstruction an image serves all claims about it, whatever they are, for the denoiser is told none. The second score
is not in the paper: a mandible is harder to bring back than a gland, and the first one does not know which is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from synth.benchmark.moved import MaskClaim
from synth.conditioning import collate
from synth.decoder import LatentDecoder
from synth.decoder.flow import interpolate, sample
from synth.decoder.grid import check_grid, whole_box
from synth.decoder.holes import put_back, take
from synth.decoder.intensity import AIR_HU
from synth.errors import InputError
from synth.interop.openkbp import Patient
from synth.parse import Parse
from synth.volume import Mask, Volume

LEAST_HU = 5.0  # errors below are alike: the noise of a CT
FEWEST = 4  # masks of a name; one with fewer is compared with all names together
LEAST_SPREAD = 0.05  # of ln(E + 5)
ANY = "*"


@dataclass(frozen=True)
class PartialNoiseOptions:
    """How an image is noised and brought back, and how the error is read.

    Attributes:
        level: t, how far it is noised; 0 is the image, 1 noise alone.
        steps: of Euler's method on the way back.
        smoothing_voxels: sigma of the Gaussian over the error before it is read.
        seed: of the noise.
    """

    level: float = 0.05
    steps: int = 2
    smoothing_voxels: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = (
            ("noise level", self.level, 0.0, 1.0),
            ("steps", self.steps, 1, 1000),
            ("smoothing_voxels", self.smoothing_voxels, 0.0, 10.0),
        )
        for what, value, low, high in bounds:
            if not low <= value <= high:
                raise InputError(what, expected=f"from {low:g} to {high:g}", got=f"{value:g}", fix="correct the value")


class Denoiser(LatentDecoder):
    """The decoder given, which takes a whole image part of the way to noise and back, told nothing of it."""

    def __init__(self, decoder: LatentDecoder, options: PartialNoiseOptions | None = None) -> None:
        vars(self).update(vars(decoder))
        self.options = options or PartialNoiseOptions()

    @torch.inference_mode()
    def back(self, image: Volume) -> NDArray[np.float32]:
        """(X, Y, Z) HU: the image on the decoder's grid, noised to `level` and denoised under the empty parse.

        In one box: windows give the same to half a HU on average, at three times the cost.

        Raises InputError for an image on another grid.
        """
        check_grid(image.geometry, self.spacing_mm, "image")
        shape, t = image.geometry.shape, self.options.level
        hole = whole_box(shape, self.net.multiple)
        given = self._images(hole, shape, None)[1:]
        scene = self._scene(Parse([], geometry=image.geometry, masks={}))
        with self._autocast():
            condition = self.net.condition(collate([scene.crop(hole.box)]).to(self.device))
            data = self._encode(self._cube(take(image.array, hole.box, AIR_HU)))
            noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(self.options.seed))
            noised = interpolate(data, noise.to(self.device), torch.tensor([t], device=self.device))

            def velocity(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
                # From t to 0 is from 1 to 0 at t times the speed.
                return t * self.net.velocity(x, t * s, condition, *given).float()

            hu = self._decode(sample(velocity, noised, self.options.steps, corrected=False))
        _, within = put_back(hole.box, shape)
        return np.ascontiguousarray(hu[within])

    def error(self, image: Volume) -> NDArray[np.float32]:
        """(X, Y, Z) HU: how far the image is from what it is brought back to, smoothed as the options say."""
        error = np.abs(image.array - self.back(image))
        sigma = self.options.smoothing_voxels
        return np.asarray(ndimage.gaussian_filter(error, sigma) if sigma else error, np.float32)


@dataclass(frozen=True, eq=False)
class PartialNoise:
    """Both scores.

    Attributes:
        denoiser: of the images; usual: name -> mean and spread of ln(E + 5) of true masks, `ANY` for all names.
    """

    denoiser: Denoiser
    usual: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, patients: Iterable[Patient], denoiser: Denoiser) -> PartialNoise:
        """Learn the errors of the true masks of patients on the decoder's grid.

        Raises InputError where there is no mask.
        """
        errors: dict[str, list[float]] = {ANY: []}
        for patient in patients:
            error = denoiser.error(patient.image)
            for id in patient.parse.present_ids:
                value = _log_mean(error, patient.parse.masks[id])
                errors.setdefault(patient.parse.entity(id).name, []).append(value)
                errors[ANY].append(value)
        if not errors[ANY]:
            raise InputError("training patients", expected="some organ with a mask", got="none", fix="name others")
        enough = {name: values for name, values in errors.items() if name == ANY or len(values) >= FEWEST}
        return cls(denoiser, {n: (float(np.mean(v)), float(np.std(v)) + LEAST_SPREAD) for n, v in enough.items()})

    def of(self, image: Volume) -> Callable[[MaskClaim], dict[str, float]]:
        """The scores of claims about one image, higher where more believable, at most 0."""
        error = self.denoiser.error(image)

        def score(claim: MaskClaim) -> dict[str, float]:
            value = _log_mean(error, claim.parse.masks[claim.entity])
            mean, spread = self.usual.get(claim.name, self.usual[ANY])
            return {"anoddpm": LEAST_HU - float(np.exp(value)), "anoddpm_usual": -abs(value - mean) / spread}

        return score


def _log_mean(error: NDArray[np.float32], mask: Mask) -> float:
    return float(np.log(mask.values(error).mean() + LEAST_HU))
