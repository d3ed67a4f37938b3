"""Training improves a copy, goes on after a kill to the same weights, and lets the caller replace any part."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from deploy_prune.errors import ConfigError, DataError, Diverged, RecordError
from deploy_prune.sources.images import ArrayImages
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.precision import Arithmetic, choose_fastest
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.values import Data, Network


def stripes(images=96):
    """Class 0: horizontal stripes, class 1: vertical ones, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % 2
    pattern = np.zeros((2, 8, 8), np.int64)
    pattern[0, ::2] = pattern[1, :, ::2] = 150
    grey = pattern[labels] + rng.integers(0, 100, (images, 8, 8))
    split = ArrayImages(np.repeat(grey[..., None], 3, axis=3).astype(np.uint8), labels)
    return Data("stripes", ("h", "v"), (0.5,) * 3, (0.25,) * 3, (3, 8, 8), split, split, split, True, 1)


def tiny(classes=2):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8, classes),
    )
    return Network("tiny", module.eval(), ((3, 8, 8),), classes)


RECIPE = Recipe(epochs=3, batch_size=32, precision="fp32")


def same(a: Network, b: Network) -> bool:
    other = b.module.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.module.state_dict().items())


def test_training_learns_and_leaves_what_it_was_given_alone():
    network, untouched = tiny(), tiny()
    trained = fit(network, stripes(), dataclasses.replace(RECIPE, epochs=8))
    assert evaluate(trained, stripes().val, stripes()).value > 0.95
    assert same(network, untouched)
    assert not any(module.training for module in [*trained.module.modules(), *network.module.modules()])


@pytest.mark.parametrize("norms", ["batch", "frozen"])
def test_statistics_of_frozen_norms_stay_and_their_scales_learn(norms):
    before, after = tiny(), fit(tiny(), stripes(), dataclasses.replace(RECIPE, norms=norms))
    old, new = before.module.state_dict(), after.module.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert {"0.weight", "1.weight", "1.bias"} <= changed
    assert ({"1.running_mean", "1.running_var"} <= changed) == (norms == "batch")


def test_one_seed_is_one_result_and_another_seed_another():
    before = torch.random.get_rng_state()
    first, second = (fit(tiny(), stripes(), RECIPE) for _ in range(2))
    assert same(first, second)
    assert not same(first, fit(tiny(), stripes(), dataclasses.replace(RECIPE, seed=1)))
    tiny()
    torch.random.set_rng_state(before)
    network = tiny()
    state = torch.random.get_rng_state()
    fit(network, stripes(), RECIPE)
    assert torch.equal(state, torch.random.get_rng_state())


class _Interrupt(Exception):
    pass


def stop_after(steps):
    def progress(task, done, total, note=""):
        if done == steps:
            raise _Interrupt

    return progress


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stopped_at", [1, 3, 7])
def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, optimizer, precision, stopped_at):
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, precision=precision)
    straight = fit(tiny(), stripes(), recipe)
    with pytest.raises(_Interrupt):
        fit(tiny(), stripes(), recipe, checkpoint=tmp_path / "c.safetensors", progress=stop_after(stopped_at))
    resumed = fit(tiny(), stripes(), recipe, checkpoint=tmp_path / "c.safetensors")
    assert same(straight, resumed)


@pytest.mark.heavy
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    script = f"""
        import os, pathlib, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_loop
        def die(task, done, total, note=""):
            if done == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        test_loop.fit(test_loop.tiny(), test_loop.stripes(), test_loop.RECIPE,
                       checkpoint=pathlib.Path({str(path)!r}), progress=die)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert same(fit(tiny(), stripes(), RECIPE), fit(tiny(), stripes(), RECIPE, checkpoint=path))


def test_a_finished_training_is_not_repeated(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    first = fit(tiny(), stripes(), RECIPE, checkpoint=path)
    assert same(first, fit(tiny(), stripes(), RECIPE, checkpoint=path, progress=stop_after(1)))


@pytest.mark.parametrize("change", [{"lr": 0.01}, {"norms": "frozen"}])
def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, change: dict[str, object]):
    path = tmp_path / "c.safetensors"
    fit(tiny(), stripes(), RECIPE, checkpoint=path)
    with pytest.raises(RecordError, match="another training"):
        fit(tiny(), stripes(), dataclasses.replace(RECIPE, **change), checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordError, match="damaged"):
        fit(tiny(), stripes(), RECIPE, checkpoint=path)


def rewritten(path: Path, **changes: str | None) -> None:
    """The same state with another header, as a version of before or a damage would have it."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {**file.metadata(), **changes}
    save_file(tensors, path, metadata={key: value for key, value in header.items() if value is not None})


