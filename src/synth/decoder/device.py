"""Where a decoder runs."""

from __future__ import annotations

import torch

from synth.errors import InputError


def device_named(name: str | torch.device) -> torch.device:
    """The device of a name such as `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: no such device, or not on this machine.

    Example:
        >>> device_named("cpu")
        device(type='cpu')
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        got = f"'{name}': {str(error).splitlines()[0]}"
        raise InputError("device", expected="cpu, or a device of this machine", got=got, fix="use cpu") from None
    if device.type == "meta":
        raise InputError("device", expected="one that computes", got="'meta'", fix="use cpu")
    return device
