"""The house rules: light imports, one command line, documented exit codes, layers that hold."""

from __future__ import annotations

import ast
import os
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

import synth
from synth.cli.app import COMMANDS, ReportingGroup, app
from synth.cli.benchmark import BENCHMARKS
from synth.errors import InputError, SynthError

REPOSITORY = Path(__file__).resolve().parent.parent
LIGHT = (
    "synth",
    "synth.errors",
    "synth.weights",
    "synth.volume",
    "synth.parse",
    "synth.action",
    "synth.dynamics",
    "synth.fault",
    "synth.population",
    "synth.interop",
    "synth.phantom",
)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
HEAVY = ("torch", "monai", "diffusers", "accelerate", "lpips", "torchvision")


def heavy_modules_after(statement: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after the statement."""
    report = f"{statement}\nimport sys\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", report], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_layer_loads_no_heavy_library(module: str) -> None:
    assert heavy_modules_after(f"import {module}") == set()


def test_the_test_for_heavy_imports_can_fail() -> None:
    assert "torch" in heavy_modules_after("import torch")


def test_the_command_line_starts_without_heavy_libraries_or_numpy() -> None:
    assert heavy_modules_after("from synth.cli.app import app") == set()
    started = "import sys, synth.cli.app; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", started], env=ENVIRONMENT).returncode == 0


def test_every_folder_of_the_package_is_a_package() -> None:
    package = REPOSITORY / "src" / "synth"
    folders = {module.parent for module in package.rglob("*.py")}
    assert [str(folder.relative_to(package)) for folder in folders if not (folder / "__init__.py").exists()] == []


def imported_libraries() -> set[str]:
    """Top names of everything that the package imports from elsewhere, wherever in a file."""
    found = set()
    for path in (REPOSITORY / "src" / "synth").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - {"synth"} - sys.stdlib_module_names


def test_the_package_declares_exactly_the_libraries_that_it_imports() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["train"], *extras["metrics"], *extras["visits"]]
    names = {re.split(r"[<>=\[ ]", requirement)[0] for requirement in declared}
    modules = {"pillow": "PIL", "pynrrd": "nrrd", "scikit-image": "skimage", "scikit-learn": "sklearn"}
    carried = {"markupsafe", "pydantic_core"}  # a part of jinja2 and one of pydantic, with names of their own
    assert {modules.get(name, name) for name in names} == imported_libraries() - carried


def test_every_public_name_resolves_and_is_listed() -> None:
    assert set(synth.__all__) <= set(dir(synth))
    for name in synth.__all__:
        assert getattr(synth, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Prase'"):
        synth.Prase  # noqa: B018 (the access is the test)


def test_the_version_is_the_newest_entry_of_the_changelog() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)[0] == synth.__version__


def run(*arguments: str, root: typer.Typer = app) -> Result:
    """Run the command line in this process, as wide as a help text needs."""
    return CliRunner().invoke(root, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def test_version_prints_the_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"synth {synth.__version__}\n")


def test_help_lists_every_command() -> None:
    text = run("--help").stdout
    for command in {name.partition("_")[0] for name in COMMANDS}:
        assert re.search(rf"\b{command}\b", text), command


def test_benchmark_help_lists_every_benchmark() -> None:
    text = run("benchmark", "--help").stdout
    for name in BENCHMARKS:
        assert re.search(rf"\b{name.removeprefix('benchmark_')}\b", text), name


def leaf_commands() -> list[list[str]]:
    """The words of every command, found by walking the command tree."""

    def walk(command: object, words: list[str]) -> list[list[str]]:
        children = getattr(command, "commands", {})
        if not children:
            return [words]
        return [leaf for name, child in sorted(children.items()) for leaf in walk(child, [*words, name])]

    return walk(typer.main.get_command(app), [])


@pytest.mark.parametrize("words", leaf_commands(), ids=" ".join)
def test_every_command_explains_itself_and_takes_json(words: list[str]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def failing_app(error: Exception) -> typer.Typer:
    """A command line under the root group of synth whose only command raises."""
    root = typer.Typer(cls=ReportingGroup, pretty_exceptions_enable=False)
    root.callback()(lambda: None)

    @root.command()
    def fail() -> None:
        raise error

    return root


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("mask", expected="a", got="b", fix="do c"), 2, "error: mask: expected a, got b; do c\n"),
        (SynthError("out of\n luck"), 1, "error: out of luck\n"),
        (ModuleNotFoundError(name="accelerate.utils"), 2, "parse-synth[train]"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_an_expected_error_is_one_line_on_stderr_and_its_exit_code(error: Exception, code: int, line: str) -> None:
    result = run("fail", root=failing_app(error))
    assert result.exit_code == code
    assert line in result.stderr
    assert (result.stderr.count("\n"), result.stdout) == (1, "")


def test_an_unexpected_error_keeps_its_traceback_and_exits_1() -> None:
    result = run("fail", root=failing_app(RuntimeError("a defect")))
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)


def test_wrong_usage_exits_2() -> None:
    assert run("no-such-command").exit_code == 2
    assert run("audit", "--no-such-option").exit_code == 2


def test_the_module_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "synth", "--version"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"synth {synth.__version__}\n")


def test_a_test_of_the_real_data_may_skip_except_where_the_data_must_be_there(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_real.py").write_text("def test_real(shared_data):\n    assert shared_data\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
    absent = {"SYNTH_DATA": str(tmp_path / "absent"), "PATH": "/usr/bin"}
    assert subprocess.run(command, env=absent, capture_output=True).returncode == 0
    required = subprocess.run(command, env=absent | {"SYNTH_REQUIRE_DATA": "1"}, capture_output=True, text=True)
    assert required.returncode == 1
    assert "1 error" in required.stdout


def test_a_test_cannot_reach_the_network() -> None:
    import socket

    with pytest.raises(AssertionError, match="network"):
        socket.create_connection(("127.0.0.1", 9))


def test_an_error_comes_out_of_a_worker_process_as_it_was() -> None:
    error = InputError("mask", expected="a", got="b", fix="do c")
    again = pickle.loads(pickle.dumps(error))  # its own bytes
    assert (type(again), str(again), again.exit_code) == (InputError, str(error), 2)
    assert (again.what, again.expected, again.got, again.fix) == ("mask", "a", "b", "do c")
