"""Windows over a volume, and one velocity from many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from synth.decoder.tiles import blended, windows_over


@pytest.mark.parametrize(("shape", "side", "overlap"), [((5, 16, 17), 16, 8), ((40, 33, 16), 16, 4), ((9, 9, 9), 3, 0)])
def test_windows_cover_everything_and_overlap(shape: tuple[int, int, int], side: int, overlap: int) -> None:
    seen = np.zeros(shape, int)
    windows = windows_over(shape, side, overlap)
    for window in windows:
        assert all(w.stop - w.start == min(side, n) for w, n in zip(window, shape, strict=True))
        seen[window] += 1
    assert seen.min() >= 1
    for axis in range(3):
        starts = sorted({w[axis].start for w in windows})
        assert all(b - a <= side - overlap for a, b in itertools.pairwise(starts))


def test_an_overlap_as_large_as_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        windows_over((8, 8, 8), 4, 4)


def test_windows_that_agree_give_what_the_whole_would_without_a_seam() -> None:
    x = torch.randn(2, 3, 20, 16, 24, generator=torch.Generator().manual_seed(0))
    whole = blended([(w, lambda v, t: 2 * v) for w in windows_over((20, 16, 24), 16, 8)])
    assert torch.allclose(whole(x, torch.ones(2)), 2 * x, atol=1e-5)


def test_windows_that_disagree_pass_into_each_other_gradually() -> None:
    windows = windows_over((24, 4, 4), 16, 8)
    parts = [(w, lambda v, t, k=k: torch.full_like(v, float(k))) for k, w in enumerate(windows)]
    line = blended(parts)(torch.zeros(1, 1, 24, 4, 4), torch.ones(1))[0, 0, :, 2, 2]
    assert (line[:8] == 0).all()
    assert (line[-8:] == 1).all()
    assert line.diff().min() >= 0
    assert line.diff().max() < 0.2
