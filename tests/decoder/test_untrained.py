"""Both decoders with small random networks: what they promise does not depend on training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synth.conditioning import Codec
from synth.contracts import EncodedImage
from synth.decoder import Autoencoder, DirectDecoder, FusedDecoder, LatentDecoder, load_decoder
from synth.decoder.checkpoint import load_checkpoint, save_checkpoint
from synth.decoder.direct_net import DirectNet
from synth.decoder.latent_net import FlowNet
from synth.errors import InputError
from synth.parse import Entity, Parse
from synth.volume import Geometry, Mask, Volume

SHAPE = (23, 18, 21)
CODEC = Codec.for_names(["liver", "kidney_left"])
COMMON = {"spacing_mm": 4.0, "modalities": ["CT"], "codec": CODEC.to_json()}
SMALL = {"token_width": 16, "map_channels": 2, "widths": (8, 16)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `direct`, `autoencoder` and `latent`, their zero-initialised parts made random."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    nets = {
        "direct": DirectNet(CODEC, head_width=8, **SMALL),
        "autoencoder": Autoencoder(latent_channels=2, width=8, blocks=1),
        "latent": FlowNet(CODEC, latent_channels=2, **SMALL),
    }
    for name, net in nets.items():
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        config: dict[str, Any] = COMMON | {"decoder": name, "network": net.config}
        if name == "latent":
            sha256 = load_checkpoint(root / "autoencoder").sha256
            config |= {"autoencoder": "autoencoder", "autoencoder_sha256": sha256}
        save_checkpoint(root / name, net, config)
    return root


@pytest.fixture(params=["direct", "latent"])
def decoder(request: pytest.FixtureRequest, weights: Path) -> DirectDecoder | LatentDecoder:
    return load_decoder(str(weights / request.param))  # type: ignore[return-value]  # either of the two


def _image(seed: int = 0) -> Volume:
    hu = np.random.default_rng(seed).normal(0, 100, SHAPE).astype(np.float32)
    return Volume(hu, Geometry.regular(SHAPE, 4.0), "CT", "HU")


def _parse(origin: tuple[int, int, int] = (9, 7, 8)) -> Parse:
    masks = {
        "liver": Mask.from_box(SHAPE, (2, 2, 2), np.ones((5, 6, 7), bool)),
        "left": Mask.from_box(SHAPE, origin, np.ones((3, 4, 5), bool)),
    }
    entities = [Entity(id="liver", name="liver"), Entity(id="left", name="kidney_left")]
    return Parse(entities, geometry=Geometry.regular(SHAPE, 4.0), masks=masks)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_direct_decoder_sees_nothing_of_what_the_hole_hides_and_the_rest_of_the_image(weights: Path) -> None:
    decoder, parse = DirectDecoder.from_pretrained(weights / "direct"), _parse()
    region = parse.masks["left"]
    image = _image()
    inside, outside = image.array.copy(), image.array.copy()
    inside[region.slices][region.box] += 500
    outside[region.slices[0].start - 4] += 500

    def rendered(hu: np.ndarray) -> np.ndarray:
        encoded = decoder.encode(Volume(hu, image.geometry, "CT", "HU"))
        args = (encoded, parse, [parse.without("left")], region)
        (contrast,) = decoder.contrast(*args, generator=_seeded())
        assert contrast.with_parse is not None
        return contrast.with_parse

    assert np.array_equal(rendered(image.array), rendered(inside))
    assert not np.array_equal(rendered(image.array), rendered(outside))


@pytest.mark.parametrize("origin", [(9, 7, 8), (0, 0, 0), (20, 14, 16), (1, 14, 3)])
def test_the_claimed_mask_and_the_image_keep_their_place_in_the_box(
    origin: tuple[int, int, int], decoder: DirectDecoder | LatentDecoder
) -> None:
    parse, image = _parse(origin), _image()
    region = parse.masks["left"]
    arguments = (decoder.encode(image), parse, [parse.without("left")], region)
    (contrast,) = decoder.contrast(*arguments, draws=1, generator=_seeded())
    place = np.argwhere(contrast.core) + [s.start for s in contrast.box]
    assert np.array_equal(place, region.indices())
    covered = np.argwhere(contrast.region) + [s.start for s in contrast.box]
    assert covered.min() >= 0
    assert (covered < SHAPE).all()
    assert not contrast.ratio[:, ~contrast.region].any()


def test_a_render_with_context_changes_the_region_alone(decoder: DirectDecoder | LatentDecoder) -> None:
    parse, image = _parse((19, 0, 15)), _image()
    region = parse.masks["left"]
    drawn = decoder.render(parse, decoder.encode(image), region, generator=_seeded()).images[0]
    assert np.array_equal(drawn != image.array, region.dense())


def test_a_region_on_another_grid_is_refused(decoder: DirectDecoder | LatentDecoder) -> None:
    parse, encoded = _parse(), decoder.encode(_image())
    region = Mask.from_box((30, 30, 30), (2, 2, 2), np.ones((3, 3, 3), bool))
    with pytest.raises(InputError, match="region: expected shape"):
        decoder.contrast(encoded, parse, [parse], region, generator=_seeded())
    with pytest.raises(InputError, match="region: expected shape"):
        decoder.render(parse, encoded, region, generator=_seeded())


def test_a_fused_decoder_refuses_what_it_did_not_encode_another_grid_and_another_name(weights: Path) -> None:
    direct, latent = (load_decoder(str(weights / name)) for name in ("direct", "latent"))
    assert isinstance(direct, DirectDecoder)
    assert isinstance(latent, LatentDecoder)
    fused, parse = FusedDecoder(direct, latent), _parse()
    foreign = EncodedImage(_image(), "direct", None)
    with pytest.raises(InputError, match="encoded image"):
        fused.contrast(foreign, parse, [parse], parse.masks["left"], generator=_seeded())
    with pytest.raises(InputError, match="encoded image"):
        fused.render(parse, foreign, parse.masks["left"], generator=_seeded())
    with pytest.raises(InputError, match="fused decoder"):
        FusedDecoder.from_pretrained(weights / "direct")
    direct.spacing_mm = 3.0
    with pytest.raises(InputError, match="one spacing"):
        FusedDecoder(direct, latent)


@pytest.mark.parametrize(
    "edit",
    [
        {"codec": None},
        {"codec": {"trained": 3}},
        {"codec": CODEC.to_json() | {"trained": ["no such name"]}},
        {"spacing_mm": "four"},
        {"spacing_mm": 0},
        {"spacing_mm": float("nan")},
        {"modalities": 3},
        {"network": None},
        {"network": {"depth": 3}},
        {"network": {"widths": []}},
        {"network": {"widths": [9, 18]}},
        {"network": {"widths": [8, 16], "token_width": "wide"}},
        {"network": {"widths": [2**40, 2**41]}},
        {"network": {"widths": [8, 16], "token_width": 10**7, "map_channels": 10**6}},
    ],
    ids=lambda edit: json.dumps(edit)[:40],
)
@pytest.mark.parametrize("name", ["direct", "latent"])
def test_a_config_that_is_not_of_its_weights_is_refused_before_memory_is_given_to_it(
    name: str, edit: dict[str, Any], weights: Path, tmp_path: Path
) -> None:
    config = json.loads((weights / name / "config.json").read_text()) | edit
    shutil.copytree(weights / "autoencoder", tmp_path / "autoencoder")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((weights / name / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="fetch the weights again"):
        load_decoder(str(tmp_path))


@pytest.mark.parametrize("text", ["[]", "{", '"direct"', "[" * 100_000, '{"a": "' + " " * 5_000_000 + '"}'])
def test_a_config_that_is_no_object_or_too_long_is_refused(text: str, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes((weights / "direct" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"config\.json and model\.safetensors"):
        load_decoder(str(tmp_path))


def test_a_saved_decoder_draws_the_same_images(
    decoder: DirectDecoder | LatentDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder.save_pretrained(tmp_path / "copy")
    monkeypatch.setenv("SYNTH_WEIGHTS", str(tmp_path / "nothing"))  # all that is needed is in the folder
    again = load_decoder(str(tmp_path / "copy"))
    assert again.weights_sha256 == decoder.weights_sha256
    one, two = (d.render(_parse(), n=1, generator=_seeded()).images for d in (decoder, again))
    assert np.array_equal(one, two)


def test_a_saved_pair_is_a_pair_again(weights: Path, tmp_path: Path) -> None:
    pair = FusedDecoder(
        DirectDecoder.from_pretrained(weights / "direct"), LatentDecoder.from_pretrained(weights / "latent")
    )
    pair.save_pretrained(tmp_path)
    assert FusedDecoder.from_pretrained(tmp_path).weights_sha256 == pair.weights_sha256
    with pytest.raises(InputError, match="a folder with direct and latent in it"):
        FusedDecoder.from_pretrained(tmp_path / "nowhere")


def test_a_config_cannot_name_an_autoencoder_elsewhere(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "latent", tmp_path / "latent")
    config = json.loads((tmp_path / "latent" / "config.json").read_text())
    (tmp_path / "latent" / "config.json").write_text(json.dumps(config | {"autoencoder": "../../autoencoder"}))
    with pytest.raises(InputError, match="a plain name"):
        LatentDecoder.from_pretrained(tmp_path / "latent")


def test_guidance_of_one_is_none_and_more_goes_further_the_same_way(weights: Path) -> None:
    plain = LatentDecoder.from_pretrained(weights / "latent").with_sampling(steps=1, location=False)
    drawn = {
        w: plain.with_sampling(guidance=w).render(_parse(), n=1, generator=_seeded()).images[0] for w in (0.0, 1.0, 1.5)
    }
    assert np.array_equal(drawn[1.0], plain.render(_parse(), n=1, generator=_seeded()).images[0])
    there, further = drawn[1.0] - drawn[0.0], drawn[1.5] - drawn[0.0]
    assert np.abs(there).max() > 1
    assert np.corrcoef(there.ravel(), further.ravel())[0, 1] > 0.9
    assert np.abs(further).mean() > 1.2 * np.abs(there).mean()


def test_a_lower_temperature_draws_images_that_differ_less_and_zero_one_image(weights: Path) -> None:
    plain = LatentDecoder.from_pretrained(weights / "latent").with_sampling(steps=1, location=False)

    def apart(temperature: float) -> float:
        decoder = plain.with_sampling(temperature=temperature)
        one, other = (decoder.render(_parse(), generator=torch.Generator().manual_seed(s)).images[0] for s in (1, 2))
        return float(np.abs(one - other).mean())

    assert apart(0.0) == 0.0
    assert 0 < apart(0.5) < 0.8 * apart(1.0)


@pytest.mark.parametrize("change", [{"steps": 0}, {"guidance": -1.0}, {"temperature": 3.0}, {"max_memory_gb": 0.01}])
def test_a_way_of_drawing_that_there_is_not_is_refused(weights: Path, change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        LatentDecoder.from_pretrained(weights / "latent").with_sampling(**change)


def test_conditions_that_are_not_kept_are_made_again(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth.decoder.latent.WINDOW", 8)
    monkeypatch.setattr("synth.decoder.latent.OVERLAP", 2)
    decoder = LatentDecoder.from_pretrained(weights / "latent").with_sampling(steps=2)
    kept = decoder.render(_parse(), n=1, generator=_seeded()).images
    monkeypatch.setattr("synth.decoder.latent.Sampling.conditions_kept", lambda *_: 1)
    assert np.array_equal(decoder.render(_parse(), n=1, generator=_seeded()).images, kept)


def test_tiles_of_the_autoencoder_join_without_a_seam(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = LatentDecoder.from_pretrained(weights / "latent")
    smooth = np.tile(np.linspace(-200, 200, 64, dtype=np.float32)[:, None, None], (1, 24, 24))
    image = Volume(smooth, Geometry.regular(smooth.shape, 4.0), "CT", "HU")
    whole = decoder.reconstruct(image)
    monkeypatch.setattr("synth.decoder.latent.Sampling.tile", lambda *_: 16)
    tiled = decoder.reconstruct(image)
    assert tiled.shape == whole.shape
    step = np.abs(np.diff(tiled, axis=0)).max() - np.abs(np.diff(whole, axis=0)).max()
    assert step < 0.1 * np.abs(np.diff(whole, axis=0)).max()
