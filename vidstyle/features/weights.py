"""State dicts from files and from torchvision, never running code that a file carries."""

from __future__ import annotations

import contextlib
import pickle
import sys
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vidstyle.errors import InputError


def read_weights(path: Path) -> dict[str, Tensor]:
    """A `.safetensors` or `.pth`/`.pt` state dict as float32 tensors by name."""
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; --weights takes .pth or .safetensors")
    try:
        state = _read(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not a plain state dict, so not loaded; save `network.state_dict()`"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        reason = (str(error) or "it ends too early").splitlines()[0]
        raise InputError(f"{path}: not a plain state dict ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: not a plain state dict; save `network.state_dict()`")
    return {str(name): value.float() for name, value in state.items()}


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():  # torch remarks on old pickles, which do load
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def at_hand(name: str) -> bool:
    """Whether torchvision's weights are on this machine, so that nothing would be downloaded."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return any(folder.glob(f"{name}-*.pth"))


def torchvision_weights(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights, from its cache or the network."""
    from torchvision import models

    choice = {"vgg16": models.VGG16_Weights, "vgg19": models.VGG19_Weights}[name].IMAGENET1K_V1
    try:
        # torch prints where it downloads from on stdout, which is not ours to fill.
        with contextlib.redirect_stdout(sys.stderr):
            return dict(choice.get_state_dict(progress=sys.stderr.isatty(), check_hash=True))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name}: its weights could not be fetched ({error}); download {choice.url} "
            "elsewhere and pass --weights FILE, or use --features lite"
        ) from error
