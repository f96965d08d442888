"""What a user installs works without the checkout: the wheel carries the weights and needs no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from synth.parse import save_bundle
from synth.phantom import make
from synth.volume import write_volume

REPOSITORY = Path(__file__).resolve().parent.parent
BLOCK_SOCKETS = """
import socket

def refuse(*args, **kwargs):
    raise AssertionError("the installed package tried to open a network connection")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what a checkout holds so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, source / name)
    for name in ("src", "weights"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("parse_synth-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bin folder of an environment that has this one's libraries, the wheel, and no sockets."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, its own .pth files are not: an editable install of the checkout stays out.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (site / "no_network.py").write_text(BLOCK_SOCKETS)
    (site / "no_network.pth").write_text("import no_network\n")
    yield python.parent
    shutil.rmtree(folder)


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run off the checkout, with nothing of it on the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SYNTH"))}
    return subprocess.run([str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_wheel_carries_the_weights_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    weights = REPOSITORY / "weights"
    shipped = {str(path.relative_to(weights)) for path in weights.rglob("[!.]*.safetensors")}
    packed = {name.removeprefix("synth/_weights/") for name in names if name.endswith(".safetensors")}
    assert shipped
    assert packed == shipped
    assert "synth/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "src/"))]


def test_the_environment_of_the_wheel_cannot_see_the_checkout_or_the_network(installed: Path, tmp_path: Path) -> None:
    where = run([installed / "python", "-c", "import synth; print(synth.__file__)"], tmp_path)
    assert where.stdout.startswith(str(installed.parent)), where.stderr
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"
    refused = run([installed / "python", "-c", connect], tmp_path)
    assert "tried to open a network connection" in refused.stderr


def test_the_installed_wheel_audits_a_phantom(installed: Path, tmp_path: Path) -> None:
    patient = make(3, spacing_mm=(6, 6, 6))
    write_volume(patient.image, tmp_path / "ct.nii.gz", synthetic="phantom")
    save_bundle(patient.parse, tmp_path / "bundle")
    done = run([installed / "synth", "audit", "ct.nii.gz", "bundle", "-o", "out", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    findings = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert {entity["id"] for entity in findings["entities"]} == set(patient.parse.ids)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
