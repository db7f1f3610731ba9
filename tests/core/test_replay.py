"""Steps that are recorded and played again; what records them is a GPU's where there is one."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.core.toys import cpu, deep_toy_net, numbers, stripes
from vidstyle import replay
from vidstyle.device import Compute
from vidstyle.features.strips import step_bytes
from vidstyle.images import to_tensor
from vidstyle.optimize import Goal, Optimizer, PixelLBFGS
from vidstyle.replay import Call, Replays, Tensors
from vidstyle.settings import StyleSettings

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Rerun:
    """A recording without a GPU: the same call again, of tensors of its own alone."""

    made = played = 0

    def __init__(self, call: Call, inputs: Tensors, room: object) -> None:
        Rerun.made += 1
        self.call, self.own = call, {name: x.detach().clone() for name, x in inputs.items()}
        self.outputs = [torch.full_like(x, torch.nan) for x in call(self.own)]

    def __call__(self, inputs: Tensors) -> list[torch.Tensor]:
        Rerun.played += 1
        for name, tensor in inputs.items():
            self.own[name].copy_(tensor.detach())
        for kept, made in zip(self.outputs, self.call(self.own), strict=True):
            kept.copy_(made)
        return self.outputs


@pytest.fixture
def reruns(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Rerun]]:
    monkeypatch.setattr(replay, "Replay", Rerun)
    monkeypatch.setattr(Compute, "records", True)
    monkeypatch.setattr(replay.Room, "on", lambda device: SimpleNamespace(leave=lambda: None))
    monkeypatch.setattr(Rerun, "made", 0)
    monkeypatch.setattr(Rerun, "played", 0)
    yield Rerun


def optimizer() -> Optimizer:
    return Optimizer(deep_toy_net().reflecting(), cpu(), StyleSettings())


def unrecorded() -> Optimizer:
    work = optimizer()
    work.replays.find = lambda *asked: None  # type: ignore[method-assign]
    return work


def frame(seed: int) -> tuple[torch.Tensor, Goal]:
    """A start and a goal of which everything is another one's in each frame."""
    work = unrecorded()
    start, carried = torch.sigmoid(numbers(2, 3, 48, 64, seed=seed)).split(1)
    trust, flow = torch.sigmoid(numbers(1, 1, 48, 64, seed=seed)), numbers(1, 2, 48, 64, seed=seed)
    aim = work.grams(to_tensor(stripes()) * (1 + seed) / 9)
    return start, Goal(aim, work.content(start), carried, trust, flow, shimmer=0.8, calm=3.0)


def two_steps(work: Optimizer, start: torch.Tensor, goal: Goal) -> tuple[torch.Tensor, list[float]]:
    losses = list[torch.Tensor]()
    result = work.descend(start, goal, PixelLBFGS, 2, lambda step, loss: losses.append(loss))
    return result, [float(loss) for loss in losses]  # read late, as a progress bar may


def test_recorded_steps_are_those_that_are_called(reruns: type[Rerun]) -> None:
    """Frame by frame: nothing of the frame that was recorded is left in the next ones."""
    recording, plain = optimizer(), unrecorded()
    for seed in range(4):
        (result, losses), (expected, others) = (
            two_steps(work, *frame(seed)) for work in (recording, plain)
        )
        assert torch.equal(result, expected)
        assert losses == others
    assert reruns.made == 1


def test_what_is_asked_for_otherwise_is_recorded_apart(reruns: type[Rerun]) -> None:
    work = optimizer()
    start, goal = frame(0)
    small = unrecorded().content(start[..., :40, :56])
    others = [
        goal,
        replace(goal, hold=0.5),
        replace(goal, calm=1.0),
        replace(goal, shimmer=0.0),
        replace(goal, flow=None),
        replace(goal, size=(40, 56), content=small),
        replace(goal, steady=2.0),
        replace(goal, smooth=True),
        replace(goal, spots=30.0),
    ]
    for made, other in enumerate(others, 1):
        two_steps(work, start, other)
        assert reruns.made == made - 1  # it may not come again
        two_steps(work, start, other)
        assert reruns.made == made
    two_steps(work, start[..., :40], replace(others[4], content=None, carried=None, trust=None))
    assert reruns.made == len(others)


