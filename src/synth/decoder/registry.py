"""Decoders by name; adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from synth.contracts import Decoder
from synth.decoder.checkpoint import load_checkpoint, weights_folder
from synth.decoder.device import device_named
from synth.decoder.direct import DirectDecoder
from synth.decoder.fused import FusedDecoder
from synth.decoder.latent import LatentDecoder
from synth.errors import InputError

DECODERS: dict[str, Callable[[str | Path], DirectDecoder | LatentDecoder | FusedDecoder]] = {
    "direct": DirectDecoder.from_pretrained,
    "latent": LatentDecoder.from_pretrained,
    "fused": FusedDecoder.from_pretrained,
}


def load_decoder(name: str = "direct", device: str = "cpu") -> Decoder:
    """A shipped decoder by name, or any weights folder of one, on a device.

    Raises InputError for an unknown name, for a folder whose config names no decoder, for an unknown device.
    """
    device_named(device)
    decoder = _from_pretrained(name)
    return decoder.to(device)


def _from_pretrained(name: str) -> DirectDecoder | LatentDecoder | FusedDecoder:
    if name in DECODERS:
        return DECODERS[name](name)
    if not Path(name).is_dir():
        raise InputError(
            "decoder", expected=f"one of {sorted(DECODERS)} or a weights folder", got=name, fix="correct it"
        )
    kind = str(load_checkpoint(weights_folder(name)).config.get("decoder"))
    if kind not in DECODERS:
        raise InputError(
            f"{name}/config.json", expected=f"decoder among {sorted(DECODERS)}", got=kind, fix="name another folder"
        )
    return DECODERS[kind](name)
