"""`synth.audit`: the audit of images and parses in memory or on disk."""

from __future__ import annotations

from pathlib import Path

from synth.contracts import Decoder
from synth.parse import Parse
from synth.pipeline.audit import Advance, AuditOptions, AuditReport
from synth.pipeline.audit import audit as audit_volume
from synth.pipeline.cases import Reading, read_image, read_parse
from synth.pipeline.prior_alignment import PriorVisit
from synth.residual.judge import AuditModel
from synth.volume import Volume


def audit(
    image: Volume | str | Path,
    parse: Parse | str | Path,
    options: AuditOptions | None = None,
    *,
    decoder: Decoder | None = None,
    model: AuditModel | str | Path | None = None,
    advance: Advance | None = None,
    reading: Reading | None = None,
    prior_visit: PriorVisit | Parse | str | Path | None = None,
) -> AuditReport:
    """Audit a parse against its image; either may be the object or the path of a file, a DICOM folder or a bundle.

    `model` is an `AuditModel` or its folder, such as `synth calibrate` writes; without it the shipped one.
    `reading` says how files are read: the modality where a file does not state it, and what made a label map.
    `prior_visit` is the parse of an earlier visit of the same patient, or its bundle, or with `PriorVisit` also its
    image: what it drew and this parse leaves out is looked for at its place.

    Raises:
        InputError: a file cannot be read, or image, parse, model and prior visit do not fit together.

    Example:
        >>> from synth.volume import Geometry
        >>> from synth.errors import InputError
        >>> try:
        ...     audit("no-such-scan.nii.gz", "no-such-bundle")
        ... except InputError as error:
        ...     print("no-such-scan" in str(error))
        True
    """
    volume = image if isinstance(image, Volume) else read_image(image, reading)
    read = parse if isinstance(parse, Parse) else read_parse(parse, volume, reading)
    known = AuditModel.load(Path(model)) if isinstance(model, str | Path) else model
    before = PriorVisit.read(prior_visit) if isinstance(prior_visit, str | Path) else prior_visit
    return audit_volume(volume, read, options, decoder=decoder, model=known, advance=advance, prior_visit=before)
