"""State dicts from files and from torchvision, never running code that a file carries."""

from __future__ import annotations

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
        raise _not_plain(path, "it is damaged or holds more than tensors") from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise _not_plain(path, (str(error) or "it ends too early").splitlines()[0]) from error
    except Exception as error:  # torch's reader stumbles over damage wherever it meets it
        raise _not_plain(path, "it is damaged") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _not_plain(path, "it holds more than tensors")
    if not all(value.isfinite().all() for value in state.values()):
        raise _not_plain(path, "it holds values that are not finite")
    return {str(name): value.float() for name, value in state.items()}


def _not_plain(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: not a plain state dict ({reason}); fetch it anew or save `network.state_dict()`"
    )


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():  # torch remarks on old pickles, which do load
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def cached_file(choice: WeightsEnum) -> Path:
    """Where torchvision keeps these weights once they are fetched."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(choice.url).name)


def fetch_weights(
    name: str, choice: WeightsEnum, *, option: str, instead: str
) -> dict[str, Tensor]:
    """The weights `choice` of network `name`, from torchvision's cache or the network.

    Raises `InputError` that names the `option` which takes a file, and what to use `instead`.
    """
    path = cached_file(choice)
    try:
        if not path.is_file():
            _download(choice.url, path)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name}: its weights could not be fetched ({error}); download {choice.url} "
            f"elsewhere and pass {option} FILE, or use {instead}"
        ) from error
    return read_weights(path)


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = path.stem.rpartition("-")[2]  # torchvision names files by the start of their SHA-256
    torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
