"""Procedural CT of the chest, abdomen and pelvis, with the parse that is true of it; needs numpy and scipy only."""

from synth.phantom.anatomy import Anatomy, anatomy
from synth.phantom.grid import Grid
from synth.phantom.make import GENERATOR, Phantom, make
from synth.phantom.spec import PHASES, LesionSpec, PhantomSpec, sample_spec

__all__ = [
    "GENERATOR",
    "PHASES",
    "Anatomy",
    "Grid",
    "LesionSpec",
    "Phantom",
    "PhantomSpec",
    "anatomy",
    "make",
    "sample_spec",
]
