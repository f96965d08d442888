"""What the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.parse import save_bundle
from synth.phantom import make
from synth.volume import write_volume


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four phantoms, laid out as `synth generate` does."""
    folder = tmp_path_factory.mktemp("phantoms")
    for seed in range(4):
        made = make(seed, spacing_mm=(8.0, 8.0, 8.0))
        write_volume(made.image, folder / "imagesTr" / f"case_{seed:04d}_0000.nii.gz", synthetic=f"seed {seed}")
        save_bundle(made.parse, folder / "bundles" / f"case_{seed:04d}")
    return folder
