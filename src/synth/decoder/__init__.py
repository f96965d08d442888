"""Decoders: p(image | parse [, context]) behind the contract of `synth.contracts`."""

from synth.decoder.autoencoder import Autoencoder
from synth.decoder.direct import DirectDecoder
from synth.decoder.fused import FusedDecoder
from synth.decoder.latent import LatentDecoder, Sampling
from synth.decoder.registry import DECODERS, load_decoder

__all__ = ["DECODERS", "Autoencoder", "DirectDecoder", "FusedDecoder", "LatentDecoder", "Sampling", "load_decoder"]
