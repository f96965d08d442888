"""d_clin, the clinical distance between two images under a parse; needs numpy, scipy and scikit-image only."""

from synth.distance.clinical import ENOUGH, ClinicalDistance, EntityDistance, clinical_distance
from synth.distance.terms import Term

__all__ = ["ENOUGH", "ClinicalDistance", "EntityDistance", "Term", "clinical_distance"]
