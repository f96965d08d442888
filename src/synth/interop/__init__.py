"""Other tools' segmentations, read as parses."""

from synth.interop.label_import import Source, import_labels, with_tissues
from synth.interop.naming import normalised, vocabulary_name
from synth.interop.tables import LabelClass, classes_from_names, read_name_table, read_nnunet_classes
from synth.interop.totalsegmentator import TOTAL_CLASSES

__all__ = [
    "TOTAL_CLASSES",
    "LabelClass",
    "Source",
    "classes_from_names",
    "import_labels",
    "normalised",
    "read_name_table",
    "read_nnunet_classes",
    "vocabulary_name",
    "with_tissues",
]
