from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Entity, Relation
from synth.parse.derive import derive_appearance
from synth.pipeline.render import RenderPipeline, render
from synth.volume import Mask, resample_mask


def test_a_whole_parse_is_drawn_on_the_decoders_grid(world):
    toy = world.toy_patient(1)
    (image,) = render(toy.parse, decoder=world.decoder(), seed=1).images
    assert image.spacing_mm == (4.0, 4.0, 4.0)
    liver = toy.parse.masks["liver"].values(image.array)
    assert abs(liver.mean() - 110) < 15


def test_with_context_only_the_region_changes(world):
    toy = world.toy_patient(2)
    parse = toy.parse.without("spleen").with_entity(toy.parse.entity("spleen"), toy.places["spleen"])
    (image,) = render(parse, decoder=world.decoder(), context=toy.image, region="spleen").images
    inside = toy.places["spleen"].dense()
    np.testing.assert_array_equal(image.array[~inside], toy.image.array[~inside])
    assert (image.array[inside] != toy.image.array[inside]).any()


def test_on_a_finer_image_nothing_outside_the_region_changes_either(world):
    toy = world.toy_patient(3)
    fine_grid = toy.image.geometry.with_spacing(2.0)
    fine = toy.parse.resampled(fine_grid)
    image = toy.image.with_array(toy.image.array)
    from synth.volume import resample

    context = resample(image, fine_grid)
    region = resample_mask(toy.places["liver"], toy.image.geometry, fine_grid)
    (drawn,) = render(fine, decoder=world.decoder(), context=context, region=region).images
    outside = ~region.dense()
    np.testing.assert_array_equal(drawn.array[outside], context.array[outside])


def test_seeds_decide_the_samples(world):
    toy = world.toy_patient(4)
    first, again, other = (render(toy.parse, decoder=world.decoder(), n=2, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.images[1].array, again.images[1].array)
    assert (first.images[0].array != other.images[0].array).any()
    assert (first.images[0].array != first.images[1].array).any()
    assert "seed 5" in first.mark


def test_bad_requests_are_refused(world):
    toy = world.toy_patient(5)
    decoder = world.decoder()
    with pytest.raises(InputError, match="1 to"):
        render(toy.parse, decoder=decoder, n=0)
    with pytest.raises(InputError, match="together with the region"):
        render(toy.parse, decoder=decoder, context=toy.image)
    with pytest.raises(InputError, match="empty mask"):
        render(toy.parse, decoder=decoder, context=toy.image, region=Mask.empty(toy.image.shape))
    with pytest.raises(InputError, match="shape"):
        render(toy.parse, decoder=decoder, context=toy.image, region=Mask.from_dense(np.ones((4, 4, 4), bool)))
    with pytest.raises(InputError):
        render(toy.parse, decoder=decoder, context=toy.image, region="pancreas")


def test_an_image_of_a_batch_is_the_image_of_its_seed_alone(world):
    toy = world.toy_patient(4)
    pipeline = RenderPipeline(world.decoder())
    batch = pipeline(toy.parse, n=3, seed=5, mean=True)
    assert batch.seeds == (5, 6, 7)
    for seed, image in zip(batch.seeds, batch.images, strict=True):
        alone = pipeline(toy.parse, seed=seed)
        np.testing.assert_array_equal(alone.images[0].array, image.array)
        assert alone.mean is None


def test_the_latent_decoder_shows_its_steps_and_gives_the_mean(world, capsys):
    toy = world.toy_patient(4)
    small = toy.parse.cropped((slice(8, 24), slice(8, 24), slice(8, 24)))
    pipeline = RenderPipeline.from_pretrained("latent")
    drawn = pipeline(small, steps=2, guidance=1.5, mean=True, progress=True, max_memory_gb=1.0)
    assert drawn.mean is not None
    assert drawn.mean.shape == drawn.images[0].shape
    assert {k: drawn.provenance[k] for k in ("steps", "guidance", "seed")} == {"steps": 2, "guidance": 1.5, "seed": 0}
    assert "drawing" in capsys.readouterr().err
    plain = pipeline(small, steps=2)
    assert not np.array_equal(plain.images[0].array, drawn.images[0].array)


def test_what_a_decoder_cannot_do_is_refused(world, tmp_path):
    toy = world.toy_patient(4)
    with pytest.raises(InputError, match="which draws in one pass"):
        RenderPipeline.from_pretrained("direct")(toy.parse, steps=4)
    with pytest.raises(InputError, match="one with weights"):
        RenderPipeline(world.decoder()).save_pretrained(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def named_in(parse, host):
    """The parse with a cyst in the host that has no mask."""
    cyst = Entity(id="cyst", name="liver_cyst", presence="present", delineated=False)
    inside = Relation(type="located_in", subject="cyst", object=host)
    return parse.with_entity(cyst).replace(relations=[inside])


def test_a_finding_without_a_mask_is_placed_anew_for_each_seed_and_its_mask_returned(world):
    parse = named_in(world.toy_patient(1).parse, "liver")
    drawn = render(parse, decoder=world.decoder(), n=2, seed=5)
    first, second = (p.mask("cyst") for p in drawn.parses)
    assert first != second
    for mask, image in zip((first, second), drawn.images, strict=True):
        assert mask.shape == image.shape
        assert mask.overlap(drawn.parses[0].mask("liver")) == mask.voxels
    alone = render(parse, decoder=world.decoder(), seed=6)
    assert alone.parses[0].mask("cyst") == second
    np.testing.assert_array_equal(alone.images[0].array, drawn.images[1].array)


def test_a_named_finding_is_drawn_into_an_image(world):
    toy = world.toy_patient(2)
    drawn = render(named_in(toy.parse, "liver"), decoder=world.decoder(), context=toy.image, region="cyst", n=2)
    for image, parse in zip(drawn.images, drawn.parses, strict=True):
        inside = parse.mask("cyst").dense()
        np.testing.assert_array_equal(image.array[~inside], toy.image.array[~inside])
        assert (image.array[inside] != toy.image.array[inside]).any()


def test_what_was_measured_in_other_voxels_does_not_reach_the_decoder(world):
    toy = world.toy_patient(3)
    fine = toy.parse.resampled(toy.image.geometry.with_spacing(2.0))
    from synth.volume import resample

    told = derive_appearance(fine, resample(toy.image, fine.geometry))
    seen = []

    class Watching(type(world.decoder())):
        def render(self, parse, *args, **kwargs):
            seen.append({a.type for a in parse.attributes})
            return super().render(parse, *args, **kwargs)

    watching = Watching(**{f.name: getattr(world.decoder(), f.name) for f in fields(world.decoder()) if f.init})
    render(told, decoder=watching)
    render(derive_appearance(toy.parse, toy.image), decoder=watching)
    assert {"mean_attenuation", "texture"} <= seen[0]
    assert not {"attenuation_spread", "edge_sharpness"} & seen[0]
    assert {"attenuation_spread", "edge_sharpness"} <= seen[1]  # on its own grid
