"""Plant one fault in a parse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import numpy as np

from synth.fault import claims, extent, presence
from synth.fault.record import Family, Faulted, FaultSpec
from synth.fault.scene import Scene
from synth.parse import Parse
from synth.volume import Mask, Volume

FAMILIES: Mapping[Family, Callable[[Scene, FaultSpec], Faulted]] = MappingProxyType(
    {
        Family.move: extent.move,
        Family.dilate: extent.dilate,
        Family.erode: extent.erode,
        Family.merge: extent.merge,
        Family.split_up: extent.split,
        Family.delete: presence.delete,
        Family.false_absence: presence.false_absence,
        Family.add_lesion: presence.add_lesion,
        Family.false_side: presence.false_side,
        Family.hallucinated_organ: presence.hallucinated_organ,
        Family.relabel: claims.relabel,
        Family.swap_sides: claims.swap_sides,
        Family.flip_attribute: claims.flip_attribute,
        Family.wrong_relation: claims.wrong_relation,
    }
)
"""Every fault family and the function that plants it."""


def inject(
    parse: Parse,
    spec: FaultSpec,
    rng: np.random.Generator,
    *,
    image: Volume | None = None,
    places: Mapping[str, Mask] | None = None,
    spared: Collection[str] = (),
) -> Faulted:
    """Plant the fault that `spec` describes; what it leaves open is drawn from `rng`.

    The result is a closed parse. What was derived for a changed entity is dropped or derived again, so that nothing but
    the claim itself gives the fault away. `image` supplies the body and the tissues where the parse has none; `places`
    (name of an organ -> mask on the grid of the parse) where organs that the patient lacks would lie, for
    `hallucinated_organ` (`synth.population.usual_places` knows them); entities with the ids `spared` are left alone.

    Raises InputError when the parse has nothing that the fault could happen to, or no room for it.

    Example:
        >>> from synth.parse import Entity
        >>> from synth.volume import Geometry, Mask
        >>> liver = Mask.from_box((16, 16, 16), (4, 4, 4), np.ones((6, 6, 6), bool))
        >>> grid = Geometry.regular((16, 16, 16), 4.0)
        >>> z = Parse([Entity(id="liver", name="liver")], geometry=grid, masks={"liver": liver})
        >>> faulted = inject(z, FaultSpec("dilate", severity_mm=(4, 4)), np.random.default_rng(0))
        >>> faulted.record.expected[0].verdict, faulted.parse.masks["liver"].voxels > liver.voxels
        ('wrong_extent', True)
    """
    return FAMILIES[Family.named(spec.family)](Scene(parse, rng, image, places or {}, frozenset(spared)), spec)
