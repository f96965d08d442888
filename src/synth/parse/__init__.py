"""The parse z: what is claimed to be in an image, checked, stored, measured and compared. Needs no torch."""

from synth.parse.attribute_types import ATTRIBUTE_TYPES, AttributeType, attribute_type
from synth.parse.bundle import is_bundle, load_bundle, save_bundle
from synth.parse.document import json_schema
from synth.parse.items import Attribute, Circumstance, Entity, Relation
from synth.parse.kinds import BodyRegion, Kind, Modality, Phase, Presence, Side
from synth.parse.parse import Parse
from synth.parse.relation_types import RELATION_TYPES, RelationType, canonical_edge, relation_type
from synth.parse.terms import Term
from synth.parse.vocabulary import TOTALSEGMENTATOR_CLASSES, VOCABULARY, Vocabulary, unknown_name

__all__ = [
    "ATTRIBUTE_TYPES",
    "RELATION_TYPES",
    "TOTALSEGMENTATOR_CLASSES",
    "VOCABULARY",
    "Attribute",
    "AttributeType",
    "BodyRegion",
    "Circumstance",
    "Entity",
    "Kind",
    "Modality",
    "Parse",
    "Phase",
    "Presence",
    "Relation",
    "RelationType",
    "Side",
    "Term",
    "Vocabulary",
    "attribute_type",
    "canonical_edge",
    "is_bundle",
    "json_schema",
    "load_bundle",
    "relation_type",
    "save_bundle",
    "unknown_name",
]
