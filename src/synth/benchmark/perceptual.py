"""LPIPS with AlexNet, of axial slices (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features").

The ImageNet weights are a file that the user has; nothing is downloaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from synth.errors import InputError

SLICES = 8
LEAST_SIDE = 64  # pixels; AlexNet strides by 16
Image = NDArray[np.float32]


def load_lpips(path: Path) -> Callable[[Image, Image], float]:
    """The distance of two volumes (X, Y, Z) scaled to 0..1: mean LPIPS over up to `SLICES` axial slices, evenly spaced.

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

    @torch.inference_mode()
    def distance(a: Image, b: Image) -> float:
        levels = np.unique(np.linspace(0, a.shape[2] - 1, SLICES).round().astype(int))
        x, y = (_pictures(v[:, :, levels]) for v in (a, b))
        return float(net(x, y).mean())

    return distance


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
