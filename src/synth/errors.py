"""Errors a user can act on: one line that says what was expected, what came, and what to do."""

from __future__ import annotations

from functools import partial
from typing import Any


class SynthError(Exception):
    """Base of every error this package raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(SynthError, ValueError):
    """Input from outside does not fit.

    Example:
        >>> str(InputError("mask 'liver'", expected="shape (4, 4, 4)", got="(4, 4, 5)", fix="resample it to the image"))
        "mask 'liver': expected shape (4, 4, 4), got (4, 4, 5); resample it to the image"
    """

    exit_code = 2

    def __init__(self, what: str, *, expected: str, got: str, fix: str) -> None:
        self.what, self.expected, self.got, self.fix = what, expected, got, fix
        super().__init__(" ".join(f"{what}: expected {expected}, got {got}; {fix}".split()))

    def __reduce__(self) -> tuple[Any, ...]:
        """As it comes out of a worker process: Exception itself would forget the named arguments."""
        return partial(type(self), expected=self.expected, got=self.got, fix=self.fix), (self.what,)
