"""Volumes and masks: files in, RAS+ arrays with their geometry out, and the only place that knows file formats."""

from synth.volume.atomic import atomic_path, write_bytes
from synth.volume.bounds import MAX_VOXELS
from synth.volume.distance import SignedDistance, dilated, eroded, signed_distance
from synth.volume.geometry import AxisMap, Geometry, Index3, Slices3, closest_axes
from synth.volume.image import AIR_HU, Modality, Unit, Volume
from synth.volume.mask import Mask, bounding_slices, crop_any
from synth.volume.nifti import read_label_names
from synth.volume.orient import Oriented, flipped_axes, to_ras
from synth.volume.read import LabelMap, read_labels, read_mask, read_volume
from synth.volume.resample import resample, resample_labels, resample_mask
from synth.volume.tissue import body_mask, tissue_masks
from synth.volume.write import write_labels, write_mask, write_volume

__all__ = [
    "AIR_HU",
    "MAX_VOXELS",
    "AxisMap",
    "Geometry",
    "Index3",
    "LabelMap",
    "Mask",
    "Modality",
    "Oriented",
    "SignedDistance",
    "Slices3",
    "Unit",
    "Volume",
    "atomic_path",
    "body_mask",
    "bounding_slices",
    "closest_axes",
    "crop_any",
    "dilated",
    "eroded",
    "flipped_axes",
    "read_label_names",
    "read_labels",
    "read_mask",
    "read_volume",
    "resample",
    "resample_labels",
    "resample_mask",
    "signed_distance",
    "tissue_masks",
    "to_ras",
    "write_bytes",
    "write_labels",
    "write_mask",
    "write_volume",
]
