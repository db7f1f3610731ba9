"""Networks whose feature maps the losses compare: a registry of name → loader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from vidstyle.errors import InputError, SettingsError
from vidstyle.features import lite, vgg
from vidstyle.features.arranged import arranged
from vidstyle.features.taps import TapNet, check_taps, steps_in_use
from vidstyle.weights import cached_file, fetch_weights, read_weights

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

__all__ = ["FEATURES", "TapNet", "arranged", "at_hand", "load_features"]

Loader = Callable[[Path | None, Sequence[str], str | None], TapNet]


def _load_lite(weights: Path | None, style_taps: Sequence[str], content_tap: str | None) -> TapNet:
    state = read_weights(weights) if weights else lite.shipped_weights()
    foreign = InputError(
        f"{weights or 'lite.safetensors'}: not weights of lite down to these layers, as it is "
        "since 0.12; make some with python -m vidstyle.features.distill"
    )
    names = lite.names_of(state)
    usual = lite.default_taps(names)
    style, content = tuple(style_taps) or usual.style, content_tap or usual.content
    if "relu1_1" not in names or not content:
        raise foreign
    check_taps("lite", names, style, content)
    net = lite.build_lite(steps_in_use(names, style, content), style, content)
    try:
        missing = net.load_state_dict(state, strict=False).missing_keys
    except RuntimeError:  # shapes that do not fit
        missing = ["all"]
    if missing:
        raise foreign
    return net


def _load_vgg(name: str, deepest: str, content_default: str) -> Loader:
    def load(weights: Path | None, style_taps: Sequence[str], content_tap: str | None) -> TapNet:
        style = tuple(style_taps) or ("relu1_1", "relu2_1", "relu3_1", deepest)
        content = content_tap or content_default
        check_taps(name, vgg.step_names(name), style, content)
        state = read_weights(weights) if weights else _fetch_vgg(name)
        return vgg.build_vgg(name, state, style, content)

    return load


def _choice(name: str) -> WeightsEnum:
    from torchvision import models

    return {"vgg16": models.VGG16_Weights, "vgg19": models.VGG19_Weights}[name].IMAGENET1K_V1


def _fetch_vgg(name: str) -> dict[str, Tensor]:
    return fetch_weights(name, _choice(name), option="--weights", instead="--features lite")


def at_hand(name: str) -> bool:
    """Whether this VGG's weights are in torchvision's cache, so that nothing is downloaded."""
    return cached_file(_choice(name)).is_file()


FEATURES: dict[str, Loader] = {
    "lite": _load_lite,
    "vgg19": _load_vgg("vgg19", "relu3_4", "relu3_3"),
    "vgg16": _load_vgg("vgg16", "relu3_3", "relu3_2"),
}


def load_features(
    name: str = "lite",
    weights: Path | None = None,
    style_layers: Sequence[str] = (),
    content_layer: str | None = None,
) -> TapNet:
    """A frozen network, its taps chosen. Only `vgg16` and `vgg19` without `weights` download."""
    if name not in FEATURES:
        raise SettingsError(f"--features {name}: known are {', '.join(FEATURES)}")
    return FEATURES[name](weights, style_layers, content_layer).frozen()
