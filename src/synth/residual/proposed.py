"""What a region that the parse leaves out looks like: the attributes that an added entity would be declared with.

They are measured in the region itself. Given back to an audit of the same image they would explain what they were read
from, so they are marked as derived, which an audit does not read.
"""

from __future__ import annotations

from synth.parse import Attribute, Entity, Parse, Presence
from synth.parse.attenuation import category_of
from synth.parse.derive.appearance import measured_appearance
from synth.residual.attributes import host_hu
from synth.volume import Mask, Volume


def proposed_attributes(parse: Parse, name: str, mask: Mask, image: Volume) -> tuple[Attribute, ...]:
    """Mean, spread, texture, edge and category of attenuation of a region, as an entity of that name.

    Parse, mask and image share a grid, HU. What the region is too small for is left out; all of it for an empty mask.

    Example:
        >>> import numpy as np
        >>> from synth.volume import Geometry
        >>> hu = np.full((16, 16, 16), 110.0, np.float32)
        >>> hu[6:10, 6:10, 6:10] = 60.0
        >>> image = Volume(hu, Geometry.regular(hu.shape, 4.0), "CT", "HU")
        >>> liver, dark = (Mask.from_box(hu.shape, (c,) * 3, np.ones((n,) * 3, bool)) for c, n in ((1, 14), (6, 4)))
        >>> parse = Parse((Entity(id="liver", name="liver"),), geometry=image.geometry, masks={"liver": liver})
        >>> {a.type: a.value for a in proposed_attributes(parse, "liver_lesion", dark, image)}["attenuation_class"]
        'hypodense'
    """
    if mask.is_empty or image.unit != "HU":
        return ()
    added = Entity(id=parse.free_id("missing"), name=name)
    denied = [e.id for e in parse.by_name(name) if e.presence is Presence.absent]
    parse = parse.without(*denied).with_entity(added, mask)
    phase = parse.circumstance.phase
    seen = measured_appearance(parse, added, image)
    found = [
        Attribute(entity=added.id, type=type, value=round(value, 3), phase=phase, derived=True)
        for type, value in seen.items()
    ]
    category = category_of(seen["mean_attenuation"], host_hu(image, parse, added))
    if category is not None:
        found.append(Attribute(entity=added.id, type="attenuation_class", value=category, derived=True))
    return tuple(found)
