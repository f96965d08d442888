"""The pictures of a finding: the place drawn again with it and without it, by what lies around alone."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from synth.decoder import load_decoder
from synth.decoder.declared import as_declared
from synth.interop import with_tissues
from synth.parse import Attribute, Entity, Kind, Parse, Phase
from synth.phantom import LesionSpec, Phantom, PhantomSpec, make
from synth.pipeline.audit import AuditOptions, AuditReport, audit, shipped_model
from synth.pipeline.counterfactuals import Counterfactuals, Renders, _within, as_around, continued, from_contrast
from synth.pipeline.tiers import tiers_of
from synth.population import Population
from synth.volume import Geometry, Mask, Volume

KIDNEY, LESION = "kidney_right", "metastasis_1"
SPEC = PhantomSpec(field_of_view="abdomen", belly=0.5, lesions=(LesionSpec("metastasis", "liver", 34.0),))


def _drawing(image: Volume, parse: Parse) -> Counterfactuals:
    tier = tiers_of(load_decoder("direct"), image, shipped_model(), None)[-1]
    return Counterfactuals(tier, parse, Population.load(), 0)


def _parts(parse: Parse) -> Parse:
    """The organs and findings alone, as a segmenter gives them."""
    return parse.without(*(e.id for e in parse.entities if e.kind is Kind.tissue))


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make(7, spec=SPEC)


@pytest.fixture(scope="module")
def nephrectomy(phantom: Phantom) -> tuple[Volume, Parse, Mask]:
    """The same patient after the right kidney was removed, and a parse that still has it."""
    after = make(7, spec=PhantomSpec(field_of_view="abdomen", belly=0.5, absent=(KIDNEY,), lesions=SPEC.lesions))
    place = phantom.parse.masks[KIDNEY]
    parse = _parts(after.parse).without(KIDNEY).with_entity(Entity(id=KIDNEY, name=KIDNEY), place)
    return after.image, parse, place


@pytest.fixture(scope="module")
def kidney(nephrectomy: tuple[Volume, Parse, Mask]) -> Renders:
    image, parse, _ = nephrectomy
    return _drawing(image, parse).of_entity(KIDNEY)


def test_without_a_removed_kidney_its_bed_is_drawn_as_it_is(kidney, nephrectomy):
    image, _, place = nephrectomy
    seen, with_it, without = (
        float(place.values(v.array).mean()) for v in (image, kidney.with_entity, kidney.without_entity)
    )
    assert abs(without - seen) < 40
    assert with_it - seen > 100


def test_outside_its_region_a_picture_is_the_image(kidney, nephrectomy):
    image = nephrectomy[0]
    outside = ~kidney.region.dense()
    for drawn in (kidney.with_entity, kidney.without_entity):
        np.testing.assert_array_equal(drawn.array[outside], image.array[outside])


def test_a_liver_goes_on_where_a_lesion_was_claimed(phantom):
    liver, lesion = phantom.parse.masks["liver"], phantom.parse.masks[LESION]
    free = np.argwhere((liver - lesion).dense())
    middle = free[np.argmin(np.linalg.norm(free - liver.centroid_voxel(), axis=1))]
    ball = np.linalg.norm(np.indices(liver.shape) - middle[:, None, None, None], axis=0) <= 3
    claimed = Mask.from_dense(ball & liver.dense() & ~lesion.dense())
    parse = phantom.parse.with_entity(Entity(id="claimed", name="metastasis"), claimed)
    drawn = _drawing(phantom.image, parse).of_entity("claimed")
    usual = float(np.median((liver - lesion - claimed).values(phantom.image.array)))
    with_it, without = (float(claimed.values(v.array).mean()) for v in (drawn.with_entity, drawn.without_entity))
    assert abs(without - usual) < 10
    assert with_it < usual - 15


def test_a_true_lesion_is_drawn_as_it_is_and_gone_without_it(phantom):
    liver, lesion = phantom.parse.masks["liver"], phantom.parse.masks[LESION]
    drawn = _drawing(phantom.image, phantom.parse.without(LESION)).of_region("missing_1", "metastasis", lesion, "liver")
    seen, usual = (
        float(lesion.values(phantom.image.array).mean()),
        float((liver - lesion).values(phantom.image.array).mean()),
    )
    with_it, without = (float(lesion.values(v.array).mean()) for v in (drawn.with_entity, drawn.without_entity))
    assert abs(with_it - seen) < abs(without - seen)
    assert abs(without - usual) < 10


@pytest.mark.parametrize("tissues", [False, True])
def test_nothing_is_read_from_the_hidden_voxels(nephrectomy, kidney, tissues):
    """Not even by way of tissues that were made by threshold from the whole image."""
    image, parse, _ = nephrectomy
    hidden = kidney.region.dense()
    drawn = []
    for hu in (None, 900.0, -100.0):
        array = image.array.copy()
        if hu is not None:
            array[hidden] = hu
        other = image.with_array(array)
        told = with_tissues(parse, other) if tissues else parse
        found = _drawing(other, told).of_entity(KIDNEY)
        assert found is not None
        drawn.append((found.with_entity.array[hidden], found.without_entity.array[hidden]))
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])


def test_tissues_go_on_into_a_hole_that_nothing_covers(phantom):
    organs = _parts(phantom.parse)
    place = phantom.parse.masks[KIDNEY]
    around = Mask.from_dense(ndimage.binary_dilation(place.dense(), iterations=2))
    told = continued(organs.without(KIDNEY), phantom.image, around)
    kept = continued(organs, phantom.image, around)
    assert told.masks["fat"].overlap(place) > 0.35 * place.voxels
    assert kept.masks["fat"].overlap(place) == 0
    assert told.masks["body"].overlap(place) == place.voxels


def test_what_reaches_into_a_place_is_as_bright_as_outside_of_it(phantom):
    liver = phantom.parse.masks["liver"]
    region = Mask.from_box(liver.shape, tuple(s.start for s in liver.slices), liver.box[: liver.box.shape[0] // 2])
    told = as_around(phantom.parse, phantom.image, region)
    (mean,) = [float(a.value) for a in told.attributes_of("liver") if a.type == "mean_attenuation"]
    assert abs(mean - float(np.median((liver - region).values(phantom.image.array)))) < 10
    assert not [a for a in told.attributes_of("colon") if a.type == "mean_attenuation"]  # gas, stool and wall


def test_a_mean_of_another_phase_is_none_of_this_image(phantom):
    liver = phantom.parse.masks["liver"]
    said = Attribute(entity="liver", type="mean_attenuation", value=55.0, phase=Phase.unenhanced)
    parse = phantom.parse.replace(attributes=[*phantom.parse.attributes, said])
    region = Mask.from_box(liver.shape, tuple(s.start for s in liver.slices), liver.box[: liver.box.shape[0] // 2])
    told = {
        a.phase: a.value for a in as_around(parse, phantom.image, region).attributes_of("liver") if a.type == said.type
    }
    assert told[Phase.unenhanced] == 55.0
    assert told[None] > 80.0


def test_planning_volumes_and_ids_like_those_of_tissues_do_no_harm(phantom):
    lesion = phantom.parse.masks[LESION]
    around = Mask.from_dense(ndimage.binary_dilation(lesion.dense(), iterations=4))
    parse = _parts(phantom.parse).with_entity(Entity(id="ptv", name="ptv"), around)
    parse = parse.with_entity(Entity(id="Fat", name="visceral_fat"), phantom.parse.masks["visceral_fat"])
    drawn = _drawing(phantom.image, parse)
    assert drawn.of_entity(LESION) is not None
    assert drawn.of_entity("ptv") is None


def test_a_finding_keeps_its_mean_beside_and_across_what_it_lies_in():
    """Half in an organ and half out of it, or across two parts of one: each has the mean that is declared of it."""
    shape = (24, 24, 24)
    lesion = Mask.from_dense(np.linalg.norm(np.indices(shape) - 12.0, axis=0) <= 5)
    halves = (
        Mask.from_box(shape, (0, 0, 0), np.ones((12, 24, 24), bool)),
        Mask.from_box(shape, (12, 0, 0), np.ones((12, 24, 24), bool)),
    )
    names = ("liver_segment_2", "liver_segment_3"), ("liver",)
    for parts in names:
        entities = [Entity(id="x", name="metastasis"), *(Entity(id=p, name=p) for p in parts)]
        masks = {"x": lesion, **dict(zip(parts, halves, strict=False))}
        means = {"x": 60.0, **dict.fromkeys(parts, 110.0)}
        attributes = [Attribute(entity=i, type="mean_attenuation", value=v) for i, v in means.items()]
        parse = Parse(entities, tuple(attributes), geometry=Geometry.regular(shape, 4.0), masks=masks)
        start = np.full(shape, 90.0, np.float32)
        region = Mask.from_dense(ndimage.binary_dilation(lesion.dense(), iterations=2))
        drawn = as_declared(start, _within(parse, "x", region), drawn=region.dense(), mean_only=True)
        inner = Mask.from_dense(ndimage.binary_erosion(lesion.dense()))
        for half in halves:
            assert float((inner & half).values(drawn).mean()) == pytest.approx(60.0, abs=4.0)


def test_a_finding_in_an_organ_that_is_wrong_stays_a_finding(phantom):
    said = [Attribute(entity=i, type="mean_attenuation", value=v) for i, v in (("liver", 110.0), (LESION, 60.0))]
    parse = _parts(phantom.parse).replace(attributes=said)
    kept = _within(parse, "liver", parse.masks["liver"])
    assert kept.masks[LESION].voxels == parse.masks[LESION].voxels
    assert kept.masks["liver"].overlap(kept.masks[LESION]) == 0


def test_a_declared_mean_stays_what_was_declared(phantom):
    liver = phantom.parse.masks["liver"]
    said = Attribute(entity="liver", type="mean_attenuation", value=12.0)
    parse = phantom.parse.replace(attributes=[*phantom.parse.attributes, said])
    assert as_around(parse, phantom.image, liver).attributes == parse.attributes


def test_a_report_draws_what_is_wrong_and_what_is_missing(world: ModuleType):
    toy = world.toy_patient(200, lesion=True, removed=KIDNEY)
    claimed = toy.parse.without(KIDNEY, "lesion_1").with_entity(Entity(id=KIDNEY, name=KIDNEY), toy.places[KIDNEY])
    report: AuditReport = audit(toy.image, claimed, AuditOptions(), decoder=world.decoder(), model=world.model())
    wrong, missing = report.findings.flagged[0].id, report.missing[0].id
    assert report.counterfactuals is not None
    own = report.counterfactuals.of_entity(wrong)
    np.testing.assert_array_equal(report.renders(wrong).with_entity.array, own.with_entity.array)
    by_the_way = from_contrast(report.on_grid, report.examined[wrong].examined.contrast)
    assert (by_the_way.with_entity.array != own.with_entity.array).any()
    assert report.renders_of_region(missing) is not None
    assert report.renders_of_region("missing_99") is None
    assert report.renders("nobody") is None
