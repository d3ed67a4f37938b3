"""What a finished run leaves for its readers: the summary, the page and the report."""

from __future__ import annotations

import logging
from pathlib import Path

from deploy_prune.analysis import report
from deploy_prune.analysis.page.writing import write_page
from deploy_prune.errors import MissingDependency
from deploy_prune.records import read_record, write_atomic, write_record
from deploy_prune.results import RunSummary

logger = logging.getLogger(__name__)


def publish(run: Path, summary: RunSummary) -> None:
    """The summary and the report, if this is news: a finished run that is asked for again stays as it is."""
    if (run / report.REPORT).exists() and read_record(run / report.SUMMARY, RunSummary) == summary:
        return
    write_record(run / report.SUMMARY, summary)
    try:
        write_page(run)
    except MissingDependency as error:
        logger.warning("the page is not written: %s; %s", error.message, error.hint)
    write_atomic(run / report.REPORT, lambda path: path.write_text(report.report(run)))
