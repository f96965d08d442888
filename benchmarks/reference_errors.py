"""Pictures of the reference masks listed as wrong: python benchmarks/reference_errors.py DATA (openkbp/validation)."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from synth.benchmark.faults import read_reference_errors
from synth.interop.openkbp import read_patient

HERE = Path(__file__).resolve().parent
SOFT_TISSUE_HU = (-300.0, 400.0)
VIEWS = (("from the side", 0), ("from the front", 1), ("from below", 2))


def main(data: Path) -> None:
    """Write openkbp-reference-errors.png: one row a patient, the wrong masks over the CT."""
    errors = read_reference_errors(HERE / "openkbp-reference-errors.csv")
    patients = list(dict.fromkeys(e.patient for e in errors))
    figure, axes = plt.subplots(len(patients), 3, figsize=(9, 3 * len(patients)), constrained_layout=True)
    for row, name in zip(axes, patients, strict=True):
        patient = read_patient(data / name)
        wrong = [patient.parse.masks[e.organ] for e in errors if e.patient == name]
        labels = sum(((k + 1) * mask.dense() for k, mask in enumerate(wrong)), np.zeros(patient.image.shape, int))
        spacing = patient.image.geometry.spacing_mm
        for axes_of_view, (title, axis) in zip(row, VIEWS, strict=True):
            middle = int(wrong[0].centroid_voxel()[axis])
            a, b = (k for k in range(3) if k != axis)
            image, mask = (np.take(v, middle, axis).T for v in (patient.image.array, labels))
            axes_of_view.imshow(
                image, cmap="gray", vmin=SOFT_TISSUE_HU[0], vmax=SOFT_TISSUE_HU[1], origin="lower",
                aspect=spacing[b] / spacing[a],
            )  # fmt: skip
            axes_of_view.imshow(
                np.ma.masked_equal(mask, 0), cmap="autumn", alpha=0.5, origin="lower", aspect=spacing[b] / spacing[a]
            )
            axes_of_view.set(xticks=[], yticks=[], title=f"{name} {title}")
    figure.savefig(HERE / "openkbp-reference-errors.png", dpi=70)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
