"""Teaches `lite` from a VGG: python -m vidstyle.features.distill --teacher vgg19.safetensors …

The first convolution is the teacher's own, every other layer begins as a bottleneck near to the
teacher's and is then taught alone: it gets the teacher's features before it and regresses those
after it and what a style loss sends back, on photographs and on pictures that the student itself is
stylising meanwhile, since that is where the optimiser goes. Not end to end: layers that make good
each other's errors on the pictures at hand are honest nowhere else, and the optimiser finds that
("Networks" in tests/bench/results/README.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from vidstyle.errors import InputError, SettingsError, VidstyleError
from vidstyle.features.lite import Layer, build_lite, default_taps, layers_in, relus_in
from vidstyle.features.taps import TapNet, steps_in_use
from vidstyle.features.tucker import near_bottleneck
from vidstyle.features.vgg import build_vgg, deepest_relu, step_names, which_vgg
from vidstyle.losses import content_loss, gram_loss, gram_matrix
from vidstyle.weights import read_weights

CROP = 128  # pixels: relu3_4 sees 52, so most of a crop is free of the border
PHOTO_SIDE = 1024  # photographs are kept at this long side
SEEN = 32  # crops that sizes and first bottlenecks are made for
PULL = 0.2  # of a gradient's relative squared error, beside features'
POOL_SIZE, POOL_LIFE = 24, 100  # pictures under optimisation, and steps until one is replaced
TURNED = 20  # steps until a picture is seen turned and in other colours
HOLDS = (0.03, 0.5)  # content weights of the pool's: some go far from their photograph
MEMORY = 0.998  # a step at most, of the weights' mean, which is what is kept


class Photographs:
    """Random crops of a folder's pictures, varied in scale, colour, contrast and noise."""

    def __init__(self, folders: list[Path], generator: torch.Generator) -> None:
        paths = sorted(
            p for f in folders for p in f.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"}
        )
        if not paths:
            raise SystemExit(f"no .jpg or .png in {', '.join(map(str, folders))}")
        self.images = [_read_photo(path) for path in paths]
        self.generator = generator

    def crops(self, count: int) -> Tensor:
        """(count, 3, CROP, CROP) in [0, 1]."""
        return torch.stack([self._varied() for _ in range(count)]).clamp(0, 1)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape or (1,), generator=self.generator) * (high - low) + low

    def _chance(self, probability: float) -> bool:
        return bool(self._uniform(0, 1) < probability)

    def _crop(self) -> Tensor:
        image = self.images[int(torch.randint(len(self.images), (1,), generator=self.generator))]
        side = int(self._uniform(CROP, min(image.shape[1:])))
        top = int(self._uniform(0, image.shape[1] - side))
        left = int(self._uniform(0, image.shape[2] - side))
        crop = image[None, :, top : top + side, left : left + side].float() / 255
        crop = F.interpolate(crop, (CROP, CROP), mode="bilinear", antialias=True)[0]
        return crop.flip(2) if self._chance(0.5) else crop

    def _varied(self) -> Tensor:
        x = self._crop()
        if self._chance(0.2):
            x = torch.lerp(x, self._crop(), self._uniform(0.2, 0.8))
        if self._chance(0.5):
            x = x[torch.randperm(3, generator=self.generator)]
        if self._chance(0.1):
            x = 1 - x
        x = (x - 0.5) * self._uniform(0.3, 1.8, 3, 1, 1) + 0.5 + self._uniform(-0.25, 0.25, 3, 1, 1)
        if self._chance(0.5):
            noise = torch.randn(x.shape, generator=self.generator)
            x = x + noise * self._uniform(0, 0.12)
        return x


def _read_photo(path: Path) -> Tensor:
    with Image.open(path) as picture:
        picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


