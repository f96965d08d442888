"""Render and regress, a baseline: the image against what is drawn from the claimed parse, and a model that reads it.

    r = render(z, with the claimed mask),   score = w . features(x, r in the mask and around it)

After Xia et al. 2020, "Synthesize then Compare: Detecting Failures and Anomalies for Semantic Segmentation" (ECCV): an
image is synthesised from the segmentation, and a learned module that compares it with the real one predicts where, or
how badly, the segmentation fails. There the synthesis is a conditional GAN and the comparison a network that regresses
the overlap. Here the direct decoder draws its mean image of the mask and its surroundings, given the image around them
(drawn from seven organs alone, the whole image is off by two to eight times as much), and the comparison is the
logistic model that also fuses our own features, which knows each organ's usual differences. Unlike our score it never
asks what would be there without the entity, and it reads no histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from synth.benchmark.moved import TRUE, MaskClaim, claims_about
from synth.contracts import Box, Decoder, EncodedImage
from synth.interop.openkbp import Patient
from synth.parse import Parse
from synth.residual import Fusion
from synth.volume import Mask, Volume

AROUND_VOXELS = 2  # drawn and compared around the mask: where a border should be, or is in the wrong place
REACH_VOXELS = 6  # of the box that is measured in
WINDOW_VOXELS = 5  # sides of the cubes in which image and render are correlated
SOFT_TISSUE_HU = (-200.0, 300.0)
QUANTILES = (0.1, 0.5, 0.9)
LEAST_HU = 5.0  # differences below are alike: the noise of a CT
NOTHING_HU2 = 25.0  # variance added before dividing, so that two flat places are not correlated by their noise

Map = NDArray[np.float32]
Zone = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RenderCompare:
    """The fitted comparison.

    Attributes:
        decoder: that draws; fusion: of the features, "the mask is right" against "it is not".
    """

    decoder: Decoder
    fusion: Fusion

    name = "synthcp"

    @classmethod
    def fit(cls, patients: Iterable[Patient], decoder: Decoder, *, seed: int = 0) -> RenderCompare:
        """On the true and the moved masks of patients on the decoder's grid."""
        rows: list[Mapping[str, float]] = []
        labels, names = [], []
        for patient in patients:
            encoded = decoder.encode(patient.image)
            for claim in claims_about(patient, seed=seed):
                rows.append(compared(decoder, encoded, claim.parse, claim.entity))
                labels.append(claim.condition == TRUE)
                names.append(claim.name)
        return cls(decoder, Fusion.fit(rows, labels, names, meta={"claims": len(rows)}))

    def of(self, image: Volume) -> Callable[[MaskClaim], dict[str, float]]:
        """The score of claims about one image, higher where more believable."""
        encoded = self.decoder.encode(image)

        def score(claim: MaskClaim) -> dict[str, float]:
            features = compared(self.decoder, encoded, claim.parse, claim.entity)
            return {self.name: self.fusion.score(features, claim.name)}

        return score


def compared(decoder: Decoder, encoded: EncodedImage, parse: Parse, entity: str) -> dict[str, float]:
    """Differences between an image and its render from the parse, in one entity's mask and around it.

    `l1_*`, `l2_*`: log of mean absolute and root mean square difference (HU); `bias`: mean difference in soft tissue,
    HU; `gradient_*`: log of how far the gradients are apart; `correlation_*`: mean local correlation; `quantile_*`:
    differences of quantiles of HU; `render_*`: what was drawn; `log_voxels`: size. `core` is the mask, `rim` what
    surrounds it.
    """
    mask = parse.masks[entity]
    generator = torch.Generator().manual_seed(0)  # the mean image is read, which nothing is drawn for
    drawn = decoder.render(parse, encoded, dilated(mask), generator=generator).location
    assert drawn is not None  # the direct decoder has a mean image
    box = _box(mask)
    image, render = encoded.image.array[box], drawn[box]
    core = mask.crop(box)
    rim = dilated(mask).crop(box) & ~core
    features = {"log_voxels": float(np.log(mask.voxels)), **_quantiles(image[core], render[core])}
    for zone_name, zone in (("core", core), ("rim", rim)):
        if zone.any():
            features |= {f"{key}_{zone_name}": value for key, value in _differences(image, render, zone).items()}
    return features


def dilated(mask: Mask) -> Mask:
    """The mask and what is around it, as far as the grid goes."""
    slices = tuple(
        slice(max(s.start - AROUND_VOXELS, 0), min(s.stop + AROUND_VOXELS, n))
        for s, n in zip(mask.slices, mask.shape, strict=True)
    )
    box: Box = slices  # type: ignore[assignment]  # a generator loses the length of 3
    cross = ndimage.generate_binary_structure(3, 1)
    grown = ndimage.binary_dilation(mask.crop(box), cross, iterations=AROUND_VOXELS)
    return Mask.from_box(mask.shape, (box[0].start, box[1].start, box[2].start), grown)


def _box(mask: Mask) -> Box:
    slices = [
        slice(max(s.start - REACH_VOXELS, 0), min(s.stop + REACH_VOXELS, n))
        for s, n in zip(mask.slices, mask.shape, strict=True)
    ]
    return slices[0], slices[1], slices[2]


def _differences(image: Map, render: Map, zone: Zone) -> dict[str, float]:
    off = (image - render)[zone]
    soft, drawn = (np.clip(v, *SOFT_TISSUE_HU) for v in (image, render))
    return {
        "l1": float(np.log(np.abs(off).mean() + LEAST_HU)),
        "l2": float(np.log(np.sqrt(np.square(off).mean()) + LEAST_HU)),
        "bias": float((soft - drawn)[zone].mean()),
        "gradient": float(np.log(_gradient_off(soft, drawn)[zone].mean() + 1.0)),
        "correlation": float(_correlation(soft, drawn)[zone].mean()),
        "render": float(drawn[zone].mean()),
    }


def _gradient_off(image: Map, render: Map) -> Map:
    """Length of the difference of gradients, HU a voxel."""
    return np.asarray(np.linalg.norm(np.stack(np.gradient(image - render)), axis=0), np.float32)


def _correlation(image: Map, render: Map) -> Map:
    """Pearson's, in a cube around each voxel."""

    def mean(values: Map) -> Map:
        return np.asarray(ndimage.uniform_filter(values, WINDOW_VOXELS), np.float32)

    a, b = image - mean(image), render - mean(render)
    return np.asarray(mean(a * b) / np.sqrt((mean(a * a) + NOTHING_HU2) * (mean(b * b) + NOTHING_HU2)), np.float32)


def _quantiles(image: Map, render: Map) -> dict[str, float]:
    """Quantiles of HU in the mask, image less render, and how far apart they are on average."""
    off = np.quantile(image, QUANTILES) - np.quantile(render, QUANTILES)
    named = {f"quantile_{round(100 * q)}": float(v) for q, v in zip(QUANTILES, off, strict=True)}
    return named | {"quantiles": float(np.log(np.abs(off).mean() + LEAST_HU))}
