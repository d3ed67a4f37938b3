"""Packages as Apple's own tool reads them, imported as the exporter does it: quickly, and only by tests that ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy_prune.exporting.exporters.coreml import import_coremltools


def load_spec(place: Path) -> Any:
    """The specification of a package, or of the file in it."""
    return import_coremltools().utils.load_spec(str(place))


def load_model(package: Path) -> Any:
    """coremltools' model of a package; it is not run, which takes a Mac."""
    return import_coremltools().models.MLModel(str(package), skip_model_load=True)