class PicturePool:
    """Pictures that the student stylises while it learns, each by Adam towards a random style."""

    def __init__(self, photographs: Photographs) -> None:
        self.photographs, self.generator = photographs, photographs.generator
        self.image = photographs.crops(POOL_SIZE)
        self.content = self.image.clone()
        self.style = photographs.crops(POOL_SIZE)
        self.first = torch.zeros_like(self.image)
        self.second = torch.zeros_like(self.image)
        self.hold = self._holds(POOL_SIZE)
        # Staggered, or the whole pool would be fresh and old at once.
        self.age = torch.arange(POOL_SIZE) * POOL_LIFE // POOL_SIZE
        self.turn = 0

    def pick(self, count: int) -> Tensor:
        indices = torch.arange(self.turn, self.turn + count) % POOL_SIZE
        self.turn = (self.turn + count) % POOL_SIZE
        for i in indices.tolist():
            if self.age[i] >= POOL_LIFE:
                self._renew(i)
            elif self.age[i] and self.age[i] % TURNED == 0:
                self._turn(i)
        return indices

    def _renew(self, i: int) -> None:
        self.content[i], self.style[i] = self.photographs.crops(2)
        self.image[i] = self.content[i]
        self.first[i], self.second[i], self.age[i] = 0, 0, 0
        self.hold[i] = self._holds(1)

    def _holds(self, count: int) -> Tensor:
        least, most = HOLDS
        return least * (most / least) ** torch.rand(count, generator=self.generator)

    def _turn(self, i: int) -> None:
        """By quarters, mirrored or not, its channels exchanged, and all that goes with it."""
        quarters = int(torch.randint(4, (1,), generator=self.generator))
        mirrored = [2] * int(torch.randint(2, (1,), generator=self.generator))
        channels = torch.randperm(3, generator=self.generator)
        for maps in (self.image, self.content, self.style, self.first, self.second):
            maps[i] = torch.rot90(maps[i], quarters, (1, 2))[channels].flip(mirrored)

    def advance(self, indices: Tensor, gradient: Tensor) -> None:
        """One Adam step (lr 0.03, betas 0.8 and 0.95: short memories for short lives)."""
        self.age[indices] += 1
        self.first[indices] = 0.8 * self.first[indices] + 0.2 * gradient
        self.second[indices] = 0.95 * self.second[indices] + 0.05 * gradient.square()
        age = self.age[indices].view(-1, 1, 1, 1).float()
        mean = self.first[indices] / (1 - 0.8**age)
        spread = (self.second[indices] / (1 - 0.95**age)).sqrt()
        self.image[indices] = (self.image[indices] - 0.03 * mean / (spread + 1e-12)).clamp(0, 1)


class Fed(NamedTuple):
    """A layer at work: from the features of the layer before, (B, C, H, W)."""

    before: Tensor
    made: Tensor

    def back(self, pull: Tensor, *, learning: bool = False) -> Tensor:
        """∂/∂made → ∂/∂before; differentiable by the layer's weights where they are `learning`."""
        deeper = learning or pull.requires_grad
        return torch.autograd.grad(
            self.made, self.before, pull.to(self.made.dtype), retain_graph=True, create_graph=deeper
        )[0]


