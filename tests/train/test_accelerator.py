"""Accelerators: which one is chosen, and that no tensor is made in the wrong place (a pretended GPU tells)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tinyrun
import torch
from gpu_road import DATA, PLAIN, ROAD, walk
from pretended import GPU, OnGpu, PretendedGpu, WrongPlace, outside
from studies import stack
from torch import Tensor

import deploy_prune
from deploy_prune.errors import ConfigError, Unavailable, UnknownName
from deploy_prune.pipeline import stages
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.deciders import build_workers
from deploy_prune.pipeline.plan_stage import decide_plan
from deploy_prune.processes.workers.local import Local
from deploy_prune.records import write_record
from deploy_prune.run_folder import RunFolder
from deploy_prune.train.accelerator import CPU, choose_accelerator, find_device, move_network
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Hooks
from deploy_prune.values import Network

THERE, MISSING = str, lambda: "no driver"


def test_auto_takes_the_first_gpu_that_can_be_used() -> None:
    assert choose_accelerator("auto", {"cuda": THERE, "mps": THERE, "cpu": THERE}) == torch.device("cuda")
    assert choose_accelerator("auto", {"cuda": MISSING, "mps": THERE, "cpu": THERE}) == torch.device("mps")
    assert choose_accelerator("auto", {"cuda": MISSING, "mps": MISSING, "cpu": THERE}) == CPU


def test_an_accelerator_that_is_not_there_is_refused_with_its_reason() -> None:
    probes = {"cuda": MISSING, "mps": THERE, "cpu": THERE}
    assert choose_accelerator("mps", probes) == torch.device("mps")
    with pytest.raises(Unavailable, match=r"accelerator 'cuda' cannot be used: no driver\n.*leave --accelerator out"):
        choose_accelerator("cuda", probes)
    with pytest.raises(UnknownName, match=r"unknown accelerator 'cudo'\n.*did you mean 'cuda'"):
        choose_accelerator("cudo", probes)


def test_a_gpu_has_one_worker_unless_a_number_is_given() -> None:
    gpu, cores = torch.device("cuda"), Local()
    assert build_workers(RunConfig(model="m"), gpu) == Local(processes=1)
    assert build_workers(RunConfig(model="m", workers="3"), gpu) == Local(processes=3)
    assert build_workers(RunConfig(model="m"), CPU) == cores
    with pytest.raises(ConfigError, match=r"'ray' compute on the CPU alone, the run is on cuda"):
        build_workers(RunConfig(model="m", workers="ray:2"), gpu)


def test_the_pretended_gpu_computes_what_the_cpu_does_and_mixes_with_nothing() -> None:
    numbers = torch.arange(6.0).reshape(2, 3)
    with PretendedGpu():
        there = numbers.to(GPU)
        assert isinstance(there, OnGpu)
        assert there.device == GPU
        assert torch.equal((there * 2 + 1).cpu(), numbers * 2 + 1)
        assert float(there.sum()) == 15
        assert torch.equal(there[:, torch.tensor([2, 0])].cpu(), numbers[:, [2, 0]])
        with pytest.raises(WrongPlace, match="aten::add"):
            there + numbers
        with pytest.raises(WrongPlace, match="is indexed by"):
            numbers[there[0].long()]
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ROAD)
def test_nothing_on_the_road_is_made_in_the_wrong_place(name: str) -> None:
    """The same numbers as on the CPU: a network stays on the GPU, whatever else comes back lies on the CPU."""
    with PretendedGpu():
        there = walk(name, GPU)
    here = walk(name, CPU)
    if isinstance(there, Network):
        assert find_device(there.module) == GPU
        there, here = move_network(there, CPU).module.state_dict(), here.module.state_dict()
    _hold_equal(there, here, exact=ROAD[name].repeatable)


def _hold_equal(there: Any, here: Any, *, exact: bool) -> None:
    if not isinstance(there, dict):
        assert there == here
        return
    assert there.keys() == here.keys()
    for name, value in there.items():
        assert isinstance(value, Tensor)
        assert not isinstance(value, OnGpu), f"{name} was left on the GPU"
        assert not exact or torch.allclose(value.float(), here[name].float(), atol=1e-5), name


def test_an_interrupted_training_goes_on_on_another_accelerator(tmp_path: Path) -> None:
    """Its state is saved from the CPU, so that a file of the GPU resumes here, to the same weights."""

    class Killed(Exception):
        pass

    def kill(epoch: int, module: torch.nn.Module) -> None:
        if epoch == 1:
            raise Killed

    recipe = type(PLAIN)(epochs=2, batch_size=48, precision="fp32", optimizer="adamw")
    state = tmp_path / "training.safetensors"
    with PretendedGpu(), pytest.raises(Killed):
        fit(move_network(stack(), GPU), DATA, recipe, hooks=Hooks(epoch=kill), checkpoint=state)
    resumed, straight = fit(stack(), DATA, recipe, checkpoint=state), fit(stack(), DATA, recipe)
    for ours, theirs in zip(resumed.module.parameters(), straight.module.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.heavy
def test_the_stages_of_a_run_work_on_the_accelerator_and_leave_cpu_files(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "recount", outside(stages.recount))
    config = tinyrun.config(sources)
    work = RunContext(config, RunFolder(tmp_path), Hooks())
    vars(work)["accelerator"] = GPU  # what the property would remember
    (sources / "test-may-be-read").touch()
    with PretendedGpu():
        dense = stages.train_dense(work)
        decided = decide_plan(work)
        cut = stages.shrink(work, decided)
        write_record(tmp_path / "cut.json", cut)
        trained = stages.train(work, 1, config.finetune)
        test = stages.test(work, 1)
        assert find_device(work.network("round-1").module) == GPU
    assert (dense.accelerator, trained.accelerator) == ("lazy", "lazy")
    assert cut.count.macs < dense.count.macs
    assert len(test.pruned.per_item) == len(test.dense.per_item)
    assert find_device(deploy_prune.load(tmp_path / "round-1").module) == CPU


MUTANTS = (
    ("train/targets.py", "batch.images.to(device), map", "batch.images, map", "fit"),
    ("train/targets.py", "tensor.to(device), batch", "tensor, batch", "fit"),
    ("train/loop.py", "teacher=move_network(hooks.teacher, device)", "teacher=hooks.teacher", "fit with a teacher"),
    ("train/masks.py", "mask.to(weight.device)", "mask.cpu()", "fit with masks"),
    ("train/evaluation.py", "pixels.to(find_device(module))", "pixels", "evaluate"),
    ("train/evaluation.py", "map_tensors(Tensor.cpu, convert_to_fp32(outputs))", "convert_to_fp32(outputs)",
     "evaluate"),
    ("train/recalibration.py", "images.to(device)", "images", "recalibrate norms"),
    ("train/refit/flat_twins.py", "channels.to(self._reference.device)", "channels", "refit"),
    ("graph/flat_network.py", "images.to(self.device).contiguous", "images.contiguous", "refit"),
    ("train/fitness.py", "move_batch(batch, device)", "batch", "cut, tune and judge a candidate"),
    ("graph/filter_norms.py", ".cpu().numpy()", ".numpy()", "sensitivity"),
    ("graph/flat_network.py", "value.detach().to(weight.device)", "value.detach()", "operators"),
    ("scoring/methods/slimming.py", "for name in names]).cpu()", "for name in names])", "slimming"),
    ("scoring/methods/slimming.py", ".cpu().numpy()", ".numpy()", "slimming"),
    ("scoring/discrimination/heads.py", "batch.target.to(heads[0].mean.device)", "batch.target", "dcp"),
    ("scoring/discrimination/heads.py", ".to(device) for end", " for end", "dcp"),
    ("scoring/discrimination/heads.py", "images.to(flat.device)", "images", "dcp with heads trained together"),
    ("scoring/discrimination/cached_batches.py", "batch.target.to(device)", "batch.target", "dcp"),
    ("scoring/discrimination/greedy.py", "mask(chosen).to(self.start.device)", "mask(chosen)", "dcp"),
    ("scoring/methods/dkp.py", "move_tensors(dense.module.state_dict())", "dense.module.state_dict()", "dkp"),
)  # fmt: skip
"""File, a move in it, the same without it, and the part of the road that must then break."""


REFUSED = ("WrongPlace", ".numpy() is not supported", "OnGpu", "must be on the same device")
"""What is said of a tensor in the wrong place, by the pretended GPU or by torch itself."""


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant[0]}: {mutant[1]}")
def test_the_road_breaks_when_one_move_is_taken_out(mutant: tuple[str, str, str, str], tmp_path: Path) -> None:
    """In a copy of the package: a move that no part of the road needs would be a move that nobody tests."""
    file, move, without, name = mutant
    shutil.copytree(Path(deploy_prune.__file__).parent, tmp_path / "deploy_prune")
    text = (tmp_path / "deploy_prune" / file).read_text()
    assert text.count(move) == 1, f"{file} has no single '{move}' any more"
    (tmp_path / "deploy_prune" / file).write_text(text.replace(move, without))
    support = Path(__file__).parent.parent / "support"
    walked = subprocess.run(
        [sys.executable, str(support / "gpu_road.py"), name], capture_output=True, text=True, timeout=300, check=False,
        env={"PYTHONPATH": f"{tmp_path}:{support}", "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert walked.returncode == 1, walked.stderr
    assert any(said in walked.stderr for said in REFUSED), walked.stderr
