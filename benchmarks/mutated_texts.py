"""Configurations, plans, records and latency tables, to be damaged by `benchmarks.mutations`."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.mutated import Kind, mutate_bytes
from deploy_prune import plugins
from deploy_prune.analysis.report import report
from deploy_prune.budget.latency.sampling import plans
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.latency.table import (
    GroupWidth,
    NetworkFile,
    Profile,
    Sample,
    fingerprint_network,
    read_features,
)
from deploy_prune.budget.latency.table_file import read_table, write_table
from deploy_prune.formats.templates import Operator
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.pipeline.deciders import build_deciders, build_workers
from deploy_prune.pipeline.preflight import adopt_run_folder
from deploy_prune.pipeline.priced import build_cost
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record, write_record
from deploy_prune.results import (
    BenchResult,
    CutResult,
    DenseResult,
    PlanResult,
    ShipResult,
    TestResult,
    TrainResult,
)
from deploy_prune.sources import checkpoint
from deploy_prune.sources.addresses import split_address
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.sources.models import MODELS
from deploy_prune.sources.unit_numbers import in_own_numbers
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import AppForm, ChannelGraph, Network, Plan, SplitRecord, Target

EXAMPLE = Path(__file__).parents[1] / "examples" / "run.toml"
VALUES = (
    "nan", "-inf", "1e999", "-1", "0", "9223372036854775807", "99999999999999999999999999", '""', "[]", "{}", "true",
    "null", "1979-05-27", '"\\u0000"', '"\\u001b[2J"', "[[[[[[[[1]]]]]]]]", "[" * 3000, "{a=" * 3000, '"' + "x" * 9000,
    "a" + ".a" * 3000, "0x10", "[3, 1000000, 1000000]", '"../../../x.py:f"', "1.5", '"0.5x"',
)  # fmt: skip
"""What stands in a value's place: some of JSON, some of TOML, some of neither."""
TOKEN = re.compile(r'"[^"\n]*"|-?\d[\d.eE+-]*|true|false|null|[\w.-]+|[][{}=,:\n]')


def mutate_text(content: bytes, generator: random.Random) -> bytes:
    """Damage to bytes, or to some of the tokens: replaced by wild ones, doubled, lost, exchanged."""
    if generator.random() < 0.3:
        return mutate_bytes(content, generator)
    text = content.decode()
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        tokens = list(TOKEN.finditer(text))
        if not tokens:
            break
        one, other = generator.choice(tokens), generator.choice(tokens)
        new = generator.choice((generator.choice(VALUES), generator.choice(VALUES), other[0], one[0] * 2, ""))
        text = text[: one.start()] + new + text[one.end() :]
    return text.encode()


@cache
def _network() -> tuple[Network, ChannelGraph]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 3)).eval()
    network = Network("benchmarks:network", module, ((3, 8, 8),), 3)
    return network, trace(network)


# --- configurations --------------------------------------------------------------------------------------------


def _make_configurations(_: Path) -> list[bytes]:
    for kind in (MODELS, DATASETS):  # loading them is no part of what an input takes
        for name in plugins.list_names(kind):
            plugins.load(kind, name)
    shown = EXAMPLE.read_text()
    whole = re.sub(r"^# (\w+ = )", r"\1", shown, flags=re.MULTILINE)
    short = 'model = "torchvision:resnet18"\ndata = "digits"\nmethod = "legr"\nmethod_options = {candidates = 40}\n'
    return [shown.encode(), whole.encode(), short.encode()]


def _read_configuration(folder: Path, content: bytes) -> None:
    """All that is looked at before data and network are opened."""
    (folder / "run.toml").write_bytes(content)
    config = adopt_run_folder(load_config(folder / "run.toml"))
    build_cost(config)
    build_deciders(config)
    build_workers(config)
    plugins.build(DATASETS, split_address(config.data)[0], config.data_options)
    plugins.build(MODELS, split_address(config.model)[0], config.model_options)


# --- plans -----------------------------------------------------------------------------------------------------


