"""Conditioning: a parse as tokens and maps, shared by every decoder."""

from synth.conditioning.batch import SceneBatch, collate
from synth.conditioning.codec import Codec
from synth.conditioning.encoder import EntityEncoder, Scatter
from synth.conditioning.scene import FRAME_MM, Scene, SceneCrop, paste

__all__ = ["FRAME_MM", "Codec", "EntityEncoder", "Scatter", "Scene", "SceneBatch", "SceneCrop", "collate", "paste"]
