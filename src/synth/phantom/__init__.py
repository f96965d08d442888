"""Procedural CT of the chest, abdomen and pelvis, with the parse that is true of it; needs numpy and scipy only."""

from .anatomy import Anatomy, anatomy
from .grid import Grid
from .make import GENERATOR, Phantom, make
from .spec import PHASES, LesionSpec, PhantomSpec, sample_spec

__all__ = ["GENERATOR", "PHASES", "Anatomy", "Grid", "LesionSpec", "Phantom", "PhantomSpec", "anatomy", "make", "sample_spec"]
