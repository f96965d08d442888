"""What an audit knows beforehand: the population's intensities, and how each decoder's evidence is weighed.

On disk a folder: `config.json` (what it was made from), `prior.safetensors`, `fusion.json` (a `Judge` for each
decoder) and, where outlines were calibrated too, `extent.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.parse import VOCABULARY
from synth.residual.conformal import Calibration, p_value
from synth.residual.extent import ExtentJudge
from synth.residual.fusion import Fusion
from synth.residual.hosts import held
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.verdict import Scored, family_of
from synth.volume import write_bytes

NO_DECODER = "prior"  # the judge that is told nothing by a decoder: what the population alone can say
CONFIG, PRIOR, FUSION, EXTENT = "config.json", "prior.safetensors", "fusion.json", "extent.json"


@dataclass(frozen=True, eq=False)
class Weighing:
    """A fusion of evidence, and the scores of true entities under it."""

    fusion: Fusion
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"fusion": self.fusion.to_json(), "calibration": self.calibration.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Weighing:
        """Read what `to_json` gave."""
        return cls(Fusion.from_json(data["fusion"]), Calibration.from_json(data["calibration"]))


@dataclass(frozen=True, eq=False)
class Judge:
    """How one decoder's evidence becomes scores and p-values.

    Attributes:
        decoder_sha256: of the weights that it was calibrated with.
        presence: fusion of an entity's evidence; calibration: scores of true entities under it.
        findings: the same for findings that an organ of the parse holds; None where they are weighed as organs are.
        missing: fusion of a candidate's evidence, None where none was fitted.
        most_suspicious: for each complete parse, the score of its most suspicious candidate.
        facts: what it was calibrated on, for the report.
    """

    decoder_sha256: str
    presence: Fusion
    calibration: Calibration
    missing: Fusion | None = None
    most_suspicious: tuple[float, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: Weighing | None = None

    def weighing(self, features: Mapping[str, float], name: str) -> Weighing:
        """What an entity of this name, with these features, is weighed with and compared to."""
        if self.findings is not None and held(features, name):
            return self.findings
        return Weighing(self.presence, self.calibration)

    def score(self, features: Mapping[str, float], name: str) -> float:
        """Log-likelihood ratio in nats of "an entity of this name is there"."""
        return self.weighing(features, name).fusion.score(features, name)

    def scored(self, features: Mapping[str, float], name: str, volume_ml: float) -> Scored:
        """An entity of this name, beside the scores that it is compared with, to be judged among its family."""
        weighing = self.weighing(features, name)
        family = family_of(VOCABULARY.term(name).kind)
        return Scored(name, volume_ml, weighing.fusion.score(features, name), weighing.calibration, family)

    def missing_score(self, features: Mapping[str, float], name: str, site: str) -> float:
        """Score of a region that the parse leaves out, in nats; as an entity's where no search was fitted.

        Regions are compared among those of their `site` (`hosts.site_of`), whatever they are called: of most names a
        search sees one or two.
        """
        if self.missing is None:
            return self.score(features, name)
        return self.missing.score(features, site)

    def missing_p_value(self, score: float) -> float | None:
        """Share of complete parses in which some region scores at least this high."""
        if not self.most_suspicious:
            return None
        return p_value(-score, [-s for s in self.most_suspicious])

    def to_json(self) -> dict[str, Any]:
        """Plain data for `fusion.json`."""
        return {
            "decoder_sha256": self.decoder_sha256,
            "presence": self.presence.to_json(),
            "calibration": self.calibration.to_json(),
            "findings": None if self.findings is None else self.findings.to_json(),
            "missing": None if self.missing is None else self.missing.to_json(),
            "most_suspicious": [round(s, 4) for s in self.most_suspicious],
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Judge:
        """Read what `to_json` gave."""
        return cls(
            decoder_sha256=str(data["decoder_sha256"]),
            presence=Fusion.from_json(data["presence"]),
            calibration=Calibration.from_json(data["calibration"]),
            missing=None if data["missing"] is None else Fusion.from_json(data["missing"]),
            most_suspicious=tuple(float(s) for s in data["most_suspicious"]),
            facts=dict(data["facts"]),
            findings=None if data.get("findings") is None else Weighing.from_json(data["findings"]),
        )


@dataclass(frozen=True, eq=False)
class AuditModel:
    """Everything that an audit loads beside a decoder; `sha256` covers all of it.

    Attributes:
        extent: how outlines are judged, None for the shipped way.
    """

    prior: IntensityPrior
    judges: Mapping[str, Judge]
    sha256: str = ""
    extent: ExtentJudge | None = None

    @property
    def outlines(self) -> ExtentJudge | None:
        """How outlines are judged; None where nothing was fitted with this population."""
        return self.extent or ExtentJudge.shipped_for(self.prior)

    def judge(self, decoder: str) -> Judge:
        """The judge of a decoder.

        Raises:
            InputError: none was calibrated for it.
        """
        if decoder not in self.judges:
            got = ", ".join(sorted(self.judges)) or "none"
            fix = "use one of these, or calibrate this one"
            raise InputError(f"calibration of decoder '{decoder}'", expected="one in fusion.json", got=got, fix=fix)
        return self.judges[decoder]

    def save(self, folder: Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write the folder; its config last, since that is what makes it count."""
        folder.mkdir(parents=True, exist_ok=True)
        self.prior.save(folder / PRIOR)
        if self.extent is not None:
            self.extent.save(folder / EXTENT)
        judges = {name: judge.to_json() for name, judge in sorted(self.judges.items())}
        write_bytes(folder / FUSION, (json.dumps(judges, separators=(",", ":")) + "\n").encode())
        config = {"audit": 1, "decoders": sorted(self.judges), "facts": dict(facts or {})}
        write_bytes(folder / CONFIG, (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> AuditModel:
        """Read the folder.

        Raises:
            InputError: a file is missing or broken.
        """
        try:
            files = [folder / name for name in (PRIOR, FUSION, EXTENT) if name != EXTENT or (folder / name).is_file()]
            digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
            prior = IntensityPrior.load(folder / PRIOR)
            judges = {name: Judge.from_json(data) for name, data in json.loads((folder / FUSION).read_text()).items()}
            extent = ExtentJudge.load(folder / EXTENT) if folder / EXTENT in files else None
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            got = f"{type(error).__name__}: {error}"
            raise InputError(
                str(folder), expected=f"{PRIOR} and {FUSION}", got=got, fix="fetch the weights again"
            ) from None
        if extent is not None and extent.prior_sha256 != prior.digest:
            expected, fix = "outlines calibrated with the population beside it", "calibrate again"
            raise InputError(str(folder / EXTENT), expected=expected, got="another population", fix=fix)
        return cls(prior, judges, digest, extent)
