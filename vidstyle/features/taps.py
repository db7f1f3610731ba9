"""A feature network as a row of named steps, read out wherever a loss wants to look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vidstyle.errors import SettingsError
from vidstyle.features.mirrored import Mirrored

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TapNet(nn.Module):
    """Steps run one after the other; a *tap* is the output of a named step.

    `style_taps` and `content_tap` are what the losses use unless told otherwise.
    """

    def __init__(
        self,
        name: str,
        steps: Mapping[str, nn.Module],
        style_taps: Sequence[str],
        content_tap: str,
    ) -> None:
        super().__init__()
        self.name = name
        self.steps = nn.ModuleDict(steps)
        self.style_taps = tuple(style_taps)
        self.content_tap = content_tap
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, taps: Iterable[str]) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in [0, 1] → {tap: (B, C, H', W')}, running no deeper than the last."""
        x = self.normalised(image)
        wanted = set(taps)
        found: dict[str, Tensor] = {}
        for name, step in self.steps.items():
            x = step(x)
            if name in wanted:
                found[name] = x
                if len(found) == len(wanted):
                    break
        return found

    def normalised(self, image: Tensor) -> Tensor:
        """As the first step is fed: RGB in [0, 1] → ImageNet's mean 0 and deviation 1."""
        return (image - self.get_buffer("mean")) / self.get_buffer("std")

    @property
    def used(self) -> list[str]:
        """The steps that run: down to the deepest tap."""
        return steps_in_use(list(self.steps), self.style_taps, self.content_tap)

    @property
    def coarsest(self) -> int:
        """Pixels of the picture, a side, to one of the deepest tap."""
        return self.scale(self.used[-1])

    @property
    def least_side(self) -> int:
        """Pixels: two must be left after the poolings before the deepest tap, to be mirrored."""
        return 2 * self.coarsest

    @property
    def reach(self) -> int:
        """Pixels of the picture that the deepest tap sees to each side of its own."""
        steps = {name: self.steps[name].modules() for name in self.used}
        return sum(
            module.kernel_size[0] // 2 * self.scale(name)
            for name, modules in steps.items()
            for module in modules
            if isinstance(module, nn.Conv2d)
        )

    def scale(self, step: str) -> int:
        """Pixels of the picture, a side, to one of this step's output."""
        names = list(self.steps)
        before = names[: names.index(step) + 1]
        return int(2 ** sum(name.startswith("pool") for name in before))

    def reflecting(self) -> TapNet:
        """Convolutions see the picture mirrored beyond its border instead of black.

        For optimising only: with zeros the optimiser paints a frame inside every border. Networks
        that judge keep the padding they were taught with.
        """
        for part in list(self.modules()):
            for name, layer in part.named_children():
                if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
                    setattr(part, name, Mirrored(layer))
        return self

    def frozen(self) -> TapNet:
        """For measuring only: no gradient reaches the weights."""
        return self.eval().requires_grad_(False)


def steps_in_use(names: list[str], style_taps: Sequence[str], content_tap: str) -> list[str]:
    """The steps down to the deepest tap: no loss looks further."""
    return names[: 1 + max(names.index(tap) for tap in (*style_taps, content_tap))]


def check_taps(
    name: str, known: Iterable[str], style_taps: Sequence[str], content_tap: str
) -> None:
    readable = [tap for tap in known if not tap.startswith("pool")]
    for tap in (*style_taps, content_tap):
        if tap not in readable:
            raise SettingsError(f"layer {tap}: {name} has {', '.join(readable)}")
    if not style_taps:
        raise SettingsError("--style-layers is empty: name at least one layer, e.g. relu1_1")
