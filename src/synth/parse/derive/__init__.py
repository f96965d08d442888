"""What can be computed from masks and image instead of being declared; all of it is marked as derived."""

from synth.parse.derive.appearance import derive_appearance
from synth.parse.derive.relations import DerivationRules, derive_relations

__all__ = ["DerivationRules", "derive_appearance", "derive_relations"]
