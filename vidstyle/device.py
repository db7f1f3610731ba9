"""Where and in which number format the work runs."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import local
from typing import cast

import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional as F

from vidstyle.disk import user_cache
from vidstyle.errors import SettingsError
from vidstyle.losses import gram_matrix
from vidstyle.replay import RECORDING
from vidstyle.settings import PRECISIONS

FORMAT = 4  # of what is timed: an answer about another step is none
CLEARLY_FASTER = 0.85  # of float32's time: less gain is within a short timing's noise
# Bytes of one step's feature maps: 1280x720 in one go, 1080p in 5 GB in all.
CPU_ROOM = 3_000_000_000
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the precision of the network's convolutions there.

    Gram matrices, losses and the optimiser's state are float32 always; only what Gram matrices are
    sums of is a CPU's bfloat16.
    """

    device: torch.device
    precision: str

    @property
    def room(self) -> int:
        """Bytes that one step's feature maps may take; the same in every run on this device.

        Larger pictures are gone over in strips, which rounds otherwise.
        """
        if self.device.type == "cpu":
            return CPU_ROOM
        return torch.cuda.get_device_properties(self.device).total_memory // 2

    @property
    def records(self) -> bool:
        """Whether steps can be CUDA graphs: a scaler that is at work waits for the device."""
        return self.device.type == "cuda" and self.precision != "fp16"

    def autocast(self) -> AbstractContextManager[None]:
        dtype = DTYPES[self.precision]
        # Uncached: a CUDA graph would hold what others have converted, and nothing is used twice.
        return torch.autocast(
            self.device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False
        )

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling for fp16; passes everything through in the other precisions."""
        return torch.amp.GradScaler(
            self.device.type,
            init_scale=2.0**16,
            # Never raised again: a step skipped for it is a third of a frame's work.
            growth_interval=2**31 - 1,
            enabled=self.precision == "fp16",
        )


def choose_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"--device {name}: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"--device {name}: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"--device {name}: this machine shows {torch.cuda.device_count()} CUDA devices; "
            "use auto or cpu, and see vidstyle info"
        )
    return device


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """For what threads do beside the optimiser's: on a GPU, in a stream apart from its own.

    In the one that all threads have in common, whatever waits for the device, as every transfer
    does, would wait for the steps that the optimiser has asked for meanwhile. On leaving without an
    exception all is done. Memory that another stream goes on with is to be recorded for it
    (`record_stream`).
    """
    if device.type != "cuda":
        yield
        return
    stream = _apart(device)
    # The device first: on its way back from another one's stream torch would take up GPU 0.
    with torch.cuda.device(device), torch.cuda.stream(stream):
        _get_ready(device)
        yield
        stream.synchronize()


@cache
def _apart(device: torch.device) -> torch.cuda.Stream:
    """One for all: what they ask for is soon done, and every stream keeps memory of its own."""
    return torch.cuda.Stream(device, priority=-1)  # before the optimiser's, and none that records


def _get_ready(device: torch.device) -> None:
    """Each thread has libraries of its own, whose beginning might end a recording that is made."""
    if getattr(_thread, "ready_for", None) != device:
        with RECORDING:
            square = torch.ones(1, 1, 8, 8, device=device)
            F.conv2d(square @ square, square)
            torch.cuda.current_stream(device).synchronize()
        _thread.ready_for = device


_thread = local()


def device_name(device: torch.device) -> str:
    """`cpu`, or a CUDA device's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def choose_precision(name: str, device: torch.device, net: nn.Module) -> str:
    """`auto`: bf16 where the card has it, else fp16; on a CPU whichever of two is faster."""
    if name not in PRECISIONS:
        raise SettingsError(f"--precision {name}: use {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type == "cpu":
        raise SettingsError("--precision fp16: 16 x slower than fp32 on a CPU; use auto or fp32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return half_precision(device)
    return _timed_once(net, device)


def _timed_once(net: nn.Module, device: torch.device) -> str:
    """The faster of fp32 and bf16 on this CPU, remembered in the user's cache folder.

    Timed at every start, close calls would fall this way and that, and the same command would
    paint other bits.
    """
    cache = user_cache()
    cpu, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    name = f"precision-{FORMAT}-{torch.__version__}-{cpu}-{threads}-{net.name}"
    known = cache / name.replace(" ", "-")
    if remembered := _remembered(known):
        return remembered
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "lock"):  # processes that start together shall agree
            faster = _remembered(known) or _faster(net, device)
            known.write_text(faster)
            return faster
    except OSError:  # a folder that cannot be written costs no more than another timing
        return _faster(net, device)


def _remembered(known: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        if (text := known.read_text()) in ("fp32", "bf16"):
            return text
    return None


def _faster(net: nn.Module, device: torch.device) -> str:
    plain, half = (_step_seconds(net, device, precision) for precision in ("fp32", "bf16"))
    return "bf16" if half < CLEARLY_FASTER * plain else "fp32"


def half_precision(device: torch.device) -> str:
    """bf16 from Ampere on (and under ROCm), fp16 before."""
    modern = torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8
    return "bf16" if modern else "fp16"


def _step_seconds(net: nn.Module, device: torch.device, precision: str) -> float:
    """The best of two passes there and back; bf16 is several times slower on some CPUs."""
    image = torch.rand(1, 3, 64, 96, device=device).contiguous(memory_format=torch.channels_last)
    style_taps, seconds = cast(Sequence[str], net.style_taps), []
    for _ in range(3):
        start = time.perf_counter()
        with Compute(device, precision).autocast():
            features = net(image.requires_grad_(), {*style_taps, net.content_tap})
        seen = [gram_matrix(features[tap]).sum() for tap in style_taps]
        seen.append(features[net.content_tap].float().sum())
        torch.autograd.grad(sum(seen, torch.zeros((), device=device)), image)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "CUDA error: out of memory",
    "could not create a primitive\n",  # oneDNN; of a descriptor it would be something else
)


def is_out_of_memory(error: BaseException) -> bool:
    """On either kind of device; libraries raise it as a plain `RuntimeError`."""
    full = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return full or any(sign in f"{error}\n" for sign in _OUT_OF_MEMORY)


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Has glibc reuse freed blocks instead of returning them to the kernel after every step.

    Feature maps are large blocks: fetched anew they cost 27,000 page faults a step at 320×240, a
    third of its time; so are pictures, which beside a GPU took several times as long. Other C
    libraries have no such switch and are left alone.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
