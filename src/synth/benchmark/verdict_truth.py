"""A patient of the verdicts benchmark: an image, and a parse that is true of it but for the jitter of its outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synth.parse import Entity, Parse
from synth.volume import Mask, Volume


@dataclass(frozen=True, eq=False)
class Truth:
    """A patient and what is true of it.

    Attributes:
        name: of the patient; seed: a number of its own, from which its faults are drawn.
        image: the CT; outlines: the true parse with exact masks; parse: the same, every mask jittered.
        removed: the organ that is not there, and where it was; None where that is out of view or nothing was removed.
        lesions: the size of a lesion (a key of `synth.phantom.patients.LESIONS_MM`) -> its id, of those that are whole
            and can be judged.
        drawn: which jitter of the outlines this is, the first is 0.
        spared: entities that no fault may happen to.
    """

    name: str
    seed: int
    image: Volume
    outlines: Parse
    parse: Parse
    removed: tuple[Entity, Mask] | None
    lesions: Mapping[str, str]
    drawn: int = 0
    spared: frozenset[str] = frozenset()
