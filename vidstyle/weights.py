"""State dicts from files and from torchvision, never running code that a file carries."""

from __future__ import annotations

import contextlib
import pickle
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vidstyle.errors import InputError

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


def read_weights(path: Path) -> dict[str, Tensor]:
    """A `.safetensors` or `.pth`/`.pt` state dict as float32 tensors by name."""
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; name a .pth or .safetensors file")
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


def fetch_weights(
    name: str, choice: WeightsEnum, *, option: str, instead: str
) -> dict[str, Tensor]:
    """The weights `choice` of network `name`, from torchvision's cache or the network.

    Raises `InputError` that names the `option` which takes a file, and what to use `instead`.
    """
    try:
        # torch prints where it downloads from on stdout, which is not ours to fill.
        with contextlib.redirect_stdout(sys.stderr):
            return dict(
                choice.get_state_dict(
                    map_location="cpu",
                    progress=sys.stderr.isatty(),
                    check_hash=True,
                    weights_only=True,
                )
            )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{name}: its weights could not be fetched ({error}); download {choice.url} "
            f"elsewhere and pass {option} FILE, or use {instead}"
        ) from error