class Distillation:
    """Teacher, student and the sizes that bring every layer's features to unit root mean square.

    The student has every layer that the teacher has too; a pool counts to the layer behind it.
    """

    def __init__(self, teacher: TapNet, photographs: Photographs, start: Path | None) -> None:
        self.teacher, self.photographs = teacher, photographs
        names = list(teacher.steps)
        self.taps = relus_in(names)
        student = build_lite(names, *default_taps(names))
        self.student = student.to(memory_format=torch.channels_last)
        if start:
            self.rms = self._go_on(start)
        else:
            features = self._features()
            self.rms = {tap: float(features[tap].square().mean().sqrt()) for tap in self.taps}
            self._come_near(features)
        self._adopt_own()

    def _go_on(self, start: Path) -> dict[str, float]:
        """That file's weights, and the sizes in whose units they are."""
        try:
            self.student.load_state_dict(read_weights(start))
            with safe_open(start, "pt") as file:
                sizes = json.loads(file.metadata()["rms"])
            return {tap: float(sizes[tap]) for tap in self.taps}
        except (RuntimeError, SafetensorError, TypeError, KeyError, ValueError) as error:
            raise InputError(f"--start {start}: not a student of this teacher's layers") from error

    @torch.no_grad()
    def _features(self) -> dict[str, Tensor]:
        """All of the teacher's, of photographs."""
        return self.teacher(self.photographs.crops(SEEN), self.teacher.steps)

    @torch.no_grad()
    def _come_near(self, features: dict[str, Tensor]) -> None:
        """Every layer that learns begins as a bottleneck near to the teacher's."""
        steps = list(self.teacher.steps)
        for layer, unit, size in self._units():
            if layer.learns:
                name = _convolution(layer.name)
                weight, bias = self.teacher.steps[name].parameters()
                near = near_bottleneck(
                    weight * unit / size,
                    bias / size,
                    features[steps[steps.index(name) - 1]] / unit,
                    features[name] / size,
                    layer.narrow_in,
                    layer.narrow_out,
                )
                mine = self.student.steps[layer.name].parameters()
                for value, start in zip(mine, near, strict=True):
                    value.copy_(start)

    @torch.no_grad()
    def _adopt_own(self) -> None:
        """The teacher's own convolutions, in the student's units; they learn no more."""
        for layer, unit, size in self._units():
            if not layer.learns:
                own = self.student.steps[layer.name].parameters()
                theirs = self.teacher.steps[_convolution(layer.name)].parameters()
                for mine, value, scale in zip(own, theirs, (unit, 1.0), strict=True):
                    mine.copy_(value * scale / size).requires_grad_(False)

    def _units(self) -> Iterator[tuple[Layer, float, float]]:
        """Each layer, the size of what the student's is fed and of what it makes."""
        before = 1.0
        for layer in layers_in(self.taps):
            yield layer, before, self.rms[layer.name]
            before = self.rms[layer.name]

    def _walk(self, images: Tensor) -> list[Fed]:
        """The teacher's layers, each on its own: no gradient passes from one to the next."""
        walk, steps = [], iter(self.teacher.steps.items())
        x = self.teacher.normalised(images.contiguous(memory_format=torch.channels_last))
        for layer, unit, size in self._units():
            before = x.detach().requires_grad_()
            x = before * unit
            for name, step in steps:
                x = step(x)
                if name == layer.name:
                    break
            x = x / size
            walk.append(Fed(before, x))
        return walk

    def _pulls(self, walk: list[Fed]) -> list[tuple[Tensor, Tensor]]:
        """∂/∂made and ∂/∂before of every layer, of a picture's style loss with the next one's."""
        pulls: list[tuple[Tensor, Tensor]] = []
        pull = torch.zeros_like(walk[-1].made)
        for name, fed in zip(reversed(self.taps), reversed(walk), strict=True):
            if name in self.student.style_taps:
                features = fed.made.detach().requires_grad_()
                gram = gram_matrix(features)
                style = gram_loss(gram, gram.detach().roll(-1, 0))
                pull = pull + torch.autograd.grad(style, features)[0]
            back = fed.back(pull)
            pulls.append((pull, back))
            pull = back
        return pulls[::-1]

    def loss(self, images: Tensor) -> Tensor:
        """Every layer's squared errors, of features and of gradients, relative to both's size.

        Of gradients since it is them that an optimiser follows (Czarnecki et al. 2017, Sobolev
        training): of the style loss, sent back through the layer and the teacher's before it.
        """
        walk, loss = self._walk(images), torch.zeros(())
        pulls = self._pulls(walk)
        for number, layer in enumerate(layers_in(self.taps)):
            if not layer.learns:
                continue
            before, truth = (
                walk[number].before.detach().requires_grad_(),
                walk[number].made.detach(),
            )
            own, (pull, theirs) = Fed(before, self._student(layer.name, before)), pulls[number]
            mine = own.back(pull, learning=True)
            mine, theirs = (walk[number - 1].back(gradient) for gradient in (mine, theirs))
            loss = loss + content_loss(own.made, truth) + PULL * content_loss(mine, theirs)
        return loss / len(images)

    def _student(self, name: str, x: Tensor) -> Tensor:
        """Its layer, and the pool that stands before."""
        steps = list(self.student.steps)
        before = steps[steps.index(name) - 1]
        if before.startswith("pool"):
            x = self.student.steps[before](x)
        return self.student.steps[name](x)


def _convolution(relu: str) -> str:
    return relu.replace("relu", "conv")


def style_gradient(student: TapNet, pool: PicturePool, indices: Tensor) -> tuple[Tensor, Tensor]:
    """These of the pool's, and what the optimiser would follow through the student as it is."""
    taps, deep = student.style_taps, student.content_tap
    with torch.no_grad():
        style = student(pool.style[indices], taps)
        content = student(pool.content[indices], [deep])[deep]
    image = pool.image[indices].requires_grad_()
    features = student(image, {*taps, deep})
    loss = torch.zeros(())
    for hold, mine, theirs in zip(pool.hold[indices], features[deep], content, strict=True):
        loss = loss + hold * content_loss(mine[None], theirs[None])
    for tap in taps:
        loss = loss + gram_loss(gram_matrix(features[tap]), gram_matrix(style[tap]))
    return image.detach(), torch.autograd.grad(loss, image)[0]