def _make_plans(folder: Path) -> list[bytes]:
    _, graph = _network()
    keep = {group.name: tuple(range(group.width // 2)) for group in graph.groups if not group.locked}
    write_record(folder / "plan.json", Plan("benchmarks:network", keep))
    return [(folder / "plan.json").read_bytes()]


def _read_plan(folder: Path, content: bytes) -> None:
    (folder / "plan.json").write_bytes(content)
    network, graph = _network()
    cut(network, graph, in_own_numbers(network, read_record(folder / "plan.json", Plan).keep))


# --- records ---------------------------------------------------------------------------------------------------


RECORDS: dict[str, Any] = {
    "dense.json": DenseResult, "planning.json": PlanResult, "cut.json": CutResult, "trained-1.json": TrainResult,
    "test-1.json": TestResult, "shipped-1.json": ShipResult, "timed-1.json": BenchResult, "plan.json": Plan,
    "form.json": AppForm, "splits.json": dict[str, SplitRecord],
}  # fmt: skip
"""Records that `report` and `checkpoint.description` do not read."""


def _make_records(folder: Path) -> list[bytes]:
    """Every record of a run, behind the name of its file."""
    config = RunConfig(
        model="mobilenet_v1", model_options={"width": 0.25}, data="digits", budget="0.5x", finetune=None, targets=(),
        threads=(), recalibrate_images=0, pretrain=Recipe(epochs=1, images=64),
    )  # fmt: skip
    prune(config, folder / "run")
    names = sorted(path.relative_to(folder / "run") for path in (folder / "run").rglob("*.json"))
    return [f"{name}\n".encode() + (folder / "run" / name).read_bytes() for name in names]


def _mutate_record(content: bytes, generator: random.Random) -> bytes:
    name, _, record = content.partition(b"\n")
    return name + b"\n" + mutate_text(record, generator)


def _read_record(folder: Path, content: bytes) -> None:
    """Each record as its stage reads it, and everything that opens a run and builds no network."""
    name, _, record = content.partition(b"\n")
    path = folder / "run" / name.decode()
    whole = path.read_bytes()
    path.write_bytes(record)
    try:
        report(folder / "run")
        adopt_run_folder(RunConfig(model=str(folder / "run")))
        checkpoint.description(folder / "run")
        if path.name in RECORDS:
            read_record(path, RECORDS[path.name])
    finally:
        path.write_bytes(whole)


# --- latency tables --------------------------------------------------------------------------------------------


def _sketch(graph: ChannelGraph) -> NetworkFile:
    """A drawing of one pointwise operator per group, in a row."""
    groups = tuple(GroupWidth(each.name, each.width, each.channels_per_unit) for each in graph.free)
    zeros = (0,) * len(groups)
    lines: list[tuple[int, ...]] = [(16, *zeros), (3, *zeros)]
    operators = []
    for index in range(len(groups)):
        slopes = tuple(int(index == place) for place in range(len(groups)))
        lines.append((0, *slopes))
        into, out = len(lines) - 2, len(lines) - 1
        sides = ((0, into),), ((0, out),)
        operators.append(Operator("LAYER", "pointwise", *sides, (out, into), into, out, label=groups[index].name))
    return NetworkFile("tflite", groups, tuple(lines), tuple(operators))


def _make_tables(folder: Path) -> list[bytes]:
    _, graph = _network()
    drawing = _sketch(graph)
    widths: Any = plans(drawing.groups, 48, seed=0)
    columns = read_features(drawing)(widths)
    ratios = 0.1 + 0.9 * columns.sum(1) / columns.sum(1).max()
    ratios = ratios * (1 + 0.005 * np.random.default_rng(1).standard_normal(len(widths)))
    samples = tuple(
        Sample(tuple(map(int, each)), float(ratio), (0.99 * float(ratio), 1.01 * float(ratio)))
        for each, ratio in zip(widths, ratios, strict=True)
    )
    target = Target("phone", "litert", "2.3.0", 1, "fp32")
    profile = Profile(fingerprint_network(graph), "net", target, 8.0, "ms", drawing, samples, complete=True)
    write_table(profile, folder / "table.json")
    return [(folder / "table.json").read_bytes()]


def _read_table(folder: Path, content: bytes) -> None:
    (folder / "table.json").write_bytes(content)
    (folder / "store.sqlite").unlink(missing_ok=True)
    with open_store(folder / "store.sqlite") as store:
        read_table(folder / "table.json", store)
        store.profiles()


def _make_stores(folder: Path) -> Sequence[bytes]:
    _read_table(folder, _make_tables(folder)[0])
    return [(folder / "store.sqlite").read_bytes()]


def _read_store(folder: Path, content: bytes) -> None:
    (folder / "store.sqlite").write_bytes(content)
    with open_store(folder / "store.sqlite", make=False) as store:
        for profile in store.profiles():
            store.whole(profile)


KINDS = {
    "run.toml": Kind(_make_configurations, _read_configuration, mutate_text),
    "plan": Kind(_make_plans, _read_plan, mutate_text),
    "record": Kind(_make_records, _read_record, _mutate_record),
    "latency table": Kind(_make_tables, _read_table, mutate_text),
    "latency store": Kind(_make_stores, _read_store),
}
"""What is damaged here, by name."""
