"""Which file a gate's candidate is: one by itself, or the pruned one of a run, whose record knows its accuracy."""

from __future__ import annotations

from pathlib import Path

from deploy_prune.analysis.artifacts import artifacts_of_run, describe_artifact, is_run
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.errors import ConfigError
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary
from deploy_prune.values import Artifact, Quality

PRUNED = "pruned"


def find_candidate(path: Path, format_: str | None = None) -> tuple[Artifact, Quality | None]:
    """Find the file, and what is known of it on test images.

    Args:
        path: a file, or a run folder.
        format_: which of a run's formats; None: the only one.

    Raises:
        InputError: the file is missing, or no runtime reads it.
        RecordError: a folder that is no run, or whose records are damaged or not there yet.
        ConfigError: the run has no such file, or several.
    """
    if not is_run(path):
        return describe_artifact(path), None
    exported = [each for each in artifacts_of_run(path).artifacts if Path(each.path).stem == PRUNED]
    chosen = [each for each in exported if format_ in (None, each.format)]
    if len(chosen) != 1:
        formats = ", ".join(each.format for each in exported)
        raise ConfigError(f"{path} has pruned files in {formats}: which is meant?", hint="name the file itself")
    # As a file it is described like the baseline, so that both are compared in the same terms.
    return describe_artifact(Path(chosen[0].path)), read_record(path / SUMMARY, RunSummary).test.pruned