def lesson(work: Distillation, count: int, bfloat16: bool) -> Callable[[], Tensor]:
    """A step's loss, on so many photographs and as many of the pool's pictures, which go on."""
    pool = PicturePool(work.photographs)

    def loss() -> Tensor:
        photos, indices = work.photographs.crops(count), pool.pick(count)
        # Anew in every step: within, weights are converted once and for all.
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            images, gradient = style_gradient(work.student, pool, indices)
            pool.advance(indices, gradient)
            return work.loss(torch.cat([photos, images]))

    return loss


def running_mean(mean: Tensor, value: Tensor, seen: Tensor | int) -> Tensor:
    """Over a tenth of the steps so far, then over the last few hundred: the first were far off."""
    return torch.lerp(mean, value, max(1 - MEMORY, 10 / (10 + float(seen))))


def run(
    student: TapNet, loss_of: Callable[[], Tensor], steps: int, rate: float
) -> Iterator[tuple[int, float, dict[str, Tensor]]]:
    """AdamW under a one-cycle schedule: (step, loss, the mean of the last steps' weights)."""
    learning = [value for value in student.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    mean = AveragedModel(student, avg_fn=running_mean)
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward(inputs=learning)
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()
        mean.update_parameters(student)
        yield step, loss.item(), mean.module.state_dict()


def load_teacher(path: Path, down_to: str | None) -> TapNet:
    """Its layers down to the one named, else as far as the shipped `lite` goes."""
    weights = read_weights(path)
    name = which_vgg(weights)
    reached = steps_in_use(step_names(name), [], deepest_relu(name, weights))
    choices = [step for step in reached if step.startswith("relu") and step[4] >= "3"]
    deepest = down_to or max((step for step in choices if step[4] == "3"), default=None)
    if deepest not in choices:
        raise SettingsError(
            f"--down-to {deepest}: must be a relu of the third block or a deeper one, and {path} "
            f"ends with {reached[-1]}"
        )
    return build_vgg(name, weights, [deepest], deepest)


def save(weights: dict[str, Tensor], rms: dict[str, float], path: Path) -> None:
    state = {name: value.half().contiguous() for name, value in weights.items()}
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"rms": json.dumps(rms)})
    partial.replace(path)


def distill(arguments: argparse.Namespace) -> None:
    """Saves every 250 steps, so that a stopped lesson still leaves a file."""
    if arguments.steps < 1:
        raise SettingsError(f"--steps {arguments.steps}: must be at least 1")
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    teacher = load_teacher(arguments.teacher, arguments.down_to).frozen()
    photographs = Photographs(arguments.photos, generator)
    teacher = teacher.to(memory_format=torch.channels_last)
    work = Distillation(teacher, photographs, arguments.start)
    steps, average = arguments.steps, 0.0
    loss_of = lesson(work, arguments.crops, arguments.bfloat16)
    teaching = run(work.student, loss_of, steps, arguments.rate)
    for step, loss, mean in teaching:
        average = loss if step == 0 else 0.98 * average + 0.02 * loss
        if step % 50 == 49 or step == steps - 1:
            print(f"{step + 1}/{steps}: loss {average:.4f}", flush=True)
        if step % 250 == 249 or step == steps - 1:
            save(mean, work.rms, arguments.out)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vidstyle.features.distill", description=__doc__
    )
    parser.add_argument("--teacher", type=Path, required=True, help="state dict of any VGG")
    parser.add_argument(
        "--down-to", help="deepest layer, e.g. relu4_1; else the third block's last"
    )
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders")
    parser.add_argument("--out", type=Path, required=True, help="FILE.safetensors to write")
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate")
    parser.add_argument(
        "--crops", type=int, default=2, help="photographs a step, and as many of its own pictures"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="twice as fast on a CPU that multiplies in it"
    )
    parser.add_argument("--seed", type=int, default=0)
    try:
        distill(parser.parse_args())
    except VidstyleError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
