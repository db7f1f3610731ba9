"""Networks, their taps and their weights, from files that a user may have."""

import hashlib
import io
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torchvision import models

from tests.core.teacher_features import STORED, seen_by
from tests.core.toys import toy_net
from vidstyle.errors import InputError, SettingsError
from vidstyle.features import FEATURES, arranged, load_features
from vidstyle.features.lite import (
    LAYERS,
    build_lite,
    default_taps,
    names_of,
    shipped_weights,
)
from vidstyle.features.mirrored import Mirrored
from vidstyle.features.pool import AveragePool
from vidstyle.features.taps import steps_in_use
from vidstyle.features.vgg import step_names
from vidstyle.weights import cached_file, fetch_weights

VGG = Path(__file__).parents[3] / "shared/data/weights/vgg19_relu3_4.safetensors"
needs_vgg = pytest.mark.skipif(not VGG.exists(), reason="needs VGG-19's weights beside the project")


def small_vgg_state(layers: int = 3) -> dict[str, torch.Tensor]:
    """The first convolutions of a VGG with torchvision's keys, seeded."""
    shapes = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128)][:layers]
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, wide_in, wide_out in shapes:
        state[f"features.{index}.weight"] = 0.05 * torch.randn(
            wide_out, wide_in, 3, 3, generator=generator
        )
        state[f"features.{index}.bias"] = torch.zeros(wide_out)
    return state


def picture(height: int = 48, width: int = 64) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_lite_is_the_default_small_frozen_and_quiet():
    net = load_features()
    assert net.name == "lite" and not any(p.requires_grad for p in net.parameters())
    size = sum(value.numel() * 2 for value in shipped_weights().values())
    assert size <= 2 * 2**20
    features = net(picture(), [*net.style_taps, net.content_tap])
    widths = {layer.name: layer.wide_out for layer in LAYERS}
    for tap, values in features.items():
        assert values.shape[1] == widths[tap] and torch.isfinite(values).all() and values.max() > 0


def test_taps_are_read_no_deeper_than_asked():
    net = load_features()
    seen = []
    for name, step in net.steps.items():
        step.register_forward_hook(lambda *_, name=name: seen.append(name))
    assert set(net(picture(), ["relu2_1", "relu1_1"])) == {"relu1_1", "relu2_1"}
    assert seen[-1] == "relu2_1"


def test_chosen_layers_become_the_taps():
    net = load_features(style_layers=("relu1_2", "relu3_2"), content_layer="relu2_2")
    assert net.style_taps == ("relu1_2", "relu3_2") and net.content_tap == "relu2_2"


@pytest.mark.parametrize("bad", ["relu9_9", "pool1", "conv1_1", ""])
def test_unknown_layers_are_refused_with_the_known_ones(bad):
    with pytest.raises(SettingsError, match="relu3_4"):
        load_features(content_layer=bad or "nothing")


