"""What every term of the vocabulary keeps; a new term is tested by being in the table."""

from __future__ import annotations

import re

import pytest

from synth.errors import InputError
from synth.parse import VOCABULARY, Entity, Kind, Term, Vocabulary

TERMS = tuple(VOCABULARY)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_can_name_a_file_is_coded_and_makes_an_entity_of_its_kind(term: Term) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", term.name)
    assert term.codes
    assert Entity(id="e", name=term.name).kind is term.kind


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_climbs_to_a_root_without_meeting_itself(term: Term) -> None:
    ancestors = VOCABULARY.ancestors(term.name)
    assert term.name not in ancestors
    assert len(set(ancestors)) == len(ancestors)
    assert VOCABULARY.nearest(term.name, {*ancestors[-1:]}) == (ancestors[-1] if ancestors else None)


@pytest.mark.parametrize("term", [term for term in TERMS if term.mirror], ids=lambda term: term.name)
def test_a_mirrored_term_and_its_mirror_agree(term: Term) -> None:
    other = VOCABULARY.term(str(term.mirror))
    assert other.mirror == term.name
    assert other.kind is term.kind
    assert {term.side, other.side} == {"left", "right"}


def test_a_term_whose_parent_is_missing_is_refused() -> None:
    orphan = Term(name="orphan", parent="nowhere", kind=Kind.organ, codes={"synth": "orphan"})
    with pytest.raises(InputError, match="parent of term 'orphan'"):
        Vocabulary([orphan])
