"""LPIPS with AlexNet, of axial slices (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features"), and the
Fréchet distance between two sets of slices in AlexNet's last features (after Heusel et al. 2017, with AlexNet in place
of Inception).

The ImageNet weights are a file that the user has; nothing is downloaded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg

from synth.errors import InputError

SLICES, COMPONENTS = 8, 16
LEAST_SIDE = 64  # pixels; AlexNet strides by 16
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Perceptual:
    """AlexNet and the heads of LPIPS; volumes are (X, Y, Z) scaled to 0..1, seen in `SLICES` axial slices."""

    net: torch.nn.Module

    @torch.inference_mode()
    def __call__(self, a: Image, b: Image) -> float:
        """Mean LPIPS over the slices."""
        return float(self.net(_pictures(_slices(a)), _pictures(_slices(b))).mean())

    @torch.inference_mode()
    def features(self, a: Image) -> NDArray[np.float32]:
        """(slices, 256): the last features, averaged over each slice."""
        net: Any = self.net
        last = net.net.forward(net.scaling_layer(_pictures(_slices(a))))[-1]
        return np.asarray(last.mean(dim=(2, 3)).numpy(), np.float32)


def frechet(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """|mean a - mean b|² + tr(Ca + Cb - 2 (Ca Cb)^½) of two sets of features (n, D), along the `COMPONENTS` directions
    in which `b` varies most: a covariance of more could not be told from so few slices.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> same = rng.normal(size=(400, 20)).astype(np.float32)
        >>> round(frechet(same + 3.0, same) / (COMPONENTS * 9), 1) <= 1.3
        True
    """
    centre = b.mean(axis=0)
    axes = np.linalg.svd(b - centre, full_matrices=False)[2][:COMPONENTS]
    one, two = ((v - centre) @ axes.T for v in (a, b))
    first, second = (np.cov(v, rowvar=False) for v in (one, two))
    root = linalg.sqrtm(first @ second).real
    return float(((one.mean(axis=0) - two.mean(axis=0)) ** 2).sum() + np.trace(first + second - 2 * root))


def load_lpips(path: Path) -> Perceptual:
    """Read the weights.

    Args:
        path: npz with the arrays `AlexNet_0/Conv_{0..4}/kernel|bias` and `NetLinLayer_{0..4}/Conv_0/kernel`, kernels
            (height, width, in, out).

    Raises InputError for a file that holds something else, or where the package lpips is not installed.
    """
    try:
        import lpips
    except ImportError:
        fix = "pip install 'parse-synth[metrics]'"
        raise InputError("LPIPS", expected="the package lpips", got="it is not installed", fix=fix) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision by its names of 2021
        net = lpips.LPIPS(pretrained=False, net="alex", pnet_rand=True, verbose=False)
    features = [layer for layer in net.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    try:
        with np.load(path, allow_pickle=False) as held:
            for k, layer in enumerate(features):
                layer.weight.data = _kernel(held[f"AlexNet_0/Conv_{k}/kernel"], layer.weight.shape)
                layer.bias = torch.nn.Parameter(torch.from_numpy(held[f"AlexNet_0/Conv_{k}/bias"]).float())
            for k, head in enumerate(net.lins):
                layer = head.model[-1]
                layer.weight.data = _kernel(held[f"NetLinLayer_{k}/Conv_0/kernel"], layer.weight.shape)
    except (OSError, KeyError, ValueError) as error:
        expected = "an npz of AlexNet's convolutions and LPIPS's heads"
        raise InputError(str(path), expected=expected, got=str(error), fix="give another file") from None
    net.eval()
    return Perceptual(net)


def _slices(volume: Image) -> Image:
    levels = np.unique(np.linspace(0, volume.shape[2] - 1, SLICES).round().astype(int))
    return volume[:, :, levels]


def _kernel(array: NDArray[np.float32], shape: torch.Size) -> torch.Tensor:
    kernel = torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1))).float()
    if kernel.shape != shape:
        raise ValueError(f"a kernel of {tuple(kernel.shape)} where {tuple(shape)} belongs")
    return kernel


def _pictures(volume: Image) -> torch.Tensor:
    """(Z, 3, height, width) in -1..1, enlarged where AlexNet would see nothing."""
    grey = torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 0, 1)))[:, None] * 2 - 1
    scale = max(1.0, LEAST_SIDE / min(grey.shape[2:]))
    if scale > 1:
        grey = torch.nn.functional.interpolate(grey, scale_factor=scale, mode="bilinear", align_corners=False)
    return grey.expand(-1, 3, -1, -1)
