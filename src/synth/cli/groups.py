"""Command groups that several modules add to, such as `synth parse` and `synth benchmark`."""

from __future__ import annotations

import typer


def group(app: typer.Typer, name: str, help: str | None = None) -> typer.Typer:
    """The group `name` of `app`, made when it is not there yet.

    Example:
        >>> root = typer.Typer()
        >>> group(root, "parse", "Work with parses.") is group(root, "parse")
        True
    """
    for registered in app.registered_groups:
        if registered.name == name and registered.typer_instance is not None:
            return registered.typer_instance
    made = typer.Typer(name=name, help=help, no_args_is_help=True)
    app.add_typer(made, name=name, help=help)
    return made
