"""The `synth` command line: which commands there are, and how errors leave it.

Exit codes: 0 done, 1 the package failed, 2 the input or the usage is wrong, 130 interrupted. A command may
document further codes of its own (docs/reference/exit-codes.md).
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from synth import __version__
from synth.errors import SynthError

COMMANDS = (
    "demo",
    "audit",
    "audit_cohort",
    "calibrate",
    "parse_import",
    "parse",
    "render",
    "forecast",
    "generate",
    "fault",
    "train",
    "benchmark",
    "honesty",
    "weights",
)
"""Modules of `synth.cli`, each with `register(app)`; the order is the order of `synth --help`."""

EXTRAS = {"accelerate": "train", "SimpleITK": "visits"}
"""Optional libraries and the extra of parse-synth that installs each."""


class ReportingGroup(TyperGroup):
    """The root group: an error made for the user ends as one line on stderr and its own exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; anything that is not a `SynthError` keeps its traceback and exits 1."""
        try:
            return super().invoke(ctx)
        except SynthError as error:
            raise _leave(str(error), error.exit_code) from None
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            fix = f"pip install 'parse-synth[{extra}]'"
            raise _leave(f"this command needs {error.name}, which is not installed; {fix}", 2) from None
        except KeyboardInterrupt:
            raise _leave("interrupted", 130) from None


def _leave(message: str, code: int) -> typer.Exit:
    typer.echo("error: " + " ".join(message.split()), err=True)
    return typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"synth {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Check, render and forecast parses of medical images by analysis by synthesis."""


def build() -> typer.Typer:
    """Assemble the command line from `COMMANDS`; a module that is missing is an error."""
    root = typer.Typer(
        name="synth",
        cls=ReportingGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root)
    for name in COMMANDS:
        importlib.import_module(f"synth.cli.{name}").register(root)
    return root


app = build()


def main() -> None:
    """Entry point of the `synth` command."""
    app()
