"""Networks by kind; a config's `network` names one (`kind`) and gives its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.conditioning import Codec
from synth.decoder.autoencoder import Autoencoder
from synth.decoder.latent_net import FlowNet
from synth.decoder.maisi import MaisiAutoencoder, MaisiFlowNet
from synth.errors import InputError

AnyAutoencoder = Autoencoder | MaisiAutoencoder
AnyFlowNet = FlowNet | MaisiFlowNet
AUTOENCODERS: dict[str, type[AnyAutoencoder]] = {"folded": Autoencoder, "maisi": MaisiAutoencoder}
FLOWS: dict[str, type[AnyFlowNet]] = {"unet": FlowNet, "maisi": MaisiFlowNet}


def make_autoencoder(network: Mapping[str, Any]) -> AnyAutoencoder:
    """The autoencoder of a config; raises InputError for an unknown kind, TypeError for arguments it does not have."""
    return AUTOENCODERS[_kind(network, AUTOENCODERS, "folded")](**_arguments(network))


def make_flow(codec: Codec, network: Mapping[str, Any]) -> AnyFlowNet:
    """The flow network of a config; raises as `make_autoencoder`."""
    return FLOWS[_kind(network, FLOWS, "unet")](codec, **_arguments(network))


def _kind(network: Mapping[str, Any], known: Mapping[str, Any], usual: str) -> str:
    kind = str(network.get("kind", usual))
    if kind not in known:
        raise InputError("network: kind", expected=f"one of {sorted(known)}", got=kind, fix="correct the config")
    return kind


def _arguments(network: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, the lists of a file made tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in network.items() if k != "kind"}
