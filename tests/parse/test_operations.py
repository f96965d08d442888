"""Operations on a parse give what they promise, and share what they can."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Entity, Parse, Presence, Relation
from synth.parse.vocabulary import TOTALSEGMENTATOR_CLASSES
from synth.volume import Geometry, Mask

GRID = Geometry.regular((16, 16, 16), 2.0)


def block(*origin: int, size: int = 4) -> Mask:
    return Mask.from_box((16, 16, 16), (origin[0], origin[1], origin[2]), np.ones((size,) * 3, bool))


@pytest.fixture
def parse() -> Parse:
    return Parse(
        [Entity(id="liver", name="liver"), Entity(id="m1", name="metastasis"), Entity(id="spleen", name="spleen")],
        [
            Attribute(entity="m1", type="margin", value="irregular"),
            Attribute(entity="liver", type="mean_attenuation", value=55, derived=True),
        ],
        [
            Relation(type="located_in", subject="m1", object="liver"),
            Relation(type="abuts", subject="liver", object="spleen", derived=True),
        ],
        geometry=GRID,
        masks={"liver": block(2, 2, 2, size=8), "m1": block(4, 4, 4, size=2), "spleen": block(11, 2, 2)},
    )


def test_removing_an_entity_removes_its_mask_attributes_and_relations(parse: Parse) -> None:
    left = parse.without("m1")
    assert left.ids == ("liver", "spleen")
    assert "m1" not in left.masks
    assert [a.entity for a in left.attributes] == ["liver"]
    assert [r.type for r in left.relations] == ["abuts"]
    assert left.masks["liver"] is parse.masks["liver"]


def test_an_entity_taken_out_and_put_back_gives_the_same_parse(parse: Parse) -> None:
    back = parse.without("m1").with_entity(
        parse.entity("m1"), parse.mask("m1"), parse.attributes_of("m1"), parse.relations_of("m1")
    )
    assert back == parse


def test_a_false_absence_keeps_what_was_declared_and_drops_what_was_derived(parse: Parse) -> None:
    gone = parse.with_presence("liver", "absent")
    assert gone.entity("liver").presence is Presence.absent
    assert gone.entity("liver").delineated is False
    assert "liver" not in gone.masks
    assert not gone.attributes_of("liver")
    assert [r.type for r in gone.relations_of("liver")] == ["located_in"]


def test_without_derived_an_audit_cannot_peek(parse: Parse) -> None:
    assert [a.type for a in parse.without_derived().attributes] == ["margin"]
    assert parse.without_derived().masks == parse.masks


def test_a_mask_of_another_grid_cannot_be_put_in(parse: Parse) -> None:
    with pytest.raises(InputError, match=r"masks\[liver\].*shape"):
        parse.with_mask("liver", Mask.from_dense(np.ones((4, 4, 4), bool)))


def test_an_unknown_id_lists_the_nearest(parse: Parse) -> None:
    with pytest.raises(InputError, match=r"livre.*liver"):
        parse.without("livre")


def test_a_crop_marks_what_it_cuts_and_does_not_assess_what_it_loses(parse: Parse) -> None:
    part = parse.cropped((slice(0, 6), slice(0, 16), slice(0, 16)))
    assert part.entity("liver").truncated
    assert not part.entity("m1").truncated
    assert part.entity("spleen").presence is Presence.not_assessed
    assert part.mask("liver").voxels == 4 * 8 * 8
    assert np.allclose(part.geometry.affine, parse.geometry.affine)


def test_resampling_keeps_volumes_and_ids(parse: Parse) -> None:
    fine = parse.resampled(GRID.with_spacing(1.0))
    for id, mask in parse.masks.items():
        assert fine.mask(id).volume_ml(fine.geometry) == pytest.approx(mask.volume_ml(GRID), rel=0.15)
    assert not any(entity.truncated for entity in fine.entities)


def test_a_hundred_and_seventeen_entities_are_built_and_removed_fast() -> None:
    names = TOTALSEGMENTATOR_CLASSES
    entities = [Entity(id=name, name=name) for name in names]
    edges = [Relation(type="abuts", subject=a, object=b) for i, a in enumerate(names) for b in names[i + 1 : i + 15]]
    masks = {name: block(index % 12, index % 11, index % 10) for index, name in enumerate(names)}
    parse = Parse(entities, (), edges, geometry=GRID, masks=masks)
    began = time.perf_counter()
    for name in names:
        parse.without(name)
    assert time.perf_counter() - began < 1.0


def test_importing_the_parse_loads_no_torch() -> None:
    heavy = "any(name.partition('.')[0] in ('torch', 'monai', 'diffusers') for name in sys.modules)"
    code = f"import sys; sys.path[:] = {sys.path!r}; import synth.parse; sys.exit(3 if {heavy} else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_guard_above_can_fail() -> None:
    code = "import sys; sys.modules['torch'] = sys; sys.exit(3 if 'torch' in sys.modules else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
