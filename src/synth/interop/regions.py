"""Which parts of the body a set of organs shows to be in the field of view."""

from __future__ import annotations

from collections.abc import Iterable

from synth.parse import VOCABULARY, BodyRegion

# Organs that lie in one region alone; the spine, the great vessels and the muscles run through several.
_LANDMARKS = {
    BodyRegion.head: ("brain", "eye", "brainstem"),
    BodyRegion.neck: ("larynx", "thyroid_gland", "vertebrae_C4", "vertebrae_C5"),
    BodyRegion.chest: ("heart", "lung", "trachea", "vertebrae_T5", "vertebrae_T6"),
    BodyRegion.abdomen: ("liver", "spleen", "kidney", "pancreas", "vertebrae_L2", "vertebrae_L3"),
    BodyRegion.pelvis: ("urinary_bladder", "sacrum", "prostate", "hip"),
}


def regions_of(names: Iterable[str]) -> tuple[BodyRegion, ...]:
    """Regions in which at least one landmark organ (or a part or sort of it) was found, from head to pelvis.

    Example:
        >>> [str(region) for region in regions_of(["kidney_left", "sacrum", "aorta"])]
        ['abdomen', 'pelvis']
    """
    seen = {wider for name in names for wider in (name, *VOCABULARY.ancestors(name))}
    return tuple(region for region, landmarks in _LANDMARKS.items() if not seen.isdisjoint(landmarks))
