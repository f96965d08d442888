"""The audit: which entities of a parse the image supports, and what the parse leaves out.

0 preflight      what does not fit is said before anything runs
1 grid           image and parse to the decoder's grid; attributes measured from this image are dropped: no peeking
2 encode         once, for every tier
3 examine        each present, delineated entity: the parse against the parse without it, and the population's
                 intensities; tier after tier, until one has said enough
4 judge          fused score in nats, conformal p-value, Benjamini-Hochberg over anatomy and over findings
5 extent         what the image does not support: would it elsewhere, resized, or under another name? the outline of
                 what is there against where the image changes
6 declared       attributes against the image, relations against the masks, names against the places;
                 ranks by the parser's confidence as well
7 search         organs declared absent, in their beds; what a prior visit drew and the parse leaves out, at its place;
                 what the parse fails to explain, each region tried as an added entity
8 report         everything in one typed object; `synth.report` writes it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synth import __version__
from synth.contracts import Decoder
from synth.errors import InputError
from synth.parse import Kind, Parse, Presence
from synth.pipeline.audit_absences import search_absent
from synth.pipeline.audit_confidence import with_confidence
from synth.pipeline.audit_declared import audit_declared
from synth.pipeline.audit_elsewhere import audit_elsewhere
from synth.pipeline.audit_entities import AuditedEntity, audit_entities
from synth.pipeline.audit_extent import audit_extents
from synth.pipeline.audit_search import FoundRegion, described, search_regions
from synth.pipeline.counterfactuals import Counterfactuals, Renders, from_contrast
from synth.pipeline.preflight import ModelRequirements, preflight, require
from synth.pipeline.prior_alignment import PriorVisit
from synth.pipeline.prior_visit import know
from synth.pipeline.tiers import ALL, tiers_of
from synth.population import Population
from synth.residual.confidence import DEFAULT_WEIGHT, MOST_WEIGHT
from synth.residual.conformal import CalibrationScore
from synth.residual.drift import FACT, drift_messages
from synth.residual.findings import EntityFinding, Findings, Message, MissingFinding
from synth.residual.held_out import HeldOut, render_held_out
from synth.residual.judge import AuditModel, Judge
from synth.volume import Volume, resample, resample_mask
from synth.volume.tissue import body_mask

Advance = Callable[..., None]
"""Called with the number of steps done, `message=` and `total=`; see `synth.cli.output.progress`."""

LIMITS = (
    "Not a medical device: an aid for checking software, not for diagnosis.",
    "Judged on a {grid:g} mm grid: entities and errors smaller than about two voxels are not seen.",
    "It is asked whether each entity is there at all, whether it ends where its outline does, and whether sides, "
    "declared appearance and relations hold. Names are judged by where organs lie; by the image "
    "only where it does not support the claimed one.",
    "An outline is called wrong where it is off by about a centimetre; less, or where two organs look alike, passes.",
    "An entity is compared with the same place without it: neighbours that look alike can trade places and both pass.",
    "Regions reported as missing are places that the parse does not explain; they need not be disease. What stands out "
    "in bone is listed and not judged.",
    "Outlines of muscles are judged only with a site's own calibration.",
    "p-values hold for images like those of the calibration; another scanner, phase or body region can mislead them.",
)

DRAWN_AT_MOST = 12  # findings of each kind that are drawn with them and without them, the strongest first


@dataclass(frozen=True)
class AuditOptions:
    """How to audit.

    Attributes:
        decoder: name of a shipped decoder or a weights folder.
        tiers: which tiers may be asked; 1 is the direct decoder alone; None for all that the decoder has.
        alpha: the share of false alarms tolerated among what is flagged.
        seed: of every random draw.
        search: whether to look for what the parse leaves out.
        device: where the decoder runs: cpu, or cuda where there is one.
        parser_weight: of the parser's log-odds in the ranks, where the parse has confidences; verdicts do not change.
    """

    decoder: str = "fused"
    tiers: tuple[int, ...] | None = None
    alpha: float = 0.1
    seed: int = 0
    search: bool = True
    device: str = "cpu"
    parser_weight: float = DEFAULT_WEIGHT

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise InputError("alpha", expected="a number between 0 and 1", got=f"{self.alpha:g}", fix="0.1 is usual")
        if self.tiers is not None and (not self.tiers or not set(self.tiers) <= set(ALL)):
            got = ",".join(map(str, self.tiers)) or "none"
            raise InputError("tiers", expected=f"among {', '.join(map(str, ALL))}", got=got, fix="use --tiers 1")
        if not 0 <= self.seed < 2**31:
            raise InputError("seed", expected="0 to 2147483647", got=str(self.seed), fix="choose another")
        if not 0.0 <= self.parser_weight <= MOST_WEIGHT:
            got, fix = f"{self.parser_weight:g}", f"{DEFAULT_WEIGHT:g} is the default, 0 for none"
            raise InputError("parser weight", expected=f"0 to {MOST_WEIGHT:g}", got=got, fix=fix)


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What an audit found, and the images that show it.

    Attributes:
        findings: everything of `findings.json`; `entities` and `missing` are shortcuts into it.
        image, parse: the input.
        on_grid: the image on the decoder's grid; render, residual: the held-out prediction (HU) and the standardised
            difference on that grid, None when the search was left out.
        examined: the entities that were asked about; regions: what the search brought up.
        counterfactuals: draws what is wrong with it and without it, when it is asked for.
    """

    findings: Findings
    image: Volume
    parse: Parse
    on_grid: Volume
    render: Volume | None
    residual: Volume | None
    examined: Mapping[str, AuditedEntity] = field(default_factory=dict)
    regions: Mapping[str, FoundRegion] = field(default_factory=dict)
    counterfactuals: Counterfactuals | None = None

    @property
    def entities(self) -> Sequence[EntityFinding]:
        """The entity findings, in the order of the parse."""
        return self.findings.entities

    @property
    def missing(self) -> Sequence[MissingFinding]:
        """Regions beyond chance, the strongest first."""
        return self.findings.missing or []

    def renders(self, id: str) -> Renders | None:
        """The image around an entity that was asked about, redrawn with it and without it.

        What is wrong is drawn as `counterfactuals` has it, the most suspicious `DRAWN_AT_MOST`; anything else as it was
        drawn by the way, for the evidence.
        """
        examined = self.examined[id].examined if id in self.examined else None
        wrong = [f.id for f in self.findings.flagged if f.id in self.examined]
        if examined is None or id not in wrong or self.counterfactuals is None:
            return None if examined is None else from_contrast(self.on_grid, examined.contrast)
        return self.counterfactuals.of_entity(id) if id in wrong[:DRAWN_AT_MOST] else None

    def renders_of_region(self, id: str) -> Renders | None:
        """The same of a region that the search brought up, with the proposed entity in it and without."""
        region = self.regions.get(id)
        missing = [f.id for f in self.missing]
        if region is None or id not in missing or self.counterfactuals is None:
            return None if region is None else from_contrast(self.on_grid, region.tried.contrast)
        found = region.finding
        mask = resample_mask(region.mask, self.image.geometry, self.on_grid.geometry)
        if found.name is None or mask.is_empty or id not in missing[:DRAWN_AT_MOST]:
            return None
        return self.counterfactuals.of_region(id, found.name, mask, found.located_in)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the content of `findings.json`."""
        return self.findings.model_dump(mode="json")


def audit(
    image: Volume,
    parse: Parse,
    options: AuditOptions | None = None,
    *,
    decoder: Decoder | None = None,
    model: AuditModel | None = None,
    advance: Advance | None = None,
    prior_visit: PriorVisit | Parse | None = None,
) -> AuditReport:
    """Audit a parse against its image.

    `decoder` and `model` stand in for the shipped ones. `prior_visit` is what was found of the same patient before: it
    says where to look, and changes no verdict. The same input, options and weights give the same report.

    Raises:
        InputError: image, parse, model and prior visit do not fit together.
    """
    options = options or AuditOptions()
    step = advance or _quiet
    require(preflight(image, parse))  # before any weights are read
    decoder = decoder or _shipped_decoder(options.decoder, options.device)
    model = model or shipped_model()

    messages = _checked(image, parse, decoder)

    grid = image.geometry.with_spacing(decoder.spacing_mm)
    small = image if grid.matches(image.geometry) else resample(image, grid)
    declared = parse.without_derived().resampled(grid)
    body = body_mask(small)

    tiers = tiers_of(decoder, small, model, options.tiers)
    last = tiers[-1]
    before = know(prior_visit, image, declared, decoder.vocabulary)

    step(0, message="entities", total=len(declared.present_ids) + (5 if options.search else 0))
    audited = audit_entities(
        tiers,
        parse,
        declared,
        model.prior,
        alpha=options.alpha,
        seed=options.seed,
        advance=step,
    )

    population = Population.load()
    audited = audit_elsewhere(last, declared, audited, model, population, image=image, seed=options.seed)
    audited = audit_extents(small, parse, declared, audited, model, population, alpha=options.alpha)
    audited = audit_declared(image, parse, audited, model.prior, population, seed=options.seed)
    audited = with_confidence(audited, options.parser_weight)
    audited = before.ranked(audited)

    held_out, regions, recalled = None, None, None
    if options.search:
        step(1, message="unexplained regions")
        beds = before.expected.beds
        absent = search_absent(last, declared, model.prior, population, beds, image=image, seed=options.seed)
        audited = tuple(replace(a, finding=absent.told(a.finding)) for a in audited)
        explained = absent.added(declared, image)
        recalled = before.search(last, explained, model, image=image, alpha=options.alpha, seed=options.seed)
        explained = _seen(recalled.parse)
        generator = torch.Generator().manual_seed(options.seed)
        held_out = render_held_out(last.decoder, last.encoded, explained, body, generator=generator)
        step(2)
        found = search_regions(
            last,
            explained,
            held_out,
            model.prior,
            image=image,
            alpha=options.alpha,
            seed=options.seed,
        )
        regions = tuple(described(r, parse, image) for r in (*absent.regions, *recalled.regions, *found))
        step(2)

    findings = Findings(
        alpha=options.alpha,
        seed=options.seed,
        tiers=[t.number for t in tiers],
        entities=[a.finding for a in audited],
        missing=None if regions is None else [r.finding for r in regions if r.finding.verdict],
        unexplained=None if regions is None else [r.finding for r in regions if not r.finding.verdict],
        prior_visit=before.record(recalled),
        preflight=[*messages, *before.messages, *_drift(tiers[0].judge, audited)],
        calibration=_calibration(last.judge, last.decoder, options.alpha, audited),
        limits=[line.format(grid=decoder.spacing_mm) for line in LIMITS],
        provenance=_provenance(image, parse, last.decoder, model, options),
    )
    return AuditReport(
        findings=findings,
        image=image,
        parse=parse,
        on_grid=small,
        render=None if held_out is None else _render_volume(small, held_out, last.decoder, options.seed),
        residual=None if held_out is None else _residual_volume(small, held_out),
        examined={a.finding.id: a for a in audited if a.examined is not None},
        regions={r.finding.id: r for r in regions or ()},
        counterfactuals=Counterfactuals(last, declared, population, options.seed),
    )


def shipped_model() -> AuditModel:
    """The population prior, fusion and calibration under `weights/audit`."""
    from synth.decoder.checkpoint import weights_folder

    return AuditModel.load(weights_folder("audit"))


def _shipped_decoder(name: str, device: str) -> Decoder:
    from synth.decoder.registry import load_decoder

    return load_decoder(name, device)


def _checked(image: Volume, parse: Parse, decoder: Decoder) -> list[Message]:
    """What the preflight has to say; its first error ends the audit."""
    finest, coarsest = ModelRequirements().spacing_mm
    requirements = ModelRequirements(
        modalities=decoder.modalities, names=decoder.vocabulary, spacing_mm=(finest, max(coarsest, decoder.spacing_mm))
    )
    found = preflight(image, parse, requirements)
    require(found)
    return [Message(**m.to_json()) for m in found]


def _drift(judge: Judge, audited: Sequence[AuditedEntity]) -> list[Message]:
    """Whether the case is like those of the calibration, by the first tier's scores, which every entity has."""
    claimed = [a for a in audited if a.finding.leaning is None]
    asked = [(a.examined.evidence, a.finding.volume_ml or 0.0) for a in claimed if a.examined is not None]
    scores = [CalibrationScore(e.name, volume, judge.presence.score(e.features, e.name)) for e, volume in asked]
    return drift_messages(scores, judge)