def test_a_flipped_bit_of_a_state_is_seen(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(_Interrupt):
        fit(tiny(), stripes(), RECIPE, checkpoint=path, progress=stop_after(5))
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match="are not what was saved"):
        fit(tiny(), stripes(), RECIPE, checkpoint=path)


def test_a_state_of_before_has_no_digest_and_is_read(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(_Interrupt):
        fit(tiny(), stripes(), RECIPE, checkpoint=path, progress=stop_after(5))
    rewritten(path, sha256=None)
    assert same(fit(tiny(), stripes(), RECIPE), fit(tiny(), stripes(), RECIPE, checkpoint=path))


@pytest.mark.parametrize(
    "changes", [{"sha256": None, "sha257": "0"}, {"sha256": None, "standing": '{"epochs": 1e300}'}]
)
def test_a_damaged_header_of_a_state_is_seen(tmp_path: Path, changes: dict[str, str | None]):
    path = tmp_path / "c.safetensors"
    fit(tiny(), stripes(), dataclasses.replace(RECIPE, epochs=1), checkpoint=path)
    rewritten(path, **changes)
    with pytest.raises(RecordError, match="damaged"):
        fit(tiny(), stripes(), dataclasses.replace(RECIPE, epochs=1), checkpoint=path)


def test_weights_that_the_last_step_lost_are_not_saved(tmp_path: Path):
    """The loss is finite to the end, and so is its last value; the step after it is not."""

    def last(logits, labels):
        nonlocal steps_done
        steps_done += 1
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return loss if steps_done < 9 else Explode.apply(loss)

    steps_done = 0
    path = tmp_path / "c.safetensors"
    with pytest.raises(Diverged, match=r"'0\.weight' became NaN or infinite in epoch 3 of 3"):
        fit(tiny(), stripes(), RECIPE, hooks=Hooks(loss=last), checkpoint=path)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["standing"])["epochs_done"] == 2


class Explode(torch.autograd.Function):
    """Passes a loss through, and gives it a gradient that is infinite."""

    @staticmethod
    def forward(context, loss):
        return loss.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * float("inf")


def test_a_fit_of_the_callers_that_gives_nan_is_refused():
    def broken(network, data, recipe):
        network.module[6].bias.data[0] = float("nan")
        return network.module

    with pytest.raises(Diverged, match=r"'6\.bias' became NaN or infinite in your fit"):
        fit(tiny(), stripes(), RECIPE, hooks=Hooks(fit=broken))


def test_a_loss_that_is_no_number_stops_with_the_place_and_a_remedy():
    hooks = Hooks(loss=lambda logits, labels: logits.sum() * float("nan"))
    with pytest.raises(Diverged, match="became nan in epoch 1 of 3, step 1") as caught:
        fit(tiny(), stripes(), RECIPE, hooks=hooks)
    assert "learning rate" in caught.value.hint


def test_distilling_moves_towards_the_teacher():
    teacher = fit(tiny(), stripes(), dataclasses.replace(RECIPE, epochs=8))
    shuffled = stripes()
    lies = ArrayImages(shuffled.train.read(np.arange(96)), 1 - shuffled.train.labels)
    lying = dataclasses.replace(shuffled, train=lies)  # labels say the opposite; the whole loss is the teacher's
    recipe = dataclasses.replace(RECIPE, epochs=8, distill=1.0)
    student = fit(tiny(), lying, recipe, hooks=Hooks(teacher=teacher))
    assert evaluate(student, shuffled.val, shuffled).value > 0.9


def test_distilling_needs_a_teacher():
    with pytest.raises(ConfigError, match="no teacher"):
        fit(tiny(), stripes(), dataclasses.replace(RECIPE, distill=0.5))


