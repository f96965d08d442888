"""The evidence that an entity is where the parse says: numbers from the decoder's contrast and the population.

Everything here is measured on the decoder's grid. The population's part knows only the image and the mask; the
decoder's part is the contrast of the parse with one that lacks the entity. A fusion (`synth.residual.fusion`) turns
them into one score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.contracts import Contrast
from synth.parse import Kind, Parse
from synth.residual.intensity_prior import CLIP_NATS, CORE, OUTER, RIM, SURROUND, IntensityPrior, bins_of
from synth.residual.nearby import nearby_features
from synth.residual.neighbourhood import SECTORS, Neighbourhood
from synth.residual.on_grid import on_grid
from synth.residual.within_host import host_features
from synth.volume import Mask, Volume

Map = NDArray[np.float32]
Zone = NDArray[np.bool_]

MIN_SECTOR_VOXELS = 2
SOFT_TISSUE_HU = (-200.0, 300.0)  # window of spread and gradient: air and metal would decide them alone
WORST_POINT_SIGMA = 1.0  # voxels


@dataclass(frozen=True, eq=False)
class EntityEvidence:
    """What speaks for and against one entity.

    Attributes:
        entity_id, name: whose.
        voxels: size of its mask on the decoder's grid.
        features: named scalars; NaN where one cannot be measured.
        visibility: nats a voxel that its intensity alone is expected to give where it is truly there.
        effect_hu: mean change of the render inside the mask when the entity is taken out; None without a decoder's say.
        total: sum of the contrast over its region, in `unit`; None without.
        worst_voxel: where, inside the mask, the image speaks most against it.
    """

    entity_id: str
    name: str
    voxels: int
    features: Mapping[str, float]
    visibility: float
    effect_hu: float | None = None
    total: float | None = None
    unit: str | None = None
    worst_voxel: tuple[int, int, int] = (0, 0, 0)


def entity_features(
    contrast: Contrast | None, prior: IntensityPrior, image: Volume, parse: Parse, entity_id: str
) -> EntityEvidence:
    """Measure one present, delineated entity.

    `image` and `parse` share the decoder's grid. Without a contrast only the population's features are filled.
    """
    mask, name = parse.masks[entity_id], parse.entity(entity_id).name
    contrast = None if contrast is None else on_grid(contrast, image.shape)
    around = Neighbourhood.of(mask)
    hu = image.array[around.box]
    table, bins = prior.log_density(name), bins_of(hu)
    ratio = (table[CORE] - table[SURROUND])[bins]
    features = {
        "log_voxels": float(np.log(mask.voxels)),
        **_population(table[:, bins], around, ratio),
        **nearby_features(table, bins, around),
        **edge_features(hu, around),
    }
    if parse.entity(entity_id).kind is Kind.finding:
        features |= host_features(image, parse, entity_id)
    score_map = np.clip(ratio, -CLIP_NATS, CLIP_NATS)
    if contrast is not None:
        features |= _contrast(contrast, mask, image)
        score_map = score_map + _onto(around, contrast)
    return EntityEvidence(
        entity_id=entity_id,
        name=name,
        voxels=mask.voxels,
        features=features,
        visibility=prior.expected_ratio(name),
        effect_hu=None if contrast is None else _effect(contrast, mask),
        total=None if contrast is None else contrast.total(),
        unit=None if contrast is None else contrast.unit,
        worst_voxel=_worst_voxel(score_map, around),
    )


def _population(directed: Map, around: Neighbourhood, core: Map) -> dict[str, float]:
    """How well each zone fits the name's histograms; `*_worst` is the direction that fits least.

    `directed` is (zones, x, y, z): each voxel's log density in every zone.
    """
    rim = np.choose(around.sector, list(directed[RIM : RIM + SECTORS])) - directed[SURROUND]
    outer = np.choose(around.sector, list(directed[OUTER : OUTER + SECTORS])) - directed[SURROUND]
    rims, outers = _by_sector(rim, around.rim, around), _by_sector(outer, around.outer, around)
    edges = _by_sector(core, around.rim, around) - _by_sector(core, around.outer, around)
    inside = core[around.core]
    return {
        "prior_core": float(inside.mean()),
        "prior_core_low": float(np.quantile(inside, 0.2)),
        "prior_rim": _mean(rim, around.rim),
        "prior_outer": _mean(outer, around.outer),
        "prior_rim_worst": _lowest(rims),
        "prior_outer_worst": _lowest(outers),
        "prior_border_worst": _lowest(rims + outers),
        "prior_edge": _mean(core, around.rim) - _mean(core, around.outer),
        "prior_edge_worst": _lowest(edges),
    }


def edge_features(hu: Map, around: Neighbourhood) -> dict[str, float]:
    """How even the interior is, and how steep the image is along the normal of the border."""
    soft = np.clip(hu, *SOFT_TISSUE_HU)
    gradient = np.stack(np.gradient(ndimage.gaussian_filter(soft, 0.7)))
    normal = np.stack(np.gradient(ndimage.gaussian_filter(around.inside.astype(np.float32), 1.0)))
    normal /= np.linalg.norm(normal, axis=0) + 1e-6
    along = (gradient * normal).sum(axis=0)
    border = around.rim | around.outer
    return {
        "spread": float(np.log(soft[around.core].std() + 5.0)),
        "gradient_border": float(np.log1p(np.abs(along[border]).mean())),
        "gradient_core": float(np.log1p(np.linalg.norm(gradient, axis=0)[around.core].mean())),
        "gradient_signed": float(along[border].mean() / 20.0),
    }


def _contrast(contrast: Contrast, mask: Mask, image: Volume) -> dict[str, float]:
    """Summaries of the decoder's map inside the mask, on its border and in the hidden margin around it."""
    ratio = contrast.ratio.mean(axis=0)
    clipped = np.clip(ratio, -CLIP_NATS, CLIP_NATS)
    inside = mask.crop(contrast.box) & contrast.region
    margin = contrast.region & ~inside
    if not inside.any():
        return {}
    around = Neighbourhood.of(Mask.from_dense(inside))
    sectors = _by_sector(clipped[around.box], around.rim, around)
    total = contrast.total()
    features = {
        "contrast_mean": float(ratio[inside].mean()),
        "contrast_robust": float(clipped[inside].mean()),
        "contrast_low": float(np.quantile(ratio[inside], 0.2)),
        "contrast_rim": _mean(clipped[around.box], around.rim),
        "contrast_rim_worst": _lowest(sectors),
        "contrast_margin": _mean(clipped, margin),
        "contrast_total": float(np.sign(total) * np.log1p(abs(total))),
    }
    features |= _misfit(contrast, inside, image.array[contrast.box])
    return features | _named(contrast)