def test_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=", ".join(FEATURES)):
        load_features("alexnet")


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_vgg_from_a_file_is_torchvisions_vgg(tmp_path, ending):
    """Against torchvision's own module, average pooling put in, with the same weights."""
    state, path = small_vgg_state(), tmp_path / f"weights{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    net = load_features("vgg16", path, ("conv1_2", "relu1_2"), "relu2_1")
    with torch.device("meta"):  # its own weights would take seconds to draw
        layers = [*models.vgg16().features][:7]
    layers[4] = nn.AvgPool2d(2)
    truth = nn.Sequential(*layers)
    truth.load_state_dict({name[9:]: value for name, value in state.items()}, assign=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = picture()
    wanted = truth((image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    found = net(image, ["conv1_2", "relu1_2", "relu2_1"])
    assert torch.allclose(found["relu2_1"], wanted, atol=1e-5)
    assert torch.equal(found["conv1_2"].relu(), found["relu1_2"])
    assert found["conv1_2"].min() < 0


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_vgg_steps_stand_where_torchvision_has_them(name):
    kinds = {"conv": nn.Conv2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}
    with torch.device("meta"):
        layers = getattr(models, name)().features
    for step, layer in zip(step_names(name), layers, strict=True):
        assert isinstance(layer, kinds[step[:4]])


def test_weights_too_shallow_for_the_layers_are_refused(tmp_path):
    path = tmp_path / "shallow.safetensors"
    save_file(small_vgg_state(2), path)
    with pytest.raises(InputError, match="conv2_1"):
        load_features("vgg19", path, ("relu1_1",), "relu2_1")


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap_was_sprung"),))


def damaged_files() -> dict[str, bytes]:
    whole = io.BytesIO()
    torch.save(small_vgg_state(), whole)
    module = io.BytesIO()
    torch.save({"features.0.weight": "text"}, module)
    infinite = io.BytesIO()
    torch.save({"features.0.weight": torch.tensor([1.0, torch.inf])}, infinite)
    return {
        "empty.pth": b"",
        "stop.pth": b"\x80\x02.",
        "infinite.pth": infinite.getvalue(),
        "noise.pth": bytes(range(256)) * 20,
        "cut.pth": whole.getvalue()[:2000],
        "trap.pth": pickle.dumps({"features.0.weight": Trap()}),
        "text.pth": module.getvalue(),
        "empty.safetensors": b"",
        "noise.safetensors": bytes(range(256)) * 20,
    }


@pytest.mark.parametrize("name", damaged_files())
def test_damaged_weights_are_one_line_and_run_no_code(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(damaged_files()[name])
    with pytest.raises(InputError) as caught:
        load_features("vgg19", Path(name))
    assert "\n" not in str(caught.value) and name in str(caught.value)
    assert not Path("trap_was_sprung").exists()


def offered(folder: Path, digest: str | None = None) -> SimpleNamespace:
    """Weights at a file:// address that ends, as torchvision's do, in the start of a SHA-256."""
    torch.save(small_vgg_state(), folder / "vgg.pth")
    digest = digest or hashlib.sha256((folder / "vgg.pth").read_bytes()).hexdigest()[:8]
    return SimpleNamespace(url=(folder / "vgg.pth").rename(folder / f"vgg-{digest}.pth").as_uri())


def test_weights_are_fetched_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    choice = offered(tmp_path)
    for _ in range(2):
        state = fetch_weights("vgg", choice, option="--weights", instead="lite")
        assert all(torch.equal(state[name], value) for name, value in small_vgg_state().items())
        for path in tmp_path.glob("*.pth"):
            path.unlink()


def test_a_download_that_is_not_what_was_promised_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    choice = offered(tmp_path, "00000000")
    with pytest.raises(InputError, match=r"vgg: its weights could not be fetched .*invalid hash"):
        fetch_weights("vgg", choice, option="--weights", instead="lite")
    assert list(cached_file(choice).parent.iterdir()) == []


@pytest.mark.parametrize("name", ["trap.pth", "empty.pth", "noise.pth"])
def test_a_damaged_cache_is_named_and_runs_no_code(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = cached_file(models.VGG16_Weights.IMAGENET1K_V1)
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged_files()[name])
    with pytest.raises(InputError, match=r"vgg16-397923af.*not a plain state dict"):
        load_features("vgg16")
    assert not Path("trap_was_sprung").exists()


def test_missing_and_foreign_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        load_features("vgg19", tmp_path / "none.pth")
    path = tmp_path / "vgg.safetensors"
    save_file(small_vgg_state(), path)
    with pytest.raises(InputError, match="not weights of lite"):
        load_features("lite", path)


def test_weights_of_another_network_are_refused(tmp_path):
    state, path = small_vgg_state(), tmp_path / "narrow.safetensors"
    state["features.2.weight"] = state["features.2.weight"][:, :32].contiguous()
    save_file(state, path)
    with pytest.raises(InputError, match="conv1_2"):
        load_features("vgg19", path, ("relu1_1",), "relu2_1")


def test_a_file_with_only_the_layers_in_use_is_enough_for_lite(tmp_path):
    path = tmp_path / "shallow.safetensors"
    state = {name: value for name, value in shipped_weights().items() if "relu3" not in name}
    save_file(state, path)
    net = load_features("lite", path, ("relu1_1", "relu2_1"), "relu2_2")
    assert list(net.steps)[-1] == "relu2_2"
    with pytest.raises(InputError, match="not weights of lite"):
        load_features("lite", path)


@pytest.mark.parametrize(("layer", "least"), [("relu1_2", 2), ("relu2_2", 4), ("relu3_1", 8)])
def test_the_least_side_leaves_two_pixels_at_the_deepest_tap(layer, least):
    net = load_features(style_layers=(layer,), content_layer="relu1_1").reflecting()
    assert net.least_side == least
    assert min(net(picture(least, least), [layer])[layer].shape[2:]) == 2


def test_lite_loads_weights_that_were_taught_elsewhere(tmp_path):
    names = names_of(shipped_weights())
    other = build_lite(steps_in_use(names, *default_taps(names)), *default_taps(names))
    path = tmp_path / "mine.safetensors"
    save_file(other.state_dict(), path)
    found = load_features("lite", path)(picture(), ["relu3_4"])["relu3_4"]
    assert torch.allclose(found, other(picture(), ["relu3_4"])["relu3_4"], atol=1e-6)


def gradient_and_features(net, picture, dtype=torch.float32):
    image = picture.clone(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        features = net(image, net.style_taps)
    loss = sum(f.float().square().sum() for f in features.values())
    (gradient,) = torch.autograd.grad(loss, image)
    return [gradient, *(f.detach() for f in features.values())]


@pytest.mark.parametrize("name", ["lite", "toy"])
def test_arranged_for_a_gpu_it_is_the_same_network(name):
    def load():
        return (load_features(name) if name == "lite" else toy_net()).reflecting()

    picture = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    plain, other = (gradient_and_features(net, picture) for net in (load(), arranged(load())))
    assert all(
        torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in zip(plain, other, strict=True)
    )


def test_arranged_it_is_as_near_in_bfloat16():
    """As the plain one in bfloat16 is to float32: biases that are passed on are rounded once."""
    picture = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    plain, other = load_features().reflecting(), arranged(load_features().reflecting())
    truth = gradient_and_features(plain, picture)
    errors = [
        [float((a.float() - b).norm() / b.norm()) for a, b in zip(made, truth, strict=True)]
        for made in (gradient_and_features(net, picture, torch.bfloat16) for net in (plain, other))
    ]
    assert all(mine < 1.2 * usual for usual, mine in zip(*errors, strict=True))


def test_arranged_nothing_adds_a_bias_in_a_pass_of_its_own():
    net = arranged(load_features().reflecting())
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].in_channels == 8
    assert all(layer.bias is None for layer in convolutions if layer.kernel_size == (3, 3))


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 3)])
def test_it_pools_as_torch_does(size):
    """There and back, and back from there: distillation goes through gradients."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    usual, made = F.avg_pool2d(x, 2), AveragePool()(x)
    pull = torch.rand_like(usual)
    gradients = [torch.autograd.grad(y, x, pull)[0] for y in (usual, made)]
    assert torch.equal(made, usual) and torch.equal(*gradients)
    assert torch.autograd.gradgradcheck(lambda y: AveragePool()(y).square(), x)


@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 3), (3, 7), (4, 4), (5, 4), (12, 9)])
@pytest.mark.parametrize("more", [0, 5])
def test_mirrored_it_reads_and_sends_back_as_torch_pads(size, more):
    conv = nn.Conv2d(3, 4, 3, padding=1).double()
    x = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    usual = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)
    mirrored = Mirrored(conv)
    if more:
        mirrored.widen(more)
    made = mirrored(x)
    pull = torch.rand_like(usual)
    gradients = [torch.autograd.grad(y, x, pull)[0] for y in (usual, made)]
    assert torch.allclose(made, usual) and torch.allclose(*gradients)
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_reflecting_mirrors_the_picture_beyond_its_border():
    """One channel of ones: with zeros outside, a border pixel would lack a third of its sum."""
    net = load_features(style_layers=("relu1_1",), content_layer="relu1_1")
    flat = torch.full((1, 3, 16, 16), 0.7)
    plain = net(flat, ["relu1_1"])["relu1_1"]
    mirrored = net.reflecting()(flat, ["relu1_1"])["relu1_1"]
    assert torch.allclose(mirrored, mirrored[..., 8:9, 8:9].expand_as(mirrored), atol=1e-5)
    assert torch.allclose(plain[..., 2:-2, 2:-2], mirrored[..., 2:-2, 2:-2], atol=1e-5)
    assert not torch.allclose(plain, mirrored, atol=1e-2)


@needs_vgg
def test_lite_agrees_with_its_teacher():
    """Relative squared error of features on a picture that neither was taught on."""
    from tests.core.toys import stripes
    from vidstyle.images import to_tensor

    lite, vgg = load_features(), load_features("vgg19", VGG)
    image = to_tensor(stripes(96, 128)) * 0.6 + 0.2 * picture(96, 128)
    taps = ["relu1_1", "relu2_1", "relu3_1", "relu3_4"]
    for tap, own in lite(image, taps).items():
        truth = vgg(image, taps)[tap]
        truth = truth / truth.square().mean().sqrt()
        # lite's features are in units of the teacher's mean size over photographs.
        scale = (own * truth).sum() / own.square().sum()
        error = (scale * own - truth).square().sum() / truth.square().sum()
        assert error < 0.08, f"{tap}: {error:.3f}"


def test_lite_sees_what_its_teacher_saw():
    """Relative squared error of features on the sample painting, which it was not taught on."""
    limits = {"relu1_1": 1e-6, "relu2_1": 0.004, "relu3_1": 0.02, "relu3_4": 0.025}
    truth, own = load_file(STORED), seen_by(load_features())
    for tap, limit in limits.items():
        expected = truth[tap].float()
        # lite's features are in units of the teacher's mean size over photographs.
        scale = (own[tap] * expected).sum() / own[tap].square().sum()
        error = (scale * own[tap] - expected).square().sum() / expected.square().sum()
        assert error < limit, f"{tap}: {error:.4f}"
