"""Gram matrices kept from run to run: when they are found, and when they must not be."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.conftest import TINY, Vidstyle
from tests.core.toys import cpu, deep_toy_net, stripes, texture, toy_net
from vidstyle import style_cache
from vidstyle.device import Compute
from vidstyle.disk import user_cache
from vidstyle.features import TapNet
from vidstyle.images import to_tensor
from vidstyle.optimize import Optimizer
from vidstyle.settings import StyleSettings
from vidstyle.style_cache import Grams, StyleCache
from vidstyle.stylize import StyleTargets

PAINTING = to_tensor(stripes())


class Work:
    """A cache, and how often it had to have something made."""

    def __init__(self, net: TapNet | None = None, compute: Compute | None = None) -> None:
        net, compute = net or toy_net(), compute or cpu()
        self.optimizer = Optimizer(net, compute, StyleSettings())
        self.cache, self.made = StyleCache(net, compute), 0

    def grams(self, picture: Tensor = PAINTING) -> Grams:
        return self.cache.grams(picture, self._make)

    def _make(self, picture: Tensor) -> Grams:
        self.made += 1
        return self.optimizer.grams(picture)


def are_equal(one: Grams, other: Grams) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[tap], other[tap]) for tap in one)


def files() -> list[Path]:
    return sorted((user_cache() / "grams").glob("*"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the paintings whose Gram matrices are made."""
    sizes: list[tuple[int, ...]] = []
    make = Optimizer.grams

    def noted(self: Optimizer, image: Tensor) -> Grams:
        sizes.append(tuple(image.shape[2:]))
        return make(self, image)

    monkeypatch.setattr(Optimizer, "grams", noted)
    return sizes


@pytest.mark.parametrize(
    ("command", "name", "options"),
    [
        ("run", "a.mp4", ("--steps", "1")),
        ("image", "a.png", ()),
        ("preview", "a.png", ("--count", "2")),
    ],
)
def test_a_second_run_makes_none_and_the_same_bytes(
    vidstyle: Vidstyle, clip: Path, painting: Path, made: list[tuple[int, ...]],
    command: str, name: str, options: tuple[str, ...],
) -> None:  # fmt: skip
    source = painting if command == "image" else clip
    line = (command, source, "--style", painting, "-o", name, "--overwrite", *options, *TINY)
    assert vidstyle(*line).status == 0
    cold, count = Path(name).read_bytes(), len(made)
    assert count > 0
    assert vidstyle(*line).status == 0
    assert Path(name).read_bytes() == cold and len(made) == count


def test_another_styler_finds_the_very_same() -> None:
    first, second = Work(), Work()
    grams = first.grams()
    assert are_equal(second.grams(), grams) and (first.made, second.made) == (1, 0)
    strided = PAINTING.contiguous(memory_format=torch.channels_last)
    assert are_equal(second.grams(strided), grams) and second.made == 0


def test_sizes_at_which_a_painting_is_the_same_share_one(made: list[tuple[int, ...]]) -> None:
    """It is never enlarged."""
    targets = StyleTargets([PAINTING], Work().optimizer)
    assert are_equal(targets.at(64), targets.at(1000)) and made == [(48, 64)]
    targets.at(32)
    assert made == [(48, 64), (24, 32)]


def other_weights() -> TapNet:
    net = toy_net()
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] += 1e-3
    return net


def other_layers() -> TapNet:
    net = toy_net()
    net.style_taps = ("relu1_1",)
    return net


@pytest.mark.parametrize(
    "other",
    [
        lambda: Work(other_weights()),
        lambda: Work(other_layers()),
        lambda: Work(deep_toy_net()),
        lambda: Work(toy_net().reflecting()),
        lambda: Work(compute=replace(cpu(), precision="bf16")),
    ],
)
def test_another_network_or_precision_misses(other: Callable[[], Work]) -> None:
    Work().grams()
    work = other()
    grams = work.grams()
    assert work.made == 1 and are_equal(grams, work.optimizer.grams(PAINTING))


