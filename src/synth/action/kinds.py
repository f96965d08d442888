"""The kinds of action, each a frozen record with units; a new kind is a class here and a line in `Action`.

Days count from now: the last visit is day 0, what was done before it has negative days.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synth.parse.items import Id
from synth.parse.record import Record, refuse

Day = Annotated[float, Field(ge=-36525, le=36525)]
"""Days from now; a century either way."""

Margin = Annotated[float, Field(ge=0, le=100)]

MOST_FRACTIONS_A_DAY = 3
"""The most accelerated schedule in use: CHART, three fractions a day (Saunders et al. 1997, Lancet 350:161)."""
MOST_TOTAL_GY = 100.0
"""No external-beam schedule for solid tumours gives more physical dose to one target."""


class AgentClass(StrEnum):
    """How a drug works, as coarse as an effect can be learned for."""

    cytotoxic = "cytotoxic"
    targeted = "targeted"
    immunotherapy = "immunotherapy"
    antiangiogenic = "antiangiogenic"
    hormonal = "hormonal"
    other = "other"


class Timed(Record):
    """What every action has: when it starts and stops, in days from now."""

    start_day: Day
    stop_day: Day

    @model_validator(mode="after")
    def _stops_after_it_starts(self) -> Self:
        if self.stop_day < self.start_day:
            refuse(f"a day from {self.start_day:g} on", f"{self.stop_day:g}", "swap the two days", field="stop_day")
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """Ids of the entities that it is done to; empty for what treats the whole patient."""
        return ()

    def overlaps(self, other: Timed) -> bool:
        """Whether both go on at some moment; one that stops as the other starts does not overlap it."""
        if self.start_day == other.start_day:
            return True
        return self.start_day < other.stop_day and other.start_day < self.stop_day


class Observation(Timed):
    """Nothing is done but looking.

    Example:
        >>> Observation(start_day=0, stop_day=90).targets
        ()
    """

    action: Literal["observation"] = "observation"


class Surgery(Timed):
    """Entities are taken out, with a margin of healthy tissue.

    Attributes:
        entities: ids of what is removed.
        margin_mm: healthy tissue removed around them, 0 to 100 mm.

    Example:
        >>> Surgery(start_day=7, stop_day=7, entities=("lesion-1",), margin_mm=10.0).targets
        ('lesion-1',)
    """

    action: Literal["surgery"] = "surgery"
    entities: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1000)]
    margin_mm: Margin = 0.0

    @property
    def targets(self) -> tuple[str, ...]:
        return self.entities


class Ablation(Timed):
    """One entity is destroyed in place by heat, cold or current.

    Attributes:
        entity: its id.
        margin_mm: healthy tissue destroyed around it, 0 to 100 mm.
    """

    action: Literal["ablation"] = "ablation"
    entity: Id
    margin_mm: Margin = 5.0

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.entity,)


class Embolisation(Timed):
    """The arteries that feed entities are closed, with or without a drug.

    Attributes:
        entities: ids of what is treated.
        with_drug: chemoembolisation rather than bland.
    """

    action: Literal["embolisation"] = "embolisation"
    entities: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1000)]
    with_drug: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        return self.entities


class TherapyAgent(Record):
    """One drug and its schedule.

    Attributes:
        name: as prescribed.
        agent_class: how it works.
        dose, dose_unit: of one administration; a record, for what is usual for a drug is not known here.
        every_days: the time between administrations.
        relative_dose_intensity: dose per time over that of the usual regimen, above 0, at most 2; 1 is the usual one.
            This alone changes a forecast.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    agent_class: AgentClass
    dose: Annotated[float, Field(gt=0, le=100_000)]
    dose_unit: Literal["mg", "mg/m2", "mg/kg", "AUC", "MBq"] = "mg/m2"
    every_days: Annotated[float, Field(gt=0, le=365)]
    relative_dose_intensity: Annotated[float, Field(gt=0, le=2)] = 1.0


class SystemicTherapy(Timed):
    """Drugs that reach every lesion.

    Example:
        >>> drug = TherapyAgent(name="irinotecan", agent_class="cytotoxic", dose=180, every_days=14)
        >>> SystemicTherapy(start_day=0, stop_day=84, agents=(drug,)).classes
        ('cytotoxic',)
    """

    action: Literal["systemic_therapy"] = "systemic_therapy"
    agents: Annotated[tuple[TherapyAgent, ...], Field(min_length=1, max_length=20)]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of its agents, each once, in alphabetical order."""
        return tuple(sorted({str(agent.agent_class) for agent in self.agents}))


class Radiotherapy(Timed):
    """External-beam irradiation of one target.

    Attributes:
        dose_per_fraction_gy: 0.1 to 34 Gy, the most of a single-fraction schedule in use (RTOG 0915).
        fractions: 1 to 60.
        target: id of an entity; planning volumes (`ptv`-like) are meant to be named here.

    Raises `InputError` for a total beyond 100 Gy, and for more than three fractions a day.

    Example:
        >>> Radiotherapy(start_day=0, stop_day=39, dose_per_fraction_gy=2.0, fractions=30, target="ptv-1").total_gy
        60.0
    """

    action: Literal["radiotherapy"] = "radiotherapy"
    dose_per_fraction_gy: Annotated[float, Field(ge=0.1, le=34)]
    fractions: Annotated[int, Field(ge=1, le=60)]
    target: Id

    @model_validator(mode="after")
    def _can_be_given(self) -> Self:
        if self.total_gy > MOST_TOTAL_GY:
            most, fix = f"a total of at most {MOST_TOTAL_GY:g} Gy", "check dose and fractions"
            refuse(most, f"{self.total_gy:g} Gy", fix, field="dose_per_fraction_gy")
        most_given = MOST_FRACTIONS_A_DAY * (self.stop_day - self.start_day + 1)
        if self.fractions > most_given:
            expected = f"at most {most_given:g} in {self.stop_day - self.start_day + 1:g} days"
            refuse(expected, self.fractions, "give it more days", field="fractions")
        return self

    @property
    def total_gy(self) -> float:
        """Physical dose."""
        return self.dose_per_fraction_gy * self.fractions

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,)


Action = Annotated[
    Observation | Surgery | Ablation | Embolisation | SystemicTherapy | Radiotherapy, Field(discriminator="action")
]
"""Any of the actions; in `plan.json` the field `action` says which."""