def test_what_is_to_come_often_is_recorded_at_once(reruns: type[Rerun]) -> None:
    recording, plain = optimizer(), unrecorded()
    start, goal = frame(0)
    several, many = replay.WORTH - 1, replay.WORTH
    for steps, made in ((several, 0), (many, 1)):
        goal = replace(goal, hold=steps / 10)  # another call
        result, expected = (
            work.descend(start, goal, PixelLBFGS, steps) for work in (recording, plain)
        )
        assert torch.equal(result, expected)
        assert reruns.made == made
    played = reruns.played
    again = recording.descend(start, goal, PixelLBFGS, 2)  # the recording is there
    assert torch.equal(again, plain.descend(start, goal, PixelLBFGS, 2))
    assert reruns.made == 1 and reruns.played == played + 2


@pytest.mark.parametrize(("share", "made"), [(17, 1), (15, 0), (3, 0)])
def test_of_a_small_room_only_small_recordings_are_made_at_once(
    reruns: type[Rerun], monkeypatch: pytest.MonkeyPatch, share: int, made: int
) -> None:
    work = optimizer()
    start, goal = frame(0)
    room = share * step_bytes(work.net, 48, 64)
    monkeypatch.setattr(Compute, "room", room)
    work.descend(start, goal, PixelLBFGS, replay.WORTH)
    assert reruns.made == made
    work.descend(start, goal, PixelLBFGS, 2)
    assert reruns.made == (share > 4)


def test_content_is_recorded_too(reruns: type[Rerun]) -> None:
    recording, plain = optimizer(), unrecorded()
    pictures = torch.sigmoid(numbers(4, 3, 48, 64)).split(1)
    kept = [recording.content(picture) for picture in pictures]
    assert all(torch.equal(kept[n], plain.content(pictures[n])) for n in range(4))
    assert reruns.made == 1


def test_what_cannot_be_recorded_is_called_and_said_once(
    reruns: type[Rerun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*asked: object) -> Rerun:
        try:
            raise RuntimeError("operation not permitted\nand a trace")
        finally:
            raise RuntimeError("something was raised before")

    work = optimizer()
    for _ in range(2):  # recorded, and then of no use any more
        work.content(frame(1)[0])
    monkeypatch.setattr(replay, "Replay", broken)
    results = [two_steps(work, *frame(0))[0] for _ in range(4)]
    said = "without CUDA graphs, which is slower: operation not permitted"
    assert work.replays.warnings == [said]
    assert work.replays._made == {}  # their memory is given back
    assert all(torch.equal(results[0], other) for other in results)


@pytest.mark.parametrize(
    ("device", "precision", "answer"),
    [
        ("cpu", "fp32", False),
        ("cpu", "bf16", False),
        ("cuda", "fp32", True),
        ("cuda", "bf16", True),
        ("cuda", "fp16", False),
    ],
)
def test_a_gpu_records_where_no_scaler_is_at_work(
    device: str, precision: str, answer: bool
) -> None:
    assert Compute(torch.device(device), precision).records is answer


@GPU
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_plays_what_it_was_called_with(precision: str) -> None:
    net = deep_toy_net().reflecting().to("cuda", memory_format=torch.channels_last)
    work = Optimizer(net, Compute(torch.device("cuda"), precision), StyleSettings())
    for seed in range(4):
        start, goal = frame_on_gpu(work, seed)
        image = start.clone(memory_format=torch.channels_last).requires_grad_()
        loss = work.backward(image, goal, work.strips(image.shape[2:]))
        gradient, image.grad = image.grad, None
        play = work._replayed(image, goal, steps=1)
        if seed == 0:
            assert play is None
            continue
        assert play is not None
        assert float(play()) == pytest.approx(float(loss), rel=1e-3)
        assert gradient is not None and image.grad is not None
        assert (image.grad - gradient).abs().max() < 1e-2 * gradient.abs().max()


def frame_on_gpu(work: Optimizer, seed: int) -> tuple[torch.Tensor, Goal]:
    start, goal = frame(seed)
    moved = {name: tensor.cuda() for name, tensor in goal.tensors().items()}
    moved["content"] = work.content(start.cuda())
    return start.cuda(), goal.with_tensors(moved)


@GPU
def test_after_a_call_that_waits_for_its_device_that_is_used_as_before() -> None:
    replays, given = Replays(), {"x": torch.ones(3, device="cuda")}

    def waiting(given: Tensors) -> list[torch.Tensor]:
        return [given["x"] * float(given["x"].sum())]

    for _ in range(2):
        assert replays.find("waiting", waiting, given) is None
    assert len(replays.warnings) == 1
    large = torch.ones(2**26, device="cuda")
    reserved = torch.cuda.memory_reserved()
    del large
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= reserved - 4 * 2**26
    assert float(given["x"].sum()) == 3