@pytest.mark.parametrize(
    "picture", [PAINTING + 1e-6, PAINTING.flip(3), PAINTING.mT, PAINTING.half()]
)
def test_another_painting_misses(picture: Tensor) -> None:
    Work().grams()
    asked: list[Tensor] = []
    Work().cache.grams(picture, lambda picture: asked.append(picture) or {})
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("torch.__version__", "3.0"),
        ("torch.get_num_threads", lambda: 77),
        ("torch.backends.cpu.get_cpu_capability", lambda: "another"),
        ("vidstyle.style_cache._processor", lambda: "another"),
        ("vidstyle.style_cache._code", lambda: "another"),
        ("vidstyle.style_cache.device_name", lambda device: "another"),
        ("vidstyle.device.CPU_ROOM", 10**9),  # what is gone over in strips rounds otherwise
    ],
)
def test_another_machine_or_version_misses(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    Work().grams()
    monkeypatch.setattr(name, value)
    work = Work()
    work.grams()
    assert work.made == 1


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"}}") + 40] ^= 1  # a value: the tensors begin there
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def replace_by_another(path: Path) -> None:
    Work().grams(PAINTING.flip(3))
    (other,) = (file for file in files() if file != path)
    other.replace(path)


def reshape(path: Path) -> None:
    tensors = load_file(path)
    save_file({**tensors, "relu1_1": tensors["relu1_1"].reshape(1, 4, 16)}, path)


def leave_out(path: Path) -> None:
    tensors = load_file(path)
    del tensors["relu2_1"]
    save_file(tensors, path)


@pytest.mark.parametrize(
    "damage",
    [
        flip_bit,
        cut,
        replace_by_another,
        reshape,
        leave_out,
        lambda path: save_file({"seal": torch.tensor(0.5)}, path),
        lambda path: save_file({"x": torch.zeros(3)}, path),
        lambda path: path.write_text("no such file"),
        lambda path: path.write_bytes(b""),
    ],
)
def test_what_is_damaged_or_foreign_is_made_again(damage: Callable[[Path], object]) -> None:
    grams = Work().grams()
    (path,) = files()
    sound = path.read_bytes()
    damage(path)
    work = Work()
    assert are_equal(work.grams(), grams) and work.made == 1
    assert path.read_bytes() == sound


def no_folder(path: Path, patch: pytest.MonkeyPatch) -> None:
    path.touch()


def no_home(path: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    patch.delenv("XDG_CACHE_HOME")
    patch.setattr(Path, "home", classmethod(refuse))


def no_room(path: Path, patch: pytest.MonkeyPatch) -> None:
    def fill(file: Path, data: bytes) -> None:
        file.touch()
        raise OSError(28, "No space left on device")

    patch.setattr(Path, "write_bytes", fill)


def a_folder_under_its_name(path: Path, patch: pytest.MonkeyPatch) -> None:
    Work().grams()
    (file,) = files()
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("bad", [no_folder, no_home, no_room, a_folder_under_its_name])
def test_a_cache_that_cannot_be_written_does_no_harm(
    bad: Callable[[Path, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bad(tmp_path / "cache", monkeypatch)
    for work in (Work(), Work()):
        assert are_equal(work.grams(), work.optimizer.grams(PAINTING)) and work.made == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert not list(tmp_path.rglob("*.partial"))


def test_what_was_unused_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (to_tensor(texture(32, 32, seed)) for seed in range(3))
    for moment, picture in ((2000, first), (1000, second)):
        before = set(files())
        Work().grams(picture)
        for path in set(files()) - before:
            os.utime(path, (moment, moment))
    Work().grams(second)  # the older one, used again
    monkeypatch.setattr(style_cache, "MOST_BYTES", 2 * files()[0].stat().st_size)
    Work().grams(third)
    work = Work()
    assert [(work.grams(picture), work.made)[1] for picture in (second, third, first)] == [0, 0, 1]
    assert len(files()) == 2


def hammer(rounds: int) -> bool:
    """In a process of its own; so little room that each removes what the other has made."""
    style_cache.MOST_BYTES = 3000  # type: ignore[misc]
    torch.set_num_threads(1)
    pictures = [to_tensor(texture(16, 16, seed)) for seed in range(4)]
    optimizer = Work().optimizer
    expected = [optimizer.grams(picture) for picture in pictures]
    numbers = [number % 4 for number in range(rounds)]
    return all(are_equal(Work().grams(pictures[n]), expected[n]) for n in numbers)


def test_two_processes_at_once_do_no_harm() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(hammer, [100, 100])) == [True, True]
    assert files() and all(path.suffix == ".safetensors" for path in files())


def test_what_was_made_for_want_of_memory_is_neither_kept_nor_taken() -> None:
    cache, own = Work().cache, {"relu1_1": torch.ones(1, 2, 2)}
    cache.grams(PAINTING, lambda picture: {"relu1_1": torch.zeros(1, 2, 2)}, lambda: False)
    assert files() == []
    cache.grams(PAINTING, lambda picture: own)
    assert are_equal(cache.grams(PAINTING, lambda picture: {}), own)
    assert cache.grams(PAINTING, lambda picture: {}, lambda: False) == {}
