"""What a forecast says, in the form of `forecast.json`; a number that is not known is null."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from synth.residual.findings import Message

FORM = "synth-forecast-1"


class Told(BaseModel):
    """Base of the records: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(Told):
    """The median of the samples, and the ends between which the stated share of them lies."""

    low: float
    median: float
    high: float


class Visit(Told):
    """One lesion at one visit."""

    day: float = Field(description="days from now; 0 is the last visit")
    longest_mm: float
    volume_ml: float


class LesionNow(Told):
    """One followed lesion and its visits."""

    id: str
    name: str
    organ: str | None
    visits: list[Visit]


class LesionThen(Told):
    """One lesion at one day of one plan."""

    id: str
    day: float
    volume_ml: Range
    longest_mm: Range
    gone: float = Field(description="share of the samples in which it is gone")


class Course(Told):
    """One sample at one day: a closed parse, what changed in it, and a scan where one was drawn."""

    name: str = Field(description="low, middle or high by the burden at the last day; else the number of the sample")
    sample: int
    day: float
    parse: str = Field(description="bundle")
    diff: str = Field(description="structural difference to the parse of now, JSON")
    sentences: list[str]
    render: str | None = Field(None, description="synthetic image")
    limited: list[str] = Field(description="lesions that found less room than their volume needs")
    broken: list[str] = Field(description="lesions that grew out of what held them")


class Total(Told):
    """All lesions together at one day."""

    day: float
    burden_ml: Range
    new_lesions: float = Field(description="mean count of new lesions")
    any_new: float = Field(description="share of the samples with at least one")


class PlanForecast(Told):
    """The futures under one plan."""

    name: str
    plan: dict[str, JsonValue]
    effect_source: str = Field(description="learned, law or assumed: where the effect of the plan comes from")
    provenance: dict[str, JsonValue]
    totals: list[Total]
    lesions: list[LesionThen]
    courses: list[Course]
    film: str = Field(description="the middle course in one slice, GIF")


class PlanComparison(Told):
    """Plan b against plan a, over the same draws."""

    a: str
    b: str
    outcome: str
    unit: str
    difference: float
    low: float
    high: float
    least: float = Field(description="difference that counts, in the same unit")
    better: str | None = Field(description="name of the better plan; null where the draws do not decide it")
    effect_source: str


class Drawing(Told):
    """How scans of the futures were drawn, or why they were not."""

    decoder: str | None = None
    weights_sha256: str | None = None
    refused: str | None = Field(None, description="each plan that was not drawn, and why")


class ForecastRecord(Told):
    """The futures of one patient under one plan or several."""

    form: str = FORM
    package: str
    synthetic: bool = True
    parse_made_by: str | None
    image_sha256: str | None
    preflight: list[Message] = Field(description="what does not fit between the scan and the last parse")
    days: list[float] = Field(description="days from now, the last visit")
    samples: int
    seed: int
    level: float = Field(description="share of the samples between low and high")
    lesions: list[LesionNow]
    plans: list[PlanForecast]
    comparisons: list[PlanComparison]
    drawing: Drawing
    trajectory: str = Field(description="burden over time, PNG")


def json_schema() -> dict[str, Any]:
    """JSON Schema of `forecast.json`, as published in docs/schema/forecast.schema.json.

    Example:
        >>> json_schema()["title"]
        'synth forecast'
    """
    schema = ForecastRecord.model_json_schema()
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "synth forecast"}
