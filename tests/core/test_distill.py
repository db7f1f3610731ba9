"""The recipe runs from nothing, twice the same, and what it learns is the teacher."""

import json
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.core.toys import cpu
from vidstyle.errors import InputError
from vidstyle.features import distill, load_features
from vidstyle.features.vgg import BLOCKS, which_vgg
from vidstyle.losses import gram_loss, gram_matrix
from vidstyle.optimize import Goal, Optimizer
from vidstyle.settings import StyleSettings


def random_teacher(name: str, blocks: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state, index, wide_in = {}, 0, 3
    for block in BLOCKS[name][:blocks]:
        for wide in block:
            spread = (2 / (wide_in * 9)) ** 0.5
            weight = torch.randn(wide, wide_in, 3, 3, generator=generator) * spread
            state[f"features.{index}.weight"] = weight
            state[f"features.{index}.bias"] = torch.zeros(wide)
            index, wide_in = index + 2, wide
        index += 1
    return state


@pytest.fixture
def lesson(tmp_path):
    """A teacher with random weights, two pictures to teach on."""
    save_file(random_teacher("vgg19", 3), tmp_path / "teacher.safetensors")
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(noise).resize((200, 160)).save(photos / f"{seed}.png")
    return tmp_path


def teach(lesson, name: str, monkeypatch, *more: str) -> dict[str, torch.Tensor]:
    """On crops of an eighth of the usual pixels."""
    monkeypatch.setattr(distill, "CROP", 48)
    path = lesson / name
    command = ["distill", "--teacher", lesson / "teacher.safetensors", "--photos"]
    command += [lesson / "photos", "--out", path, "--crops", "1", *more]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    distill.main()
    return load_file(path)


@pytest.mark.slow
def test_the_recipe_is_seeded_and_its_file_loads(lesson, monkeypatch):
    first = teach(lesson, "a.safetensors", monkeypatch, "--steps", "2")
    again = teach(lesson, "b.safetensors", monkeypatch, "--steps", "2")
    assert all(torch.allclose(first[name], again[name], atol=1e-3) for name in first)
    other = teach(lesson, "c.safetensors", monkeypatch, "--steps", "2", "--seed", "1")
    assert any(not torch.allclose(first[name], other[name], atol=1e-3) for name in first)
    assert load_features("lite", lesson / "a.safetensors").name == "lite"


def test_a_lesson_goes_on_from_a_file_in_its_units(lesson, monkeypatch):
    first = teach(lesson, "a.safetensors", monkeypatch, "--steps", "1")
    start = ["--start", str(lesson / "a.safetensors"), "--steps", "1"]
    on = teach(lesson, "b.safetensors", monkeypatch, *start, "--seed", "1", "--rate", "1e-6")
    assert all(torch.allclose(first[name], on[name], atol=1e-3) for name in first)
    assert sizes(lesson / "a.safetensors") == sizes(lesson / "b.safetensors")


def test_what_is_no_student_of_the_teacher_is_refused(lesson, monkeypatch):
    start = ["--start", str(lesson / "teacher.safetensors")]
    with pytest.raises(SystemExit, match=r"--start .*teacher.safetensors: not a student"):
        teach(lesson, "a.safetensors", monkeypatch, *start)


def test_a_lesson_of_no_steps_is_refused(lesson, monkeypatch):
    with pytest.raises(SystemExit, match="--steps 0: must be at least 1"):
        teach(lesson, "a.safetensors", monkeypatch, "--steps", "0")


@pytest.fixture
def classroom(lesson, monkeypatch):
    """A lesson about to begin, and pictures on their way in it."""
    monkeypatch.setattr(distill, "CROP", 48)
    torch.manual_seed(0)
    teacher = distill.load_teacher(lesson / "teacher.safetensors", None).frozen()
    photographs = distill.Photographs([lesson / "photos"], torch.Generator().manual_seed(0))
    return distill.Distillation(teacher, photographs, None), distill.PicturePool(photographs)


# Slow where a processor does not multiply in bfloat16.
@pytest.mark.parametrize("bfloat16", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_teaching_brings_the_student_closer(classroom, bfloat16):
    work, pool = classroom
    pictures = pool.image[:2].clone()
    before = work.loss(pictures).item()
    for _ in distill.run(work.student, distill.lesson(work, 1, bfloat16), 10, 2e-3):
        pass
    assert work.loss(pictures).item() < 0.9 * before


def layer_of(work: distill.Distillation, relu: str) -> torch.nn.Sequential:
    """The teacher's own, in the student's units."""
    units = {layer.name: (before, size) for layer, before, size in work._units()}
    before, size = units[relu]
    layer = deepcopy(work.teacher.steps[relu.replace("relu", "conv")])
    layer.weight *= before / size
    layer.bias /= size
    return torch.nn.Sequential(layer, torch.nn.ReLU()).requires_grad_()


def test_every_layer_is_taught_from_the_teachers_features(classroom):
    """So that none learns to make good what another before it does wrong."""
    work, pool = classroom
    for relu in work.taps:
        work.student.steps[relu] = layer_of(work, relu)
    assert work.loss(pool.image[:2]).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for value in work.student.steps["relu2_2"].parameters():
            value.zero_()
    lost = work.loss(pool.image[:2]).item()  # all of one layer's features and gradients
    assert lost == pytest.approx(1 + distill.PULL, rel=1e-3)


def test_a_layer_that_sends_back_something_else_is_taught_too(classroom):
    """One whose features alone are right: a constant for these very pictures."""
    work, pool = classroom
    for relu in work.taps:
        work.student.steps[relu] = layer_of(work, relu)
    made = work._walk(pool.image[:2])[work.taps.index("relu2_2")].made.detach()

    class Constant(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return made + 0 * x.sum()

    work.student.steps["relu2_2"] = Constant()
    assert work.loss(pool.image[:2]).item() == pytest.approx(distill.PULL, rel=1e-3)


def test_what_is_sent_back_is_the_style_losss_own_gradient(classroom):
    """With the next picture's style, the last one's with the first's."""
    work, pool = classroom
    pairs = work._pulls(work._walk(pool.image[:3]))
    pulls = {tap: pull for tap, (pull, _) in zip(work.taps, pairs, strict=True)}
    features = work.teacher(pool.image[:3].requires_grad_(), work.taps)
    loss = torch.zeros(())
    for tap in work.student.style_taps:
        gram = gram_matrix(features[tap] / work.rms[tap])
        loss = loss + gram_loss(gram, gram.detach()[[1, 2, 0]])
    for tap in ("relu1_2", "relu2_1", "relu3_4"):
        wanted = torch.autograd.grad(loss, features[tap], retain_graph=True)[0] * work.rms[tap]
        assert (pulls[tap] - wanted).norm() < 1e-3 * wanted.norm()


def test_a_lesson_begins_with_near_bottlenecks(classroom):
    """Of random kernels, the worst there are: far better than random layers, of error 1."""
    work, pool = classroom
    begun = work.loss(pool.image[:2]).item()
    for step in work.student.steps.values():
        for layer in step.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.reset_parameters()
    assert begun < 0.5 * work.loss(pool.image[:2]).item()


def test_the_pools_pictures_go_where_the_optimiser_would(classroom):
    work, pool = classroom
    indices = pool.pick(1)
    image, found = distill.style_gradient(work.student, pool, indices)
    look = StyleSettings(content_weight=float(pool.hold[indices[0]]), tv_weight=0)
    optimizer = Optimizer(work.student, cpu(), look)
    content = optimizer.content(pool.content[indices])
    goal = Goal(optimizer.grams(pool.style[indices]), content)
    image.requires_grad_()
    (wanted,) = torch.autograd.grad(optimizer.loss(image, goal), image)
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_the_mean_soon_forgets_where_it_began():
    mean, value = torch.zeros(1), torch.ones(1)
    for seen in range(1, 100):
        mean = distill.running_mean(mean, value, seen)
    assert mean > 0.99
    assert distill.running_mean(value, torch.zeros(1), 10**6) == pytest.approx(distill.MEMORY)


def sizes(path) -> dict[str, float]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["rms"])


def test_the_first_convolution_is_the_teachers_own(lesson, monkeypatch):
    """In the student's units; the others have learned in ten steps."""
    taught = random_teacher("vgg19", 3)
    taught["features.0.bias"] = torch.linspace(-1, 1, 64)
    save_file(taught, lesson / "teacher.safetensors")
    few = teach(lesson, "b.safetensors", monkeypatch, "--steps", "1")
    state = teach(lesson, "a.safetensors", monkeypatch, "--steps", "10")
    others = "steps.relu2_1.1.weight"
    assert (state[others].float() - few[others].float()).abs().max() > 1e-3
    size = sizes(lesson / "a.safetensors")["relu1_1"]
    for name in ("weight", "bias"):
        own = state[f"steps.relu1_1.0.{name}"].float() * size
        torch.testing.assert_close(own, taught[f"features.0.{name}"], rtol=1e-3, atol=1e-3)


def test_a_folder_without_photographs_is_named(lesson, monkeypatch):
    for photo in (lesson / "photos").iterdir():
        photo.unlink()
    with pytest.raises(SystemExit, match="photos"):
        teach(lesson, "a.safetensors", monkeypatch)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_teacher_is_known_by_its_shapes(name):
    assert which_vgg(random_teacher(name, 4)) == name
    broken = random_teacher(name, 2) | {"features.0.weight": torch.zeros(32, 3, 3, 3)}
    with pytest.raises(InputError, match="not the weights of a VGG"):
        which_vgg(broken)


def test_another_teacher_teaches_a_deeper_student(lesson, monkeypatch):
    save_file(random_teacher("vgg16", 4), lesson / "teacher.safetensors")
    deeper = ["--steps", "1", "--down-to", "relu4_1"]
    state = teach(lesson, "deep.safetensors", monkeypatch, *deeper)
    net = load_features("lite", lesson / "deep.safetensors")
    assert net.style_taps == ("relu1_1", "relu2_1", "relu3_1", "relu3_3", "relu4_1")
    assert net.content_tap == "relu3_2" and net.least_side == 16
    found = net(torch.rand(1, 3, 64, 48), net.style_taps)
    assert found["relu4_1"].shape == (1, 512, 8, 6) and "steps.relu3_4.0.weight" not in state


def test_a_layer_that_the_teacher_lacks_is_named(lesson, monkeypatch):
    for layer in ("relu4_1", "relu2_1", "conv3_2"):
        with pytest.raises(SystemExit, match=rf"--down-to {layer}: .* ends with relu3_4"):
            teach(lesson, "a.safetensors", monkeypatch, "--down-to", layer)
