import numpy as np
import torch

from synth.parse import VOCABULARY, Entity
from synth.residual import IntensityPrior
from synth.residual.held_out import HeldOut, hidden_cubes, render_held_out, unexplained
from synth.residual.hosts import ANYWHERE, FINDINGS, findings_of
from synth.residual.missing import attempt, find, shipped_order, site_in
from synth.volume import body_mask


def _searched(world, toy, parse):
    encoded = world.decoder().encode(toy.image)
    body = body_mask(toy.image)
    generator = torch.Generator().manual_seed(0)
    held_out = render_held_out(world.decoder(), encoded, parse, body, generator=generator)
    return encoded, held_out, find(toy.image, parse, held_out, world.prior())


def test_an_unreported_lesion_is_the_strongest_region_and_its_outline_fits(world):
    toy = world.toy_patient(70, lesion=True)
    _, _, found = _searched(world, toy, toy.parse.without("lesion_1"))
    assert found[0].host == "liver"
    assert found[0].mask.dice(toy.parse.masks["lesion_1"]) > 0.6
    assert found[0].step_hu < -40


def test_a_reported_lesion_leaves_nothing_to_explain(world):
    toy = world.toy_patient(70, lesion=True)
    _, _, found = _searched(world, toy, toy.parse)
    own = toy.parse.masks["lesion_1"]
    assert not any(c.mask.dice(own) > 0.2 for c in found)


def test_the_region_is_better_explained_with_the_proposed_entity(world):
    toy = world.toy_patient(71, lesion=True)
    parse = toy.parse.without("lesion_1")
    encoded, _, found = _searched(world, toy, parse)
    tried = attempt(found[0], world.decoder(), encoded, parse, world.prior(), generator=torch.Generator())
    assert tried.name == "metastasis"
    assert tried.contrast.total() > 0
    assert abs(sum(tried.shares.values()) - 1) < 1e-6


def test_an_organ_that_is_falsely_denied_is_proposed(world):
    toy = world.toy_patient(77)
    parse = toy.parse.with_presence("kidney_left", "absent")
    encoded, _, found = _searched(world, toy, parse)
    place = toy.places["kidney_left"]
    (region,) = [c for c in found if c.mask.overlap(place) > 0.3 * place.voxels][:1]
    tried = attempt(region, world.decoder(), encoded, parse, world.prior(), generator=torch.Generator())
    assert tried.name == "kidney_left"
    assert tried.contrast.total() > 0


def test_an_image_that_is_its_own_render_has_no_region_that_the_render_leaves_unexplained(world):
    toy = world.toy_patient(72)
    body = body_mask(toy.image)
    perfect = HeldOut(toy.image.array, np.ones_like(toy.image.array), body)
    assert not perfect.standardised(toy.image.array).any()
    # What stands out from its own organ is tried all the same: here noise, a few voxels of it at most.
    found = find(toy.image, toy.parse, perfect, world.prior())
    assert not any(c.peak for c in found)
    assert sum(c.mask.voxels for c in found) < 12


def test_no_try_is_spent_on_bone_before_the_rest(world):
    toy = world.toy_patient(70)
    parse = toy.parse.replace(
        entities=[e.changed(name="femur_left") if e.id == "spleen" else e for e in toy.parse.entities]
    )
    hu = toy.image.array.copy()
    for organ, value in (("spleen", -300.0), ("kidney_left", 50.0)):
        x, y, z = (round(c) for c in parse.masks[organ].centroid_voxel())
        hu[x - 2 : x + 2, y - 2 : y + 2, z - 2 : z + 2] = value
    image, body = toy.image.with_array(hu), body_mask(toy.image)
    held_out = HeldOut(toy.image.array, np.full_like(hu, 10.0), body)
    in_kidney, in_bone = find(image, parse, held_out, world.prior(), most=4)
    assert (in_kidney.host, in_bone.host) == ("kidney_left", "spleen")
    # By its looks alone the one in bone would come first.
    first, second = (shipped_order().score(c.features(parse), site_in(parse, c)) for c in (in_bone, in_kidney))
    assert first > second


def test_nothing_outside_the_body_is_searched(world):
    toy = world.toy_patient(73)
    hu = toy.image.array.copy()
    hu[:3, :3, :] = 800.0  # a rail of the table
    body = body_mask(toy.image)
    found = find(
        toy.image.with_array(hu), toy.parse, HeldOut(toy.image.array, np.full_like(hu, 10.0), body), world.prior()
    )
    assert not any(c.mask.overlap(body) == 0 for c in found)


def test_every_voxel_of_the_body_is_hidden_exactly_once(world):
    body = body_mask(world.toy_patient(74).image)
    times = np.sum([m.dense().astype(int) for m in hidden_cubes(body)], axis=0)
    np.testing.assert_array_equal(times, body.dense().astype(int))


def test_what_is_usual_for_its_entity_is_no_finding(world):
    toy = world.toy_patient(75)
    rng = np.random.default_rng(0)
    gas = np.full((44, 36, 36), -95.0, np.float32)
    stomach = toy.places["spleen"]
    gas[stomach.slices][stomach.box] = rng.choice([30.0, -900.0], stomach.voxels, p=[0.7, 0.3])
    patients = [(gas, {"stomach": stomach}), (toy.image.array, {"liver": toy.places["liver"]})]
    both = IntensityPrior.fit(patients * 40)  # one patient is not enough to call anything unusual
    assert abs(both.unusual("stomach", np.float32(-900.0))) < 1.5
    assert both.unusual("liver", np.float32(-100.0)) < -2.5
    held_out = HeldOut(np.full_like(gas, 30.0), np.full_like(gas, 20.0), body_mask(toy.image))
    parse = toy.parse.without("spleen").with_entity(Entity(id="stomach", name="stomach"), stomach)
    inside = stomach.dense()
    alone, together = held_out.standardised(gas), unexplained(gas, held_out, parse, both)
    assert np.abs(together[inside]).max() < 0.2 * np.abs(alone[inside]).max()


def test_an_organ_that_is_brighter_all_over_is_no_finding(world):
    toy = world.toy_patient(76)
    held_out = HeldOut(toy.image.array - 60, np.full_like(toy.image.array, 12.0), body_mask(toy.image))
    liver = toy.places["liver"].dense()
    assert held_out.standardised(toy.image.array)[liver].mean() > 4
    assert abs(unexplained(toy.image.array, held_out, toy.parse, world.prior())[liver].mean()) < 0.3


def test_hosts_and_findings_are_names_of_the_vocabulary():
    for host, names in FINDINGS.items():
        assert host in VOCABULARY
        assert all(VOCABULARY.is_a(name, "finding") for name in names)
    assert all(name in VOCABULARY for name in ANYWHERE)
    assert findings_of("liver_segment_3") == FINDINGS["liver"]
