"""Paintings' Gram matrices, kept in the user's cache folder from run to run.

They are found by all that decides their bytes: a render is the same whether they were there or not.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vidstyle.device import Compute, device_name
from vidstyle.disk import user_cache
from vidstyle.features import TapNet

MOST_BYTES: Final = 2**28  # lite's are 0.6 MB for each painting and size, and a render has 3 to 8
_SEAL: Final = "seal"  # among the tensors: safetensors has no checksum
_MODEL: Final = re.compile(
    r"^(?:vendor_id|cpu family|model|stepping|cache size|flags|CPU \w+|Features)\b.*$", re.MULTILINE
)

Grams = dict[str, Tensor]  # tap → (1, C, C)


class StyleCache:
    """Gram matrices under `net` as `compute` makes them.

    A file that is damaged, or not what its name says, is made again; a folder that cannot be read
    or written costs no more than the work.
    """

    def __init__(self, net: TapNet, compute: Compute) -> None:
        self.net, self.compute = net, compute

    def grams(
        self,
        picture: Tensor,
        make: Callable[[Tensor], Grams],
        usual: Callable[[], bool] = lambda: True,
    ) -> Grams:
        """What `make` gives for `picture` (1, 3, H, W), by the style taps.

        Where that is not as `usual`, it is others' bytes, and not kept.
        """
        key = _digest([self._maker, torch.get_num_threads()], {"picture": picture})
        path = user_cache() / "grams" / f"{key}.safetensors"
        kept = _read(path, key) if usual() else None
        if kept is None:
            made = make(picture)
            if usual():
                _write(path, key, made)
            return made
        return {tap: gram.to(self.compute.device) for tap, gram in kept.items()}

    @cached_property
    def _maker(self) -> str:
        """All that their bytes depend on besides the picture and the number of threads."""
        net, compute = self.net, self.compute
        facts = {
            "code": _code(),
            "torch": [torch.__version__, torch.backends.cpu.get_cpu_capability(), _processor()],
            "device": [device_name(compute.device), compute.room, compute.precision],
            "network": [net.name, repr(net), net.style_taps, net.content_tap],
        }
        return _digest(facts, {**dict(net.named_parameters()), **dict(net.named_buffers())})


@cache
def _code() -> str:
    """This package's, its version among it: while it is worked on that stays one."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _processor() -> str:
    """Its maker, model and caches choose kernels too, and a home folder may serve several kinds."""
    with suppress(OSError):
        found = _MODEL.findall(Path("/proc/cpuinfo").read_text())
        return "\n".join(sorted(set(found)))
    return platform.processor()


def _digest(facts: object, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of what JSON holds, and of named tensors wherever and however they lie."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sealed(key: str, grams: Grams) -> Tensor:
    """(64,) bytes: whose these are, and that they are whole."""
    return torch.tensor(list(_digest(key, grams).encode()), dtype=torch.uint8)


def _read(path: Path, key: str) -> Grams | None:
    with suppress(OSError, SafetensorError, KeyError):
        grams = load(path.read_bytes())
        if grams.pop(_SEAL).tolist() == _sealed(key, grams).tolist():
            with suppress(OSError):
                os.utime(path)  # the longest unused go first
            return grams
    return None


def _write(path: Path, key: str, grams: Grams) -> None:
    """Whole or not at all: another process may be at the same."""
    partial = path.with_name(f"{uuid.uuid4().hex}.partial")
    tensors = {tap: gram.cpu().contiguous() for tap, gram in grams.items()}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(save({**tensors, _SEAL: _sealed(key, tensors)}))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        _make_room(path.parent)


def _make_room(folder: Path) -> None:
    """What a process that was killed has left is counted, and grows old, too."""
    known = [(path.stat(), path) for path in folder.iterdir()]
    total = 0
    for stat, path in sorted(known, key=lambda pair: pair[0].st_mtime_ns, reverse=True):
        total += stat.st_size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)
