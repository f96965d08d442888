"""The image that a parse declares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synth.conditioning import Codec, EntityEncoder, Scene, collate
from synth.decoder.intensity import expand
from synth.decoder.sketch import Sketch
from synth.interop import with_tissues
from synth.parse import Attribute
from synth.parse.derive import derive_appearance
from synth.phantom import LesionSpec, make
from synth.phantom.spec import sample_spec


@pytest.fixture(scope="module")
def drawn() -> tuple[Scene, np.ndarray, np.ndarray]:
    """A scene with a declared cyst in a declared kidney, its sketch in HU, and what is said beside it."""
    from dataclasses import replace

    spec = replace(
        sample_spec(3),
        field_of_view="abdomen",
        absent=(),
        lesions=(LesionSpec("kidney_cyst_left", "kidney_left", 30.0),),
    )
    made = make(3, spec=spec, spacing_mm=(8.0, 8.0, 8.0))
    parse = derive_appearance(made.parse.without_derived(), made.image)
    wanted = {"kidney_left": 200.0, **{e.id: -300.0 for e in parse.by_name("kidney_cyst_left")}}
    attributes = [a for a in parse.attributes if a.entity not in wanted]
    attributes += [Attribute(entity=i, type="mean_attenuation", value=v) for i, v in wanted.items()]
    codec = Codec.for_names(e.name for e in parse.entities)
    scene = Scene.from_parse(parse.replace(attributes=attributes), codec)
    box = tuple(slice(0, n) for n in made.image.shape)
    torch.manual_seed(0)
    encoder = EntityEncoder(codec, 32)
    sketch = Sketch(codec, 32)
    batch = collate([scene.crop(box)])  # type: ignore[arg-type]  # 3 long
    with torch.no_grad():
        tokens, _ = encoder(batch)
        units, said = sketch(tokens, batch)
    return scene, expand(units)[0, 0].numpy(), said[0].numpy()


def test_an_entity_is_drawn_with_its_declared_attenuation_and_a_lesion_covers_its_organ(
    drawn: tuple[Scene, np.ndarray, np.ndarray],
) -> None:
    scene, hu, _ = drawn
    masks = {name: m for name, m in zip(scene.names, scene.masks, strict=True) if m is not None}
    lesion, kidney = masks["kidney_cyst_left"], masks["kidney_left"]
    assert np.median(lesion.values(hu)) == pytest.approx(-300, abs=30)
    rest = kidney.dense() & ~lesion.dense()
    for name, mask in masks.items():
        if name != "kidney_left" and mask.voxels < kidney.voxels:
            rest &= ~mask.dense()
    assert np.median(hu[rest]) == pytest.approx(200, abs=10)


def test_what_no_entity_covers_is_the_background(drawn: tuple[Scene, np.ndarray, np.ndarray]) -> None:
    scene, hu, said = drawn
    free = np.ones(hu.shape, bool)
    for mask in scene.masks:
        if mask is not None:
            free &= ~mask.dense()
    assert np.ptp(hu[free]) < 1e-3
    assert np.abs(said[:, free]).max() < 1e-6


def test_attributes_are_painted_beside_whether_they_are_declared(drawn: tuple[Scene, np.ndarray, np.ndarray]) -> None:
    scene, _, said = drawn
    half = len(said) // 2
    row = scene.names.index("kidney_left")
    mask = scene.masks[row]
    assert mask is not None
    known = ~np.isnan(scene.numeric[row])
    values = said[half:][:, mask.dense()]
    assert np.median(values, axis=1)[known] == pytest.approx(1.0, abs=0.05)


def test_an_undeclared_entity_looks_as_is_usual_for_its_name_and_air_lies_behind_a_body() -> None:
    made = make(1, spec=replace(sample_spec(1), field_of_view="abdomen", absent=()), spacing_mm=(8.0, 8.0, 8.0))
    parse = with_tissues(made.parse.without_derived().replace(attributes=()), made.image)
    codec = Codec.for_names(e.name for e in parse.entities)
    sketch = Sketch(codec, 32)
    sketch.fit({"kidney_left": 120.0, "body": 10.0})
    encoder = EntityEncoder(codec, 32)
    shape = made.image.shape
    box = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    drawn = []
    for scene in (parse, parse.without("body")):
        batch = collate([Scene.from_parse(scene, codec).crop(box)])
        with torch.no_grad():
            drawn.append(expand(sketch(encoder(batch)[0], batch)[0])[0, 0].numpy())
    assert np.median(parse.mask("kidney_left").values(drawn[0])) == pytest.approx(120, abs=3)
    outside = ~parse.mask("body").dense()
    assert np.median(drawn[0][outside]) == pytest.approx(-1000, abs=5)
    assert -900 < np.median(drawn[1][outside]) < -50
