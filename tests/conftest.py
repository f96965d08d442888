"""What every test shares: no network, and the real data where it is there."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import hypothesis
import pytest
from jaxtyping import install_import_hook

# Before anything imports them: what these layers are annotated with is checked, shapes included, while tests run.
install_import_hook(["synth.conditioning", "synth.decoder"], "beartype.beartype")

# A shared, busy machine is no failure, and the same commit gives the same verdict.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_REQUIRED = os.environ.get("SYNTH_REQUIRE_DATA") == "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real cases: `SYNTH_DATA`, or `../shared/data` beside the checkout; the test skips without it."""
    folder = Path(os.environ.get("SYNTH_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SYNTH_DATA to its folder")
    return folder


def module_at(path: Path) -> ModuleType:
    """A module of the tests, loaded once; their folders are no packages."""
    key = f"synth_tests_{path.stem}"
    if key not in sys.modules:
        found = importlib.util.spec_from_file_location(key, path)
        assert found is not None
        assert found.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture(scope="session")
def benchmark_script() -> Callable[[str], ModuleType]:
    """A script of benchmarks/ by its name, loaded once and not run."""
    return lambda name: module_at(REPOSITORY / "benchmarks" / f"{name}.py")


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """tests/residual/world.py: toy patients, a decoder fitted on them, an audit model calibrated with it."""
    return module_at(Path(__file__).resolve().parent / "residual" / "world.py")


@pytest.fixture(scope="session")
def small_patient() -> ModuleType:
    """tests/dynamics/small_patient.py: a patient whose lesions change."""
    return module_at(Path(__file__).resolve().parent / "dynamics" / "small_patient.py")


@pytest.fixture(scope="session")
def patient(small_patient: ModuleType) -> Any:
    """Its parse."""
    return small_patient.small_patient()


@pytest.fixture(scope="session")
def scan(small_patient: ModuleType, patient: Any) -> Any:
    """Its CT."""
    return small_patient.small_scan(patient)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Under SYNTH_REQUIRE_DATA=1 a test of the real data that skips, for any reason, has failed."""
    report = yield
    if DATA_REQUIRED and report.skipped and "shared_data" in getattr(item, "fixturenames", ()):
        report.outcome = "failed"
        report.longrepr = f"skipped although SYNTH_REQUIRE_DATA=1: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing under test may reach the network: after installation the package never does."""

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("a test tried to open a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
