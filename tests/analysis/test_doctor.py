"""The doctor reads requirements from the installed metadata, so a plugin's extra is found by the plugin's name."""

from __future__ import annotations

from importlib import metadata

import pytest

from deploy_prune import plugins
from deploy_prune.analysis import doctor
from deploy_prune.values import Conditions

REQUIREMENTS = [
    "numpy>=1.26",
    "tomli>=2; python_version < '3.11'",
    "torch>=2.6; extra == 'prune'",
    "onnx>=1.17; extra == 'onnx'",
    'onnxruntime>=1.20; (python_version < "4") and extra == "onnx"',
    "deploy-prune[onnx,prune]; extra == 'all'",
]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with onnx, and without torch and onnxruntime."""
    installed = {"deploy-prune": "0.1.0", "onnx": "1.17.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "requires", lambda name: REQUIREMENTS)
    monkeypatch.setattr(metadata, "version", version)


def test_what_is_missing_comes_with_one_command_for_all_of_it(bare: None) -> None:
    ability = next(each for each in doctor.diagnose().abilities if (each.kind, each.name) == ("exporters", "onnx"))
    assert ability == doctor.Ability(
        kind="exporters",
        name="onnx",
        available=False,
        versions={"onnx": "1.17.0"},
        missing=("onnxruntime", "torch"),
        install="pip install 'deploy-prune[onnx,prune]'",
    )


def test_every_plugin_has_a_row() -> None:
    rows = [(ability.kind, ability.name) for ability in doctor.diagnose().abilities]
    kinds = ("exporters", "runtimes", "models", "datasets", "methods")
    assert rows == [(kind, name) for kind in kinds for name in plugins.list_names(kind)]


def test_every_exporter_and_runtime_names_its_extra() -> None:
    extras = doctor._read_extras()
    unnamed = [name for kind in ("exporters", "runtimes") for name in plugins.list_names(kind) if name not in extras]
    assert not unnamed, "an exporter or runtime needs an extra of its name in pyproject.toml"


def test_an_installation_with_everything_can_do_everything() -> None:
    assert all(ability.available and not ability.install for ability in doctor.diagnose().abilities)


def conditions(load: float | None, frequency_mhz: float | None, governor: str | None) -> Conditions:
    return Conditions(load, frequency_mhz, governor, temperature_c=None, affinity=(0, 1))


@pytest.mark.parametrize(
    ("now", "cores", "advice"),
    [
        (conditions(0.1, 2500.0, "performance"), 4, []),
        (conditions(0.1, 2500.0, None), 4, []),
        (conditions(2.5, 2500.0, "performance"), 4, ["load average is 2.5 on 4 cores"]),
        (conditions(0.1, 2500.0, "powersave"), 4, ["CPU governor is 'powersave'"]),
        (conditions(0.1, 2500.0, "performance"), 1, ["one core"]),
        (conditions(None, None, None), 4, ["this machine does not tell its CPU frequency"]),
    ],
)
def test_timing_advice_names_what_disturbs(now: Conditions, cores: int, advice: list[str]) -> None:
    given = doctor.advise_on_timing(now, cores)
    assert len(given) == len(advice)
    assert all(line.startswith(beginning) for line, beginning in zip(given, advice, strict=True))


def test_the_machine_has_cores_and_a_name() -> None:
    machine = doctor.describe_machine()
    assert machine.cores >= 1
    assert machine.processor
    assert machine.memory_bytes is None or machine.memory_bytes > 1 << 20
