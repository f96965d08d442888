"""d_clin, the clinical distance between two images under a parse; needs numpy, scipy and scikit-image only."""

from synth.distance.clinical import ClinicalDistance, EntityDistance, clinical_distance
from synth.distance.terms import Term

__all__ = ["ClinicalDistance", "EntityDistance", "Term", "clinical_distance"]
