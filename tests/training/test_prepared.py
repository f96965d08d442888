"""Cases that are prepared once and read from disk are those that would be prepared anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synth.conditioning import Codec
from synth.parse import VOCABULARY
from synth.training import prepared
from synth.training.cases import SetConfig, load_cases
from synth.training.claims import ClaimSampler

CODEC = Codec.for_names(VOCABULARY.names)


@pytest.fixture
def settings(phantoms: Path) -> SetConfig:
    return SetConfig("generated", str(phantoms), tissue=True, appearance=True, limit=2)


def test_read_from_disk_they_are_the_same_and_draw_the_same(settings: SetConfig, tmp_path: Path) -> None:
    fresh = load_cases(settings, CODEC, 8.0)
    stored = load_cases(settings, CODEC, 8.0, str(tmp_path))
    assert [c.name for c in stored] == [c.name for c in fresh]
    for one, two in zip(fresh, stored, strict=True):
        assert np.array_equal(one.hu, two.hu)
        assert one.body == two.body
        for scene, other in ((one.scene, two.scene), (one.measured, two.measured)):
            assert scene is not None
            assert other is not None
            assert scene.ids == other.ids
            for name in ("lineage", "presence", "category", "relations", "geometry", "circumstance"):
                assert np.array_equal(getattr(scene, name), getattr(other, name)), name
            np.testing.assert_allclose(scene.numeric, other.numeric, rtol=1e-5)
    drawn = [ClaimSampler(c, 16, CODEC).draw(np.random.default_rng(3)) for c in (fresh, stored)]
    assert np.array_equal(drawn[0].hu, drawn[1].hu)
    assert np.array_equal(drawn[0].claimed.occupancy, drawn[1].claimed.occupancy)


def test_a_preparation_that_was_stopped_goes_on_and_nothing_is_done_twice(
    settings: SetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = prepared._write

    def stopping(case: prepared.Prepared, folder: Path) -> None:
        if len(written) == 1 and not (tmp_path / "stopped").exists():
            folder.mkdir(parents=True)
            (folder / "hu.npy").write_bytes(b"half")
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        written.append(case.name)
        write(case, folder)

    monkeypatch.setattr(prepared, "_write", stopping)
    with pytest.raises(KeyboardInterrupt):
        load_cases(settings, CODEC, 8.0, str(tmp_path / "cache"))
    assert len(load_cases(settings, CODEC, 8.0, str(tmp_path / "cache"))) == 2
    again = load_cases(settings, CODEC, 8.0, str(tmp_path / "cache"))
    assert len(written) == len(set(written)) == 2
    assert np.isfinite(again[1].hu).all()


def test_other_settings_and_other_data_are_prepared_anew_and_another_crop_is_not(
    settings: SetConfig, tmp_path: Path
) -> None:
    for change in ({}, {"crop": 64, "weight": 3.0}, {"tissue": False}, {"limit": 1}):
        load_cases(replace(settings, **change), CODEC, 8.0, str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 3


def test_only_so_many_cases_stay_in_memory(settings: SetConfig, tmp_path: Path) -> None:
    cases = load_cases(replace(settings, keep=1), CODEC, 8.0, str(tmp_path))
    first = cases[0]
    assert cases[0] is first
    assert cases[1] is not first
    assert cases[0] is not first
    assert np.array_equal(cases[0].hu, first.hu)
    with pytest.raises(IndexError):
        cases[2]
