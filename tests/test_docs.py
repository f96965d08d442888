"""The documentation says what the code does: its links lead somewhere, its tables are complete, its examples run."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from synth.cli.app import app
from synth.errors import SynthError
from synth.parse import ATTRIBUTE_TYPES, RELATION_TYPES, Kind, Presence
from synth.residual.findings import EntityFinding, Findings, MissingFinding, Verdict

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "configs/*.md", "weights/**/*.md") for page in REPOSITORY.glob(pattern)
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


@each_page
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [target.partition("#")[0] for target in targets if not re.match(r"https?:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@each_page
def test_the_examples_of_a_page_run(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


def words_of(page: str) -> set[str]:
    """What stands in backquotes on a page of the reference."""
    return set(re.findall(r"`([^`\n]+)`", (REPOSITORY / "docs" / "reference" / page).read_text()))


def test_the_reference_of_the_parse_names_every_type_kind_and_presence() -> None:
    assert {*ATTRIBUTE_TYPES, *RELATION_TYPES, *Kind, *Presence} - words_of("parse.md") == set()


def test_the_reference_of_the_findings_names_every_field_and_verdict() -> None:
    records = (Findings, EntityFinding, MissingFinding)
    fields = {name for record in records for name in record.model_fields}
    assert {*fields, *Verdict} - words_of("findings.md") == set()


def commands() -> dict[str, set[str]]:
    """Every command as it is typed, with the long names of its options."""

    def walk(command: Any, typed: str) -> dict[str, set[str]]:
        children = getattr(command, "commands", {})
        if not children:
            names = (name for option in command.params for name in (*option.opts, *option.secondary_opts))
            return {typed: {name for name in names if name.startswith("--")} - {"--json", "--help"}}
        return {
            leaf: names for name, child in children.items() for leaf, names in walk(child, f"{typed} {name}").items()
        }

    return walk(typer.main.get_command(app), "synth")


def documented_commands() -> dict[str, set[str]]:
    """Every section of the reference of the commands, with the options in its table."""
    text = (REPOSITORY / "docs" / "reference" / "cli.md").read_text()
    sections = re.split(r"^## `(synth [a-z -]+)`$", text, flags=re.MULTILINE)[1:]
    return {
        name: set(re.findall(r"`(--[a-z-]+)`", section))
        for name, section in zip(sections[::2], sections[1::2], strict=True)
    }


def test_the_reference_of_the_commands_has_every_command_and_option_and_no_other() -> None:
    assert documented_commands() == commands()


def exit_codes() -> set[int]:
    """The exit codes of all errors made for the user."""
    classes = [SynthError]
    for found in classes:
        classes.extend(found.__subclasses__())
    return {found.exit_code for found in classes} | {0, 130}


def test_the_reference_of_the_exit_codes_has_every_code() -> None:
    documented = re.findall(r"^\| (\d+) \|", (REPOSITORY / "docs/reference/exit-codes.md").read_text(), re.MULTILINE)
    assert {int(code) for code in documented} >= exit_codes()
