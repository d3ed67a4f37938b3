"""Which file a gate's candidate is: one by itself, or the pruned one of a run, whose record knows its accuracy."""

from __future__ import annotations

from pathlib import Path

from deploy_prune.analysis.artifacts import artifacts_of_run, describe_artifact, is_run
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.errors import ConfigError, InputError
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
        InputError: the file is missing, no runtime reads it, or it failed its verification.
        RecordError: a folder that is no run, or whose records are damaged or not there yet.
        ConfigError: the run has no such file, or several.
    """
    if not is_run(path):
        return describe_artifact(path), None
    choice = artifacts_of_run(path)
    exported = [each for each in choice.artifacts if Path(each.path).stem == PRUNED]
    chosen = [each for each in exported if format_ in (None, each.format)]
    if not chosen and (left := [each for each in choice.skipped if Path(each.path).stem == PRUNED]):
        reasons = "; ".join(f"{Path(each.path).name}: {each.reason}" for each in left)
        raise InputError(f"{path} has no such file that can be held against another ({reasons})", hint="export it anew")
    if len(chosen) != 1:
        formats = ", ".join(each.format for each in exported)
        raise ConfigError(f"{path} has pruned files in {formats}: which is meant?", hint="name the file itself")
    # As a file it is described like the baseline, so that both are compared in the same terms.
    return describe_artifact(Path(chosen[0].path)), read_record(path / SUMMARY, RunSummary).test.pruned