def _seen(parse: Parse) -> Parse:
    """The parse less planning volumes: they explain nothing in the image."""
    drawn = [e.id for e in parse.entities if e.kind is Kind.target]
    return parse.without(*drawn) if drawn else parse


def _quiet(step: float = 1, *, message: str | None = None, total: float | None = None) -> None:
    """Say nothing."""


def _render_volume(small: Volume, held_out: HeldOut, decoder: Decoder, seed: int) -> Volume:
    return small.with_array(held_out.location, synthetic=f"held-out render, decoder {decoder.name}, seed {seed}")


def _residual_volume(small: Volume, held_out: HeldOut) -> Volume:
    z: NDArray[np.float32] = np.clip(held_out.standardised(small.array), -20.0, 20.0)
    return Volume(z, small.geometry, "unknown", "au", {"synthetic": "standardised residual (image - render) / scale"})


def _calibration(judge: Judge, decoder: Decoder, alpha: float, audited: Sequence[AuditedEntity]) -> dict[str, Any]:
    checked = [a.finding for a in audited if a.finding.suspicion_rank is not None]
    needed = max((f.calibration.needed for f in checked if f.calibration), default=0)
    return {
        "method": "Mondrian split-conformal p-values, Benjamini-Hochberg over the anatomy and over the findings",
        "alpha": alpha,
        "checked": len(checked),
        "scores": len(judge.calibration.scores),
        "scores_needed": needed,
        "sufficient": len(judge.calibration.scores) >= needed,
        "complete_parses": len(judge.most_suspicious),
        "same_weights": judge.decoder_sha256 == decoder.weights_sha256,
        "parser_confidences": sum(f.fused is not None and f.fused.parser_nats is not None for f in checked),
        "facts": {k: v for k, v in judge.facts.items() if k != FACT},
    }


def _provenance(
    image: Volume, parse: Parse, decoder: Decoder, model: AuditModel, options: AuditOptions
) -> dict[str, Any]:
    circumstance = parse.circumstance
    return {
        "package": f"parse-synth {__version__}",
        "image_sha256": image.sha256(),
        "image_shape": list(image.shape),
        "image_spacing_mm": [round(s, 4) for s in image.spacing_mm],
        "parse_made_by": circumstance.made_by,
        "parse_image_sha256": circumstance.image_sha256,
        "decoder": decoder.name,
        "decoder_sha256": decoder.weights_sha256,
        "audit_model_sha256": model.sha256,
        "grid_mm": decoder.spacing_mm,
        "seed": options.seed,
        "entities": len(parse.entities),
        "present": sum(e.presence is Presence.present for e in parse.entities),
    }
