"""Several faults in one parse, none of which happens to what another happened to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from synth.errors import InputError
from synth.fault.inject import inject
from synth.fault.record import Expectation, Family, Faulted, FaultRecord, FaultSpec
from synth.parse import Parse
from synth.volume import Mask, Volume

Attempt = Callable[[Parse, frozenset[str]], Faulted | None]
"""Plants a fault in a parse, sparing the entities with these ids; None where it cannot."""


@dataclass(frozen=True, eq=False)
class SeveralFaults:
    """A closed parse with several faults in it, and the record of each."""

    parse: Parse
    records: tuple[FaultRecord, ...]

    @property
    def expected(self) -> tuple[Expectation, ...]:
        """The verdicts of all faults."""
        return tuple(e for record in self.records for e in record.expected)

    @property
    def touched(self) -> frozenset[str]:
        """What no further fault may happen to."""
        return frozenset[str]().union(*(record.touched for record in self.records))

    def and_then(self, attempt: Attempt) -> SeveralFaults:
        """With one fault more, in entities of its own; itself where the attempt fails."""
        found = attempt(self.parse, self.touched)
        return self if found is None else SeveralFaults(found.parse, (*self.records, found.record))


def plant_apart(parse: Parse, attempts: Iterable[Attempt], count: int) -> SeveralFaults:
    """Try one attempt after the other until `count` faults are planted; fewer where the attempts run out."""
    planted = SeveralFaults(parse, ())
    for attempt in attempts:
        planted = planted.and_then(attempt)
        if len(planted.records) == count:
            break
    return planted


def inject_several(
    parse: Parse,
    specs: Sequence[FaultSpec],
    rng: np.random.Generator,
    *,
    image: Volume | None = None,
    places: Mapping[str, Mask] | None = None,
) -> SeveralFaults:
    """Plant the faults that `specs` describe, each in entities of its own; see `inject` for one.

    What a spec leaves open is drawn from `rng` among what no other spec names. Wrong relations are planted last: the
    relations that are derived again for a changed entity would contradict them. Records come in the order of `specs`.

    Raises InputError, saying which of the faults it was, when one cannot be planted, or two name the same entity.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(0, spacing_mm=(12.0, 12.0, 12.0)).parse
        >>> made = inject_several(truth, [FaultSpec("relabel"), FaultSpec("delete")], np.random.default_rng(0))
        >>> [e.verdict for e in made.expected]
        ['wrong_label', 'missing']
    """
    if not specs:
        raise InputError("faults", expected="one or more", got="none", fix="say what goes wrong")
    named = [_named(parse, spec) for spec in specs]
    order = sorted(range(len(specs)), key=lambda k: specs[k].family is Family.wrong_relation)
    planted = SeveralFaults(parse, ())
    for k in order:
        reserved = frozenset[str]().union(*(ids for j, ids in enumerate(named) if j != k))
        plant = partial(_inject, spec=specs[k], rng=rng, image=image, places=places, reserved=reserved)
        try:
            planted = planted.and_then(plant)
        except InputError as error:
            if len(specs) == 1:
                raise
            what = f"fault {k + 1} of {len(specs)}, {specs[k].family}: {error.what}"
            raise InputError(what, expected=error.expected, got=error.got, fix=error.fix) from None
    return SeveralFaults(planted.parse, tuple(planted.records[order.index(k)] for k in range(len(specs))))


def _inject(
    parse: Parse,
    touched: frozenset[str],
    *,
    spec: FaultSpec,
    rng: np.random.Generator,
    image: Volume | None,
    places: Mapping[str, Mask] | None,
    reserved: frozenset[str],
) -> Faulted:
    return inject(parse, spec, rng, image=image, places=places, spared=touched | reserved)


def _named(parse: Parse, spec: FaultSpec) -> frozenset[str]:
    """Ids that a spec names, and the name of an organ that it hallucinates."""
    if spec.family is Family.hallucinated_organ:
        asked = {spec.name, spec.entity}
    else:
        asked = {spec.entity, spec.to if spec.family is Family.merge else None}
    names = {name for name in asked if name is not None}
    return frozenset(names | {e.id for e in parse.entities if e.name in names})
