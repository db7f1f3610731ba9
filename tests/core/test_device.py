"""Devices and precisions: what is chosen, what is refused."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from tests.core.toys import toy_net
from vidstyle import device as devices
from vidstyle.device import Compute, choose_device, choose_precision, own_stream
from vidstyle.disk import user_cache
from vidstyle.errors import SettingsError
from vidstyle.replay import RECORDING

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "meta", "cuda:-1", ""])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(SettingsError, match="auto"):
        choose_device(name)


def test_auto_is_a_gpu_where_there_is_one():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_on_a_cpu_the_faster_of_two_is_taken(monkeypatch, faster):
    seconds = {"fp32": 2.0, "bf16": 2.0, faster: 1.0}
    monkeypatch.setattr(devices, "_step_seconds", lambda net, device, name: seconds[name])
    assert choose_precision("auto", CPU, toy_net()) == faster


def test_what_was_faster_is_remembered(monkeypatch):
    """On a busy machine the next timing may fall the other way, and paint other bits."""
    seconds = {"fp32": 2.0, "bf16": 1.0}
    monkeypatch.setattr(devices, "_step_seconds", lambda net, device, name: seconds[name])
    assert choose_precision("auto", CPU, toy_net()) == "bf16"
    seconds["bf16"] = 3.0
    assert choose_precision("auto", CPU, toy_net()) == "bf16"


def test_what_a_crash_has_left_of_the_note_is_no_error():
    assert choose_precision("auto", CPU, toy_net()) in ("fp32", "bf16")
    (note,) = user_cache().glob("precision-*")
    note.write_bytes(b"\xff\0")
    assert choose_precision("auto", CPU, toy_net()) == note.read_text()


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose_precision("auto", CPU, toy_net()) in ("fp32", "bf16")


def test_the_timing_runs_and_asks_nothing_else():
    assert choose_precision("auto", CPU, toy_net()) in ("fp32", "bf16")
    assert choose_precision("bf16", CPU, toy_net()) == "bf16"


def test_half_precision_on_a_cpu_is_refused():
    with pytest.raises(SettingsError, match="fp32"):
        choose_precision("fp16", CPU, toy_net())


def test_bf16_is_what_the_convolutions_run_in_and_nothing_else():
    from vidstyle.optimize import Optimizer
    from vidstyle.settings import StyleSettings

    work = Optimizer(toy_net(), Compute(CPU, "bf16"), StyleSettings())
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert work.content(image).dtype == torch.bfloat16
    assert all(gram.dtype == torch.float32 for gram in work.grams(image).values())


def test_beside_a_gpu_a_thread_works_in_a_stream_of_its_own_until_all_is_done(monkeypatch):
    """One for all threads and for good, of the priority that goes first; its device before it."""
    seen = []

    class Stream:
        def __init__(self, device, priority):
            seen.append((device, priority))

        def synchronize(self):
            seen.append("done")

    @contextmanager
    def entered(what):
        seen.append(type(what).__name__)
        yield
        seen.append("left")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(devices, "_get_ready", lambda device: seen.append("ready"))
    devices._apart.cache_clear()
    card = torch.device("cuda", 7)
    for _ in range(2):
        with own_stream(card):
            seen.append("work")
    once = ["device", "Stream", "ready", "work", "done", "left", "left"]
    assert seen == [(card, -1), *once, *once]
    with own_stream(CPU):
        seen.append("work")
    assert seen[15:] == ["work"]
    devices._apart.cache_clear()


def test_a_threads_libraries_begin_once_and_while_nothing_is_recorded(monkeypatch):
    begun = []
    stream = SimpleNamespace(synchronize=lambda: begun.append(RECORDING.locked()))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            pool.submit(devices._get_ready, CPU).result()
    assert begun == [True] and not RECORDING.locked()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(devices._get_ready, CPU).result()
    assert begun == [True, True]