def test_the_callers_loss_and_step_are_used():
    calls = []

    def loss(logits, labels):
        calls.append("loss")
        return nn.functional.cross_entropy(logits, labels)

    def step(module, batch, loss):
        calls.append("step")
        return loss(module(batch.images), batch.target)

    fit(tiny(), stripes(), dataclasses.replace(RECIPE, epochs=1), hooks=Hooks(loss=loss, step=step))
    assert calls == ["step", "loss"] * 3


def test_the_callers_fit_replaces_ours_and_works_on_a_copy():
    def own_fit(network, data, recipe):
        with torch.no_grad():
            network.module[0].weight.zero_()
        return network.module

    network = tiny()
    trained = fit(network, stripes(), RECIPE, hooks=Hooks(fit=own_fit))
    assert not trained.module[0].weight.any()
    assert network.module[0].weight.any()
    with pytest.raises(ConfigError, match="returned a NoneType"):
        fit(network, stripes(), RECIPE, hooks=Hooks(fit=lambda network, data, recipe: None))


def test_removed_kernels_stay_at_zero_whoever_trains():
    def own_fit(network, data, recipe):
        with torch.no_grad():
            network.module[0].weight.fill_(1.0)
        return network.module

    mask = torch.zeros(8, 3, 3, 3, dtype=torch.bool)
    mask[::2] = True
    network = dataclasses.replace(tiny(), masks={"0.weight": mask})
    for hooks in (Hooks(), Hooks(fit=own_fit)):
        trained = fit(network, stripes(), RECIPE, hooks=hooks)
        assert trained.module[0].weight[~mask].abs().max() == 0
        assert trained.module[0].weight[mask].abs().min() > 0
        assert trained.masks is network.masks
    assert network.module[0].weight[~mask].abs().max() > 0


def test_a_network_of_other_classes_is_refused_before_training():
    with pytest.raises(DataError, match="has 3 classes, stripes has 2"):
        fit(tiny(classes=3), stripes(), RECIPE)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"lr": 0.0}, {"optimizer": "adam"}, {"precision": "fp16"}, {"images": 1}, {"distill": 2.0}]
)
def test_a_recipe_that_makes_no_sense_names_its_field(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        dataclasses.replace(RECIPE, **wrong)


def test_the_learning_rate_is_half_a_cosine(monkeypatch):
    rates = []
    original = torch.optim.SGD.step

    def step(self, closure=None):
        rates.append(self.param_groups[0]["lr"])
        return original(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    fit(tiny(), stripes(), Recipe(epochs=2, batch_size=48, lr=0.2, precision="fp32"))
    # Four steps: 0.1 (1 + cos(pi k / 4)).
    assert rates == pytest.approx([0.2, 0.1 + 0.1 * 0.5**0.5, 0.1, 0.1 - 0.1 * 0.5**0.5])


def test_depthwise_convolutions_stay_in_fp32_under_bf16():
    """A module's and a plain call's; all that comes out is bf16, and other convolutions are untouched."""
    generator = torch.Generator().manual_seed(0)
    images, weight = (torch.randn(*shape, generator=generator) for shape in ((2, 6, 8, 8), (6, 1, 3, 3)))
    depthwise = torch.nn.Conv2d(6, 6, 3, groups=6, bias=False)
    depthwise.weight.data.copy_(weight)
    plain = torch.nn.functional.conv2d(images, weight, groups=6)
    with Arithmetic(bf16=True, channels_last=False).autocast(torch.device("cpu")):
        found = [depthwise(images), torch.nn.functional.conv2d(images, weight=weight, groups=6)]
        whole = torch.nn.functional.conv2d(images, weight.repeat(1, 6, 1, 1))
    assert all(torch.equal(each, plain.bfloat16()) for each in found)
    assert whole.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(whole, torch.nn.functional.conv2d(images, weight.repeat(1, 6, 1, 1)))
        assert not torch.equal(depthwise(images), plain.bfloat16())


def test_the_fastest_arithmetic_is_taken():
    # Per choice: warm-up and three steps, each (start, end). The second choice is the quickest.
    lengths = [9, 4, 4, 4, 9, 2, 3, 3, 100, 4, 3, 3, 3]
    ticks = []
    for length in lengths:
        start = ticks[-1] if ticks else 0
        ticks += [start, start + length]
    clock = iter(ticks).__next__
    images = torch.zeros(4, 3, 8, 8)
    assert choose_fastest(tiny().module, images, "auto", clock=clock) == Arithmetic(bf16=False, channels_last=True)
