"""The table of precisions: what each name means, and what a file of somebody else is called."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import deploy_prune
from deploy_prune.errors import ConfigError
from deploy_prune.values import FP16, FP32, PRECISIONS, look_up_precision, name_precision

PACKAGE = Path(deploy_prune.__file__).parent
OF_TRAINING = {"train/recipe.py", "train/precision.py", "pipeline/run.py"}
"""In what numbers a network is trained is another question than in which its files are stored."""
OF_PROCESSORS = {"timing/cores.py"}
"""What instructions a core has is named so, too."""
APPLES_OWN = "formats/mil/"
"""MIL calls the types of single tensors by the same words."""


@pytest.mark.parametrize("name", PRECISIONS)
def test_the_bytes_of_a_weight_are_those_of_its_type(name: str) -> None:
    assert np.dtype(PRECISIONS[name].dtype).itemsize == PRECISIONS[name].weight_bytes


def test_a_file_is_called_after_the_type_of_most_of_its_weights() -> None:
    assert name_precision({"int64": 24, "float32": 4000}) == FP32
    assert name_precision({"float16": 2000, "float32": 40}) == FP16
    assert name_precision({"int8": 1000, "float32": 40}) == "int8"
    assert name_precision({}) == "unknown"


def test_what_is_not_in_the_table_is_refused_with_what_is() -> None:
    with pytest.raises(ConfigError, match=r"'int3' is not known here(.|\n)*fp32, fp16"):
        look_up_precision("int3")


def test_names_of_precisions_stand_in_the_table_alone() -> None:
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place in OF_TRAINING | OF_PROCESSORS | {"values/precisions.py"} or place.startswith(APPLES_OWN):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant):
                assert node.value not in set(PRECISIONS), f"{path}:{node.lineno}"
