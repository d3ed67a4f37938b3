"""Exit codes are a promise to CI scripts: this table is the promise."""

from __future__ import annotations

import pickle

import pytest

from deploy_prune import errors
from deploy_prune.errors import DeployPruneError, MissingDependency, UnknownName, WorkerDied

EXIT_CODES = {
    "TargetMissed": 1,
    "InputError": 2,
    "ConfigError": 2,
    "UnknownName": 2,
    "WeightsError": 2,
    "DataError": 2,
    "BudgetError": 2,
    "PlanError": 2,
    "TraceError": 2,
    "UnitError": 2,
    "UntrustedCode": 2,
    "RecordError": 2,
    "NotProfiled": 2,
    "Unavailable": 3,
    "MissingDependency": 3,
    "MissingLibrary": 3,
    "NotVerifiable": 3,
    "WorkerDied": 3,
    "ConnectionLost": 3,
    "ExportFailed": 4,
    "ParityFailed": 4,
    "Inconclusive": 5,
    "NoSpeedUp": 6,
    "StorageError": 7,
    "Diverged": 8,
    "OurFault": 70,
}


def error_classes() -> dict[str, type[DeployPruneError]]:
    found = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    return {
        name: value
        for name, value in found.items()
        if issubclass(value, DeployPruneError) and value is not DeployPruneError
    }


def test_every_error_class_ends_with_its_own_exit_code() -> None:
    assert {name: cls.exit_code for name, cls in error_classes().items()} == EXIT_CODES


@pytest.mark.parametrize("name", EXIT_CODES)
def test_the_tree_in_the_docstring_shows_every_class(name: str) -> None:
    """A class stands below the one it is a kind of, which alone bears the code where both have the same."""
    lines = (errors.__doc__ or "").splitlines()
    place = next(index for index, line in enumerate(lines) if f"─ {name} " in line)
    indent = lines[place].index(name)
    if indent > min(line.index("─ ") + 2 for line in lines if "─ " in line):
        place = next(index for index in reversed(range(place)) if lines[index].find("─ ") + 2 < indent)
    parent = lines[place].split("─ ")[1].split()
    assert parent[1] == str(EXIT_CODES[name])
    assert issubclass(error_classes()[name], error_classes()[parent[0]])


@pytest.mark.parametrize("error", [UnknownName("model", "resnet21", ["resnet20"]), WorkerDied("it died", final=True)])
def test_an_error_survives_the_way_to_another_process(error: DeployPruneError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))


def test_a_message_ends_with_its_hint() -> None:
    error = errors.BudgetError("12 ms is below the smallest network (14.1 ms)", hint="raise the limit")
    assert str(error) == "12 ms is below the smallest network (14.1 ms)\n  raise the limit"
    assert str(errors.BudgetError("too small")) == "too small"


def test_an_unknown_name_offers_the_closest_known_one() -> None:
    error = UnknownName("target", "tflit", ["onnx", "tflite"])
    assert error.message == "unknown target 'tflit'"
    assert error.hint == "did you mean 'tflite'? known: onnx, tflite"


def test_a_name_like_no_other_is_answered_with_the_list_alone() -> None:
    assert UnknownName("target", "zzz", ["onnx", "tflite"]).hint == "known: onnx, tflite"


def test_of_very_many_names_only_those_like_it_are_shown() -> None:
    hint = UnknownName("model", "resnet5", ["resnet50", *(f"{index:04}" for index in range(100))]).hint
    assert hint == "did you mean 'resnet50'? known: resnet50, ..."


def test_a_missing_package_comes_with_the_command_that_installs_it() -> None:
    assert MissingDependency("onnx", "onnx").hint == "pip install 'deploy-prune[onnx]'"
