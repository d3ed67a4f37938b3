"""The network as an app calls it: pixels in the camera's layout in, scores or probabilities out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from deploy_prune.errors import ConfigError
from deploy_prune.exporting.converter import clean_copy, make_example
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.graph.returned import make_forms_known
from deploy_prune.processes.silence import silence
from deploy_prune.train.outputs import list_tensors
from deploy_prune.values import AppForm, Layout, Network, Normalisation

PIXELS = 256
"""Values of a byte."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What every format allows as the name of an input or output."""
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""No separator: the files stay in the folder that was asked for."""


def keep_fitting_labels(network: Network, form: AppForm) -> AppForm:
    """The form, without its labels where the network's first output is not one score per label: the data have classes
    that the network says nothing of.

    Raises:
        ExportFailed: see `clean_copy`.
    """
    with torch.no_grad():
        outputs = list_tensors(clean_copy(network)(*make_example(network)))
    scored = bool(outputs) and tuple(outputs[0].shape) == (1, len(form.labels))
    return form if scored else replace(form, labels=())


def put_in_form(
    network: Network, form: AppForm, *, camera_layout: Layout, batch: int = 1
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A clean copy of the network that takes and gives what the form says, and inputs to trace it with.

    Inputs that are not baked stay channels first: only a baked file takes `camera_layout`. Converters can open the
    dataclasses that the network returns, also in a process that has not built it.

    Raises:
        ExportFailed: see `clean_copy`.
    """
    parts: list[nn.Module] = [clean_copy(network)]
    inputs = make_example(network, batch=batch)
    with silence(), torch.no_grad(), suppress(Exception):  # whatever fails here fails in the converter, which says so
        make_forms_known(parts[0](*make_example(network)))
    if form.bake:
        assert form.normalisation
        parts.insert(0, Pixels(form.normalisation, camera_layout))
        pixels = draw_pixels(network, batch=batch)
        pixels = pixels if form.input == "uint8" else pixels.float()
        inputs = (pixels.movedim(1, -1).contiguous() if camera_layout == "nhwc" else pixels,)
    if form.softmax:
        parts.append(nn.Softmax(dim=1))
    return (parts[0] if len(parts) == 1 else nn.Sequential(*parts).eval()), inputs


def draw_pixels(network: Network, *, batch: int, seed: int = 0) -> Tensor:
    """Random bytes, (batch, channels, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, PIXELS, (batch, *network.input_shape), generator=generator, dtype=torch.uint8)


class Pixels(nn.Module):
    """Pixels from 0 to 255 in the camera's layout -> what the network takes; one multiplication, one addition."""

    scale: Tensor
    shift: Tensor

    def __init__(self, normalisation: Normalisation, layout: Layout) -> None:
        super().__init__()
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (normalisation.mean, normalisation.std))
        shape = (1, -1, 1, 1) if layout == "nchw" else (-1,)
        self.layout = layout
        self.register_buffer("scale", (1 / ((PIXELS - 1) * std)).float().view(shape))
        self.register_buffer("shift", (-mean / std).float().view(shape))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, height, width, channels) or channels first -> (batch, channels, height, width)."""
        scaled = image.float() * self.scale + self.shift
        return scaled.permute(0, 3, 1, 2) if self.layout == "nhwc" else scaled


def check_form(network: Network, form: AppForm, outputs: Sequence[tuple[int, ...]]) -> None:
    """Refuse a form that the network cannot take; `outputs` are the shapes of what it gives, with the batch axis.

    Raises:
        ConfigError: says what does not go together.
    """
    scores = len(outputs) == 1 and len(outputs[0]) == 2
    image = len(network.input_shapes) == 1 and len(network.input_shape) == 3
    if form.input == "uint8" and not form.bake:
        raise ConfigError("bytes are not normalised numbers, which the network takes", hint="add --bake-preprocessing")
    if form.bake and not image:
        shapes = " and ".join("x".join(map(str, shape)) for shape in network.input_shapes)
        message = f"preprocessing goes into a file with one image as its input, the network takes {shapes}"
        raise ConfigError(message, hint="leave out --bake-preprocessing, and normalise in the app")
    if form.bake and form.normalisation is None:
        hint = "say --data NAME, or --mean and --std"
        raise ConfigError("the mean and std that the network was trained with are not known", hint=hint)
    if form.softmax and not (image and scores):
        message = f"softmax is for one row of class scores per image, the network gives outputs of {list(outputs)}"
        raise ConfigError(message, hint="leave out --softmax, and take it in the app where there are scores")
    if form.labels and scores and len(form.labels) != outputs[0][1]:
        message = f"{len(form.labels)} labels for a network of {outputs[0][1]} classes"
        raise ConfigError(message, hint=f"give {outputs[0][1]} labels, one per class in the order of the scores")
    if not FILE_NAME.fullmatch(form.name):
        raise ConfigError(f"'{form.name}' is no name of a file", hint="letters, digits, -, _ and dots, not a dot first")
    _check_normalisation(network, form.normalisation)
    _check_names("input", form.input_names, len(network.input_shapes))
    _check_names("output", form.output_names, len(outputs))
    if shared := set(give_names("input", form.input_names, 1)) & set(give_names("output", form.output_names, 1)):
        message = f"'{min(shared)}' is the name of both an input and an output"
        raise ConfigError(message, hint="give another --input-name or --output-name")


def _check_normalisation(network: Network, normalisation: Normalisation | None) -> None:
    if normalisation is None or len(network.input_shape) != 3:
        return
    channels = network.input_shape[0]
    for name, numbers in (("mean", normalisation.mean), ("std", normalisation.std)):
        if len(numbers) != channels:
            message = f"the {name} has {len(numbers)} numbers, images of the network have {channels} channels"
            raise ConfigError(message, hint=f"give {channels}, one per channel")
    if min(normalisation.std) <= 0:
        message = f"the std has a {min(normalisation.std):g} in it, which pixels cannot be divided by"
        raise ConfigError(message, hint="every std is above 0, of pixels from 0 to 1")


def _check_names(role: str, given: Sequence[str], count: int) -> None:
    if given and len(given) != count:
        message = f"{len(given)} {role} names ({', '.join(given)}) for {count} {role}s of the network"
        raise ConfigError(message, hint=f"give --{role}-name as many, in their order, with commas between")
    for name in given:
        if not NAME.fullmatch(name):
            raise ConfigError(f"'{name}' is no name of an {role}", hint="letters, digits and _, no digit first")
    if len(set(given)) != len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise ConfigError(f"two {role}s are called '{twice}'", hint=f"give every {role} a name of its own")