def with_features_of(contrast: Contrast, evidence: EntityEvidence) -> EntityEvidence:
    """Evidence that was read from this contrast's map, with the features that the contrast has by now."""
    return replace(evidence, features={**evidence.features, **_named(contrast)})


def _named(contrast: Contrast) -> dict[str, float]:
    return {f"decoder_{key}": float(value) for key, value in contrast.features.items()}


def _misfit(contrast: Contrast, inside: Zone, hu: Map) -> dict[str, float]:
    """Log mean absolute error of the render with the entity, and by how much taking it out changes that."""
    if contrast.with_parse is None or contrast.with_alternative is None:
        return {}
    kept = float(np.log(np.abs(hu - contrast.with_parse)[inside].mean() + 5.0))
    removed = float(np.log(np.abs(hu - contrast.with_alternative)[inside].mean() + 5.0))
    return {"misfit": kept, "misfit_gain": removed - kept}


def _effect(contrast: Contrast, mask: Mask) -> float | None:
    if contrast.with_parse is None or contrast.with_alternative is None:
        return None
    inside = mask.crop(contrast.box)
    return float(np.abs(contrast.with_parse - contrast.with_alternative)[inside].mean()) if inside.any() else 0.0


def _onto(around: Neighbourhood, contrast: Contrast) -> Map:
    """The contrast's map, clipped, over the neighbourhood's box."""
    out = np.zeros(around.inside.shape, np.float32)
    here, there = [], []
    for own, other in zip(around.box, contrast.box, strict=True):
        low, high = max(own.start, other.start), min(own.stop, other.stop)
        if low >= high:
            return out
        here.append(slice(low - own.start, high - own.start))
        there.append(slice(low - other.start, high - other.start))
    out[tuple(here)] = np.clip(contrast.ratio.mean(axis=0), -CLIP_NATS, CLIP_NATS)[tuple(there)]
    return out


def _worst_voxel(score: Map, around: Neighbourhood) -> tuple[int, int, int]:
    weight = ndimage.gaussian_filter(around.inside.astype(np.float32), WORST_POINT_SIGMA)
    smooth = ndimage.gaussian_filter(np.where(around.inside, score, 0.0), WORST_POINT_SIGMA) / np.maximum(weight, 1e-3)
    local = np.unravel_index(int(np.where(around.inside, smooth, np.inf).argmin()), smooth.shape)
    x, y, z = (int(index) + window.start for index, window in zip(local, around.box, strict=True))
    return x, y, z


def _by_sector(values: Map, zone: Zone, around: Neighbourhood) -> NDArray[np.float64]:
    """(6,) mean over each direction of a layer, NaN where it has too few voxels."""
    label = around.sector[zone]
    count = np.bincount(label, minlength=SECTORS)
    total = np.bincount(label, weights=values[zone], minlength=SECTORS)
    return np.where(count >= MIN_SECTOR_VOXELS, total / np.maximum(count, 1), np.nan)


def _lowest(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.min()) if known.size else float("nan")


def _mean(values: Map, zone: Zone) -> float:
    return float(values[zone].mean()) if zone.any() else float("nan")
