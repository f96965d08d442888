import numpy as np
import pytest

from synth.errors import InputError
from synth.residual.intensity_prior import BINS, OUTER, RIM, SURROUND, ZONES, IntensityPrior
from synth.residual.neighbourhood import Neighbourhood
from synth.volume import Mask


def test_intensities_of_the_organ_speak_for_it_and_those_around_against(world):
    prior = world.prior()
    toy = world.toy_patient(50)
    for name, mask in toy.places.items():
        assert prior.log_ratio(name, mask.values(toy.image.array)).mean() > 0.5
        moved = Mask.from_box(mask.shape, (14, 12, 21), mask.box)
        assert prior.log_ratio(name, moved.values(toy.image.array)).mean() < 0.0


def test_every_histogram_sums_to_one(world):
    for name in ("liver", "kidney_left", "metastasis", "pancreas"):
        density = np.exp(world.prior().log_density(name))
        assert density.shape == (ZONES, BINS)
        np.testing.assert_allclose(density.sum(axis=1), 1.0, atol=1e-4)


def test_a_name_never_seen_leans_on_its_ancestor(world):
    prior = world.prior()
    assert prior.seen("kidney_cyst_left") == 0
    assert prior.seen("metastasis") == 8
    assert prior.log_ratio("liver_metastasis", np.float32(35.0)) > 0  # a metastasis, as those that were seen


def test_a_patient_with_a_large_organ_weighs_no_more_than_one_with_a_small_one():
    def case(side: int, hu: float):
        image = np.full((30, 30, 30), -100.0, np.float32)
        mask = np.zeros(image.shape, bool)
        mask[5 : 5 + side, 5 : 5 + side, 5 : 5 + side] = True
        image[mask] = hu
        return image, {"liver": mask}

    prior = IntensityPrior.fit([case(16, 60.0), case(8, 120.0)])
    assert abs(prior.log_ratio("liver", np.float32(65.0)) - prior.log_ratio("liver", np.float32(125.0))) < 0.3


def test_what_lies_beside_an_organ_is_learned_by_direction():
    image = np.full((30, 30, 30), -100.0, np.float32)
    mask = np.zeros(image.shape, bool)
    mask[10:20, 10:20, 10:20] = True
    image[mask], image[:10] = 60.0, 400.0  # bone on its left
    density = IntensityPrior.fit([(image, {"liver": mask})]).log_density("liver")
    bone = int(np.searchsorted(np.arange(400, 1700, 100), 400, side="right"))
    left, right = OUTER + 3, OUTER
    assert density[left][-14 + bone] > density[right][-14 + bone] + 1.0
    assert density[RIM].shape == density[SURROUND].shape


def test_a_saved_prior_comes_back_the_same(world, tmp_path):
    prior = world.prior()
    prior.save(tmp_path / "prior.safetensors")
    again = IntensityPrior.load(tmp_path / "prior.safetensors")
    for name in ("liver", "spleen", "liver_metastasis"):
        np.testing.assert_array_equal(again.log_density(name), prior.log_density(name))
        steps = np.linspace(-900, 900, 40, dtype=np.float32)
        np.testing.assert_array_equal(again.unusual(name, steps), prior.unusual(name, steps))


def test_a_prior_with_other_bins_is_refused(tmp_path):
    from safetensors.numpy import save_file

    table = {"mass": np.zeros((1, 3, 4), np.float32), "patients": np.zeros((1, 3), np.float32)}
    table |= {"deviations": np.zeros((1, 2), np.float32), "edges": np.zeros(3, np.float32)}
    save_file(table, str(tmp_path / "p.safetensors"), metadata={"names": '["liver"]', "spacing_mm": "4.0"})
    with pytest.raises(InputError, match="fit it with this version"):
        IntensityPrior.load(tmp_path / "p.safetensors")


def test_a_prior_without_a_table_names_it(tmp_path):
    from safetensors.numpy import save_file

    save_file({"mass": np.zeros((1, 3, 4), np.float32)}, str(tmp_path / "p.safetensors"), metadata={"names": "[]"})
    with pytest.raises(InputError, match="deviations"):
        IntensityPrior.load(tmp_path / "p.safetensors")


def test_zones_are_disjoint_and_cover_the_mask(world):
    around = Neighbourhood.of(world.toy_patient(3).places["liver"])
    layers = [around.core, around.rim, around.outer, around.surround]
    assert np.sum(layers, axis=0).max() == 1
    np.testing.assert_array_equal(around.core | around.rim, around.inside)


def test_a_thin_structure_is_all_core():
    thin = np.zeros((12, 12, 12), bool)
    thin[5:7, 5:7, 2:10] = True
    around = Neighbourhood.of(Mask.from_dense(thin))
    np.testing.assert_array_equal(around.core, around.inside)


def test_sectors_point_outwards():
    cube = np.zeros((20, 20, 20), bool)
    cube[6:14, 6:14, 6:14] = True
    around = Neighbourhood.of(Mask.from_dense(cube))
    start = [s.start for s in around.box]
    middle = 10
    for sector, at in enumerate([(14, 10, 10), (10, 14, 10), (10, 10, 14), (5, 10, 10), (10, 5, 10), (10, 10, 5)]):
        assert around.sector[tuple(a - s for a, s in zip(at, start, strict=True))] == sector
    assert not around.outer[tuple(middle - s for s in start)]
