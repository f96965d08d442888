"""Relations and appearance derived from masks and image, on scenes whose truth is known."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Entity, Parse, Phase, Relation
from synth.parse.derive import derive_appearance, derive_relations
from synth.volume import Geometry, Mask, Volume, read_labels

SHAPE = (40, 40, 40)
GRID = Geometry.regular(SHAPE, 2.0)


def block(origin: tuple[int, int, int], size: tuple[int, int, int]) -> Mask:
    return Mask.from_box(SHAPE, origin, np.ones(size, bool))


def scene(**masks: Mask) -> Parse:
    """Entities whose id is their name, up to a double underscore."""
    entities = [Entity(id=id, name=id.partition("__")[0]) for id in masks]
    return Parse(entities, geometry=GRID, masks=masks)


def edges(parse: Parse) -> set[tuple[str, str, str]]:
    return {relation.key for relation in derive_relations(parse).relations}


LIVER = block((20, 10, 10), (15, 20, 20))


def test_a_lesion_inside_an_organ_is_located_in_it() -> None:
    found = edges(scene(liver=LIVER, metastasis=block((25, 15, 15), (4, 4, 4))))
    assert found == {("located_in", "metastasis", "liver")}


def test_a_lesion_punched_out_of_its_organ_is_located_in_it() -> None:
    lesion = block((25, 15, 15), (4, 4, 4))
    assert edges(scene(liver=LIVER - lesion, metastasis=lesion)) == {("located_in", "metastasis", "liver")}


def test_a_lesion_beside_an_organ_abuts_it() -> None:
    found = edges(scene(liver=LIVER, metastasis=block((16, 15, 15), (4, 4, 4))))
    assert ("abuts", "liver", "metastasis") in found
    assert not [edge for edge in found if edge[0] == "located_in"]


def test_two_organs_a_voxel_apart_do_not_abut() -> None:
    assert not [e for e in edges(scene(liver=LIVER, spleen=block((10, 15, 15), (9, 9, 9)))) if e[0] == "abuts"]
    assert [e for e in edges(scene(liver=LIVER, spleen=block((10, 15, 15), (10, 9, 9)))) if e[0] == "abuts"]


def test_a_lesion_knows_its_segment_and_its_organ() -> None:
    segment = block((20, 10, 10), (8, 20, 20))
    found = edges(scene(liver=LIVER, liver_segment_4=segment, metastasis=block((22, 15, 15), (4, 4, 4))))
    assert found == {
        ("located_in", "metastasis", "liver"),
        ("located_in", "metastasis", "liver_segment_4"),
        ("part_of", "liver_segment_4", "liver"),
    }


def test_a_lesion_of_no_organ_is_located_in_its_tissue() -> None:
    body = block((2, 2, 2), (36, 36, 36))
    muscle = block((5, 5, 5), (12, 12, 12))
    found = edges(scene(body=body, skeletal_muscle=muscle, sarcoma=block((8, 8, 8), (5, 5, 5))))
    assert found == {("located_in", "sarcoma", "skeletal_muscle")}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((2, 15, 15), (20, 15, 15), ("left_of", "stomach", "pancreas")),
        ((15, 20, 15), (15, 2, 15), ("anterior_to", "stomach", "pancreas")),
        ((15, 15, 20), (15, 15, 2), ("superior_to", "stomach", "pancreas")),
        ((20, 15, 15), (2, 15, 15), ("left_of", "pancreas", "stomach")),
    ],
)
def test_directions_are_those_of_the_patient(
    first: tuple[int, int, int], second: tuple[int, int, int], expected: tuple[str, str, str]
) -> None:
    found = edges(scene(stomach=block(first, (8, 8, 8)), pancreas=block(second, (8, 8, 8))))
    assert found == {expected}


def test_no_direction_is_given_where_no_plane_separates() -> None:
    assert edges(scene(stomach=block((2, 2, 2), (10, 10, 10)), pancreas=block((9, 9, 14), (10, 10, 4)))) == {
        ("superior_to", "pancreas", "stomach")
    }
    crossing = scene(stomach=block((2, 2, 2), (10, 10, 10)), pancreas=block((9, 9, 9), (10, 10, 10)))
    assert edges(crossing) == {("abuts", "pancreas", "stomach")}


def test_the_left_of_a_pair_is_left_however_far() -> None:
    found = edges(scene(kidney_left=block((1, 15, 15), (4, 4, 4)), kidney_right=block((35, 15, 15), (4, 4, 4))))
    assert found == {("left_of", "kidney_left", "kidney_right")}


def test_a_tumour_around_a_vessel_encases_it_and_one_beside_it_does_not() -> None:
    aorta = block((18, 18, 2), (4, 4, 36))
    around = block((14, 14, 15), (12, 12, 8)) - aorta
    beside = block((22, 14, 15), (8, 12, 8))
    assert ("encases", "sarcoma", "aorta") in edges(scene(aorta=aorta, sarcoma=around))
    assert "encases" not in {edge[0] for edge in edges(scene(aorta=aorta, sarcoma=beside))}


def test_derived_relations_are_marked_and_declared_ones_stay() -> None:
    lie = Relation(type="left_of", subject="liver", object="spleen")
    parse = scene(liver=LIVER, spleen=block((5, 15, 15), (10, 10, 10))).replace(relations=[lie])
    made = derive_relations(parse)
    assert lie in made.relations
    assert all(relation.derived for relation in made.relations if relation != lie)
    assert "relations.left_of" in made.circumstance.derived_fields
    assert derive_relations(made) == made


@pytest.mark.parametrize("way", [("liver", "metastasis"), ("liver", "spleen", "metastasis")])
def test_a_declaration_the_wrong_way_round_stays_and_closes_no_cycle(way: tuple[str, ...]) -> None:
    parse = scene(liver=LIVER, metastasis=block((25, 15, 15), (4, 4, 4)), spleen=block((2, 2, 2), (4, 4, 4)))
    wrong = [Relation(type="located_in", subject=a, object=b) for a, b in pairwise(way)]
    made = derive_relations(parse.replace(relations=wrong))
    assert [relation for relation in made.relations if relation.type == "located_in"] == wrong


def test_the_relations_of_a_whole_body_take_seconds(shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator"
    labels, geometry = read_labels(folder / "example_seg_fast_force_split.nii.gz")
    names = dict(line.split()[:2] for line in (folder / "labels_total.txt").read_text().splitlines() if line.strip())
    masks = {names[str(value)]: Mask.from_dense(labels == value) for value in np.unique(labels) if value}
    parse = Parse([Entity(id=id, name=id) for id in masks], geometry=geometry, masks=masks)
    began = time.perf_counter()
    found = {relation.key for relation in derive_relations(parse).relations}
    assert time.perf_counter() - began < 5.0
    assert ("left_of", "kidney_left", "kidney_right") in found
    assert ("abuts", "gallbladder", "liver") in found
    assert ("anterior_to", "liver", "vertebrae_T11") in found


@pytest.fixture
def image() -> Volume:
    """Liver of 60 ± 10 HU with a lesion of 20 HU, in a background of -100 HU."""
    rng = np.random.default_rng(5)
    array = np.full(SHAPE, -100.0) + rng.normal(0, 10, SHAPE)
    array[LIVER.slices] += 160.0
    array[25:31, 15:21, 15:21] -= 40.0
    return Volume(array.astype(np.float32), GRID, modality="CT", unit="HU")


def values(parse: Parse, id: str) -> dict[str, float | str]:
    return {attribute.type: attribute.value for attribute in parse.attributes_of(id)}


def test_the_mean_and_spread_are_those_of_the_image(image: Volume) -> None:
    parse = scene(liver=LIVER, metastasis=block((25, 15, 15), (6, 6, 6)))
    made = derive_appearance(parse, image)
    assert values(made, "liver")["mean_attenuation"] == pytest.approx(60, abs=1)
    assert values(made, "liver")["attenuation_spread"] == pytest.approx(10, abs=1)
    assert values(made, "metastasis")["mean_attenuation"] == pytest.approx(20, abs=3)


def test_everything_measured_is_marked_with_its_source_and_leaves_without_derived(image: Volume) -> None:
    parse = scene(liver=LIVER)
    made = derive_appearance(parse, image)
    assert made.attributes
    assert all(a.derived and a.source == image.sha256() for a in made.attributes)
    assert "attributes.mean_attenuation" in made.circumstance.derived_fields
    assert not made.without_derived().attributes
    assert derive_appearance(made, image) == made


def test_the_border_is_left_out_of_a_thick_organ_and_kept_for_a_thin_one(image: Volume) -> None:
    array = image.array.copy()
    array[20, 10:30, 10:30] = 900.0
    shell = image.with_array(array)
    assert values(derive_appearance(scene(liver=LIVER), shell), "liver")["mean_attenuation"] == pytest.approx(60, abs=2)
    plate = scene(liver=block((20, 10, 10), (1, 20, 20)))
    assert values(derive_appearance(plate, shell), "liver")["mean_attenuation"] == pytest.approx(900)


def test_a_sharper_border_and_a_coarser_texture_measure_higher(image: Volume) -> None:
    from scipy import ndimage

    blurred = image.with_array(ndimage.gaussian_filter(image.array, 1.5))
    sharp, soft = (values(derive_appearance(scene(liver=LIVER), v), "liver") for v in (image, blurred))
    assert sharp["edge_sharpness"] > 1.3 * soft["edge_sharpness"]  # type: ignore[operator]
    blobs = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, SHAPE), 2.5)
    coarse = image.with_array(image.array + (200 * blobs).astype(np.float32))
    rough = values(derive_appearance(scene(liver=LIVER), coarse), "liver")
    assert rough["texture"] > sharp["texture"] + 0.5  # type: ignore[operator]


def test_enhancement_is_the_rise_over_the_unenhanced_image(image: Volume) -> None:
    parse = scene(liver=LIVER)
    arterial = parse.replace(circumstance=parse.circumstance.changed(phase="arterial"))
    made = derive_appearance(arterial, image.with_array(image.array + 35.0), unenhanced=image)
    rise = next(a for a in made.attributes if a.type == "enhancement")
    assert rise.value == pytest.approx(35.0, abs=0.01)
    assert rise.phase is Phase.arterial


def test_a_declared_value_is_not_overwritten(image: Volume) -> None:
    declared = Attribute(entity="liver", type="mean_attenuation", value=42)
    made = derive_appearance(scene(liver=LIVER).replace(attributes=[declared]), image)
    assert declared in made.attributes
    assert values(made, "liver")["mean_attenuation"] == 42


def test_an_image_of_another_grid_is_refused(image: Volume) -> None:
    with pytest.raises(InputError, match="image: expected the grid of the parse"):
        derive_appearance(scene(liver=LIVER), image.cropped((slice(0, 20),) * 3))  # type: ignore[arg-type]


def test_magnetic_resonance_gets_signal_and_no_hounsfield_units(image: Volume) -> None:
    signal = Volume(image.array, GRID, modality="MR", unit="au")
    assert set(values(derive_appearance(scene(liver=LIVER), signal), "liver")) == {"mean_signal", "signal_spread"}
