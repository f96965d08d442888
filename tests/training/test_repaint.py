"""Images that look otherwise than usual, and scenes that say so."""

from __future__ import annotations

import numpy as np
import pytest

from synth.conditioning import Codec, Scene
from synth.parse.derive import derive_appearance
from synth.phantom import make
from synth.training.repaint import repainted

BOX = (slice(0, 48), slice(0, 40), slice(0, 40))
MEAN, SPREAD = "mean_attenuation", "attenuation_spread"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_declared_after_repainting_is_what_the_image_then_shows(seed: int) -> None:
    made = make(seed, spacing_mm=(6.0, 6.0, 6.0))
    box = tuple(slice(0, n) for n in made.image.shape)
    codec = Codec.for_names(e.name for e in made.parse.entities)
    columns = {name: (i, centre, half) for i, (name, centre, half) in enumerate(codec.numeric)}
    before = Scene.from_parse(derive_appearance(made.parse.without_derived(), made.image), codec)
    hu, after = repainted(made.image.array, before, box, columns, np.random.default_rng(seed))  # type: ignore[arg-type]
    again = Scene.from_parse(derive_appearance(made.parse.without_derived(), made.image.with_array(hu)), codec)
    changed = [i for i in range(len(before)) if not np.array_equal(before.numeric[i], after.numeric[i], equal_nan=True)]
    assert 1 <= len(changed) <= 4
    for row in changed:
        mask = before.masks[row]
        assert mask is not None
        if mask.voxels < 60:  # all border
            continue
        for name, least in ((MEAN, 4.0), (SPREAD, 6.0)):
            column, centre, half = columns[name]
            declared, shown, was = (s.numeric[row, column] * half + centre for s in (after, again, before))
            assert abs(declared - shown) < max(least, 0.35 * abs(declared - was)), (before.names[row], name)
    assert np.array_equal(hu, made.image.array) is False


def test_a_scene_in_which_nothing_was_measured_stays_as_it_is() -> None:
    made = make(0, spacing_mm=(8.0, 8.0, 8.0))
    codec = Codec.for_names(e.name for e in made.parse.entities)
    columns = {name: (i, centre, half) for i, (name, centre, half) in enumerate(codec.numeric)}
    scene = Scene.from_parse(made.parse.without_derived(), codec).without_attributes()
    box = tuple(slice(0, n) for n in made.image.shape)
    hu, same = repainted(made.image.array, scene, box, columns, np.random.default_rng(0))  # type: ignore[arg-type]
    assert same is scene
    assert hu is made.image.array
