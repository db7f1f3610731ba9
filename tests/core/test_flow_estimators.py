"""One contract for every flow: planted motion is found, whatever the size, always the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.core.toys import raft_weights, square_on_ground
from vidstyle.errors import InputError, SettingsError
from vidstyle.flow import FLOWS, FlowEstimator, load_flow, remember
from vidstyle.flow.raft import with_network

SIZES = [(96, 128), (99, 131)]  # (H, W)
SHIFTS = [(3, 0), (0, -3), (-2, 1), (0.5, 0.25), (-4.5, 2.5), (0, 0)]  # (x, y)


@pytest.fixture(scope="module", params=FLOWS)
def estimator(request) -> FlowEstimator:
    if request.param != "raft":
        return load_flow(request.param)
    weights = raft_weights()
    if weights is None:
        pytest.skip("RAFT's weights are neither in torchvision's cache nor beside the project")
    return load_flow("raft", weights)


def waves(height: int, width: int, x: float = 0, y: float = 0) -> np.ndarray:
    """Sixty plane waves in colour, (x, y) their upper left corner: exact at any fraction."""
    rng = np.random.default_rng(0)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 60))
    per_pixel = 2 * np.pi / rng.uniform(6, 40, 60)
    ys, xs = np.mgrid[:height, :width] + np.reshape([y, x], (2, 1, 1))
    along = xs[..., None] * np.cos(angle) + ys[..., None] * np.sin(angle)
    colour = np.cos(per_pixel * along + phase) @ rng.normal(size=(60, 3))
    return (0.5 + colour / 33).clip(0, 1).astype(np.float32)


def errors(field: np.ndarray, shift: tuple[float, float], margin: int) -> np.ndarray:
    """End-point errors in pixels, the margin left out: what came into view has no match."""
    inner = (slice(margin, -margin), slice(margin, -margin))
    return np.linalg.norm(field[inner] - shift, axis=2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shifted_picture_is_found(estimator, size, shift):
    first, second = waves(*size), waves(*size, -shift[0], -shift[1])
    field = estimator(first, second)
    assert field.shape == (*size, 2) and field.dtype == np.float32
    error = errors(field, shift, 10)
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.3


def test_a_square_moved_three_pixels_is_found(estimator):
    field = estimator(square_on_ground(40), square_on_ground(43))
    assert np.median(field[38:58, 50:70], axis=(0, 1)) == pytest.approx((3, 0), abs=0.3)
    assert np.median(np.abs(field[:15])) < 0.1


@pytest.mark.parametrize("size", [(16, 16), (9, 7), (20, 300), (300, 12), (128, 128)])
def test_any_size_is_taken(estimator, size):
    field = estimator(waves(*size), waves(*size))
    assert field.shape == (*size, 2) and field.dtype == np.float32
    assert np.isfinite(field).all() and np.median(np.abs(field)) < 0.5


def test_pictures_and_earlier_answers_stay_as_they_are(estimator):
    first, second, third = (waves(64, 80, x) for x in (0, 2, 4))
    given, answer = first.copy(), estimator(first, second)
    kept = answer.copy()
    estimator(third, first)
    assert np.array_equal(first, given) and np.array_equal(answer, kept)
    assert np.array_equal(estimator(first, second), kept)


@pytest.mark.parametrize("name", ["dis", "farneback"])
@pytest.mark.parametrize("shift", [(2, 0), (-1, 1.5)])
def test_motion_in_a_tiny_picture_is_found(name, shift):
    """Of the methods that work at full size: RAFT's three cells a side would be a guess."""
    field = load_flow(name)(waves(24, 24), waves(24, 24, -shift[0], -shift[1]))
    assert np.median(errors(field, shift, 4)) < 0.2


def test_an_unknown_flow_is_refused():
    with pytest.raises(SettingsError, match="dis"):
        load_flow("magic")


@pytest.mark.parametrize("name", ["dis", "farneback"])
def test_weights_are_refused_where_none_are_used(name):
    with pytest.raises(SettingsError, match=f"--flow-weights a.pth: {name} has none"):
        load_flow(name, Path("a.pth"))


def test_remember_asks_once_for_each_pair():
    asked = []
    flow = remember(lambda a, b: asked.append((a, b)) or np.zeros((2, 2, 2), np.float32))
    one, other, third = (np.zeros((2, 2, 3), np.float32) for _ in range(3))
    for pair in ((one, other), (other, one), (one, other), (other, one)):
        flow(*pair)
    assert len(asked) == 2
    flow(other, third)
    flow(one, other)  # forgotten by now
    assert len(asked) == 4


# RAFT's own: its pictures are fitted to the network, its weights come from files.


class Seen(torch.nn.Module):
    """Answers with what it saw: the first picture's red as x, the second's green as y."""

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        self.size = tuple(first.shape[2:])
        flow = torch.cat([first[:, :1], second[:, 1:2]], dim=1)
        return [torch.zeros_like(flow), flow]


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((128, 136), (128, 136)), ((99, 131), (128, 136)), ((9, 7), (128, 128)),
     ((300, 12), (304, 128))],
)  # fmt: skip
def test_raft_sees_pictures_in_its_range_and_sizes(size, fitted):
    net = Seen()
    first, second = waves(*size), waves(*size, x=50)
    field = with_network(net, torch.device("cpu"))(first, second)
    assert net.size == fitted
    assert field == pytest.approx(2 * np.stack([first[..., 0], second[..., 1]], -1) - 1, abs=1e-6)


def test_raft_solves_large_pictures_at_a_size_that_fits_in_memory(monkeypatch):
    monkeypatch.setattr("vidstyle.flow.raft.MOST_PIXELS", 128 * 160)
    net, picture = Seen(), np.full((384, 480, 3), (1, 0.25, 0), np.float32)
    field = with_network(net, torch.device("cpu"))(picture, picture)
    assert net.size == (128, 160) and field.shape == (384, 480, 2)
    assert np.allclose(field, (3, -1.5), atol=1e-4)  # three times the (1, -0.5) found there


def test_raft_is_torchvisions_with_the_files_weights(tmp_path):
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    state = raft_large().state_dict()
    save_file(state, tmp_path / "raft.safetensors")
    first, second = waves(128, 128), waves(128, 128, 2)
    found = load_flow("raft", tmp_path / "raft.safetensors")(first, second)
    net = raft_large().eval()
    net.load_state_dict(state)
    tensors = [torch.from_numpy(2 * x - 1).permute(2, 0, 1)[None] for x in (first, second)]
    with torch.no_grad():
        truth = net(*tensors)[-1][0].permute(1, 2, 0).numpy()
    assert np.abs(truth).max() > 0.01
    assert np.allclose(found, truth, atol=1e-4)


def test_raft_refuses_another_networks_weights(tmp_path):
    from torchvision.models.optical_flow import raft_small

    path = tmp_path / "small.pth"
    torch.save(raft_small().state_dict(), path)
    with pytest.raises(InputError, match="not weights of torchvision's raft_large") as caught:
        load_flow("raft", path)
    assert "\n" not in str(caught.value) and "small.pth" in str(caught.value)
    with pytest.raises(InputError, match="no such weights file"):
        load_flow("raft", tmp_path / "none.pth")
