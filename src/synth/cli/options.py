"""Options that several commands take in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SourceOption = Annotated[
    str | None, typer.Option("--from", help="What made a label map: totalsegmentator, nnunet or names.")
]
NamesOption = Annotated[Path | None, typer.Option("--names", help="dataset.json, or a table of values and names.")]
ModalityOption = Annotated[str | None, typer.Option(help="CT or MR, where the image file does not say.")]
DecoderOption = Annotated[str, typer.Option(help="Decoder by name, or its weights folder.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, or cuda where there is one.")]
AuditModelOption = Annotated[Path | None, typer.Option(help="Calibration: a folder of synth calibrate.")]
TiersOption = Annotated[
    str | None, typer.Option(help="Tiers that may be asked, with commas between; 1 is fast. All by default.")
]
AlphaOption = Annotated[float, typer.Option(help="Share of false alarms tolerated among what is flagged.")]
ParserWeightOption = Annotated[
    float, typer.Option(help="Of the parser's confidences in the ranks, 0 to 4; verdicts do not change.")
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same result.")]
