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
    fix = "use cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        got = f"'{name}': {str(error).splitlines()[0]}"
        raise InputError("device", expected="the name of a device", got=got, fix=fix) from None
    there = {"cpu": 1}
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None:
        there[accelerator.type] = torch.accelerator.device_count()
    if (device.index or 0) >= there.get(device.type, 0):
        here = ", ".join(f"{kind} ({count})" for kind, count in there.items())
        raise InputError("device", expected=f"one of this machine: {here}", got=f"'{name}'", fix=fix)
    return device
