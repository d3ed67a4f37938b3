"""The export stage: one network in, one verified file per target format out; a format that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deploy_prune import plugins
from deploy_prune.errors import ExportFailed
from deploy_prune.exporting.exporters import EXPORTERS, PLAIN, check_precision
from deploy_prune.exporting.on_device import check_there
from deploy_prune.exporting.one_format import FormatJob, Written, check, write
from deploy_prune.exporting.parity.reference import Images, Questions, Reference, answer, make_questions
from deploy_prune.processes.workshop import Outcome, Unsendable, Workshop, open_workshop, run_each
from deploy_prune.records import UNFINISHED, remove_unfinished
from deploy_prune.second_try import try_twice
from deploy_prune.timing import conditions
from deploy_prune.timing.devices import Device
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import FP32, AppForm, Network, Progress, Shipment, quiet

Targets = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Formats, or formats with how each is written, by its `precision`, its `calibration` (batches of typical inputs, for a
precision of whole numbers) and the options of its exporter:
`{"onnx": {"dynamic_batch": True}, "coreml": {"precision": "fp16"}}`."""
NEEDED = ("cloudpickle", "torch", "torch._dynamo", "torchvision", "deploy_prune.exporting.one_format")
"""What every converter process imports; seconds, if each did it by itself."""
OpenShop = Callable[[], AbstractContextManager[Workshop]]
"""Opens what converters and runtimes are run in, or lends one that is open."""


def open_export_workshop() -> AbstractContextManager[Workshop]:
    """Open a workshop for one export."""
    return open_workshop(NEEDED)


@contextmanager
def keep_export_workshop() -> Iterator[OpenShop]:
    """What lends one workshop to several exports, so that libraries are loaded once.

    It is opened with the first of them, opened anew where it has died, and ends with the block.
    """
    with ExitStack() as stack:
        shops: list[Workshop] = []

        @contextmanager
        def lend() -> Iterator[Workshop]:
            if not shops or shops[-1].process.poll() is not None:
                shops.append(stack.enter_context(open_export_workshop()))
            yield shops[-1]

        yield lend


def export(
    network: Network,
    targets: Targets,
    folder: Path,
    *,
    images: Images = None,
    form: AppForm = PLAIN,
    progress: Progress = quiet,
) -> tuple[Shipment, ...]:
    """Write `folder/NAME.SUFFIX` per target, then run each file on its runtime against the network.

    Every format is worked on in a process of its own, as many at once as there are cores: a converter or runtime that
    crashes costs that format alone.

    Args:
        network: it is not changed.
        targets: names of exporters, if need be with options.
        folder: made if missing; a file is moved into place only when it is complete.
        images: to verify on; 200 or more say something about top-1. Bytes (images, height, width, channels), or
            normalised floats (images, channels, height, width). None: random inputs alone.
        form: what the app passes in and gets back, and the name of the files.
        progress: told whenever a format is begun or done.

    Returns:
        One row per target in their order, "verified", "exported" or "failed" with a reason.

    Raises:
        UnknownName: no such target or option; nothing has been written.
        ConfigError: the network cannot take that form, or a format cannot be written in the precision asked for.
        StorageError: the file system refuses.
        DataError: the images do not have the network's input shape.
        WorkerDied: a converter or runtime was killed twice: that says nothing about its format.
    """
    return export_asked(lambda: make_questions(network, images, form), targets, folder, progress=progress)


def export_asked(
    ask: Callable[[], Questions],
    targets: Targets,
    folder: Path,
    *,
    device: Device | None = None,
    open_shop: OpenShop = open_export_workshop,
    progress: Progress = quiet,
) -> tuple[Shipment, ...]:
    """Do what `export` does for a network that is still to be opened.

    Args:
        ask: opens it; the converters' libraries are loaded meanwhile. Without targets nothing is opened or loaded.
        targets: see `export`.
        folder: see `export`.
        device: where every file is run once more, on a few of the inputs; None: on this machine alone.
        open_shop: what lends a workshop to several exports; else one is opened for this.
        progress: see `export`.
    """
    jobs = _plan_jobs(targets, folder)
    if not jobs:
        return ()
    remove_unfinished(folder, f"{UNFINISHED}*")

    def export_all() -> tuple[Shipment, ...]:
        with ThreadPoolExecutor(1) as aside, open_shop() as shop:
            return _export(ask, jobs, shop, aside, progress, device=device)

    return try_twice(export_all)


def _export(
    ask: Callable[[], Questions],
    jobs: Sequence[FormatJob],
    shop: Workshop,
    aside: Executor,
    progress: Progress,
    *,
    device: Device | None,
) -> tuple[Shipment, ...]:
    """While files are written, the network answers what they will be asked."""
    progress("export", 0, 2 * len(jobs), "the network itself")
    try:
        questions = ask()
        jobs = [replace(job, path=job.path.with_name(questions.form.name + job.exporter.suffix)) for job in jobs]
        writing = aside.submit(_write_all, shop, questions, jobs, progress)
        reference = _answer_beside(questions)
        rows = _check_all(shop, reference, writing.result(), progress)
        return rows if device is None else tuple(check_there(reference, row, device) for row in rows)
    except ExportFailed as error:  # the network's own fault, whatever the format
        return tuple(Shipment(job.format, "failed", reason=str(error)) for job in jobs)
    except Unsendable as error:
        reason = f"the network cannot be handed to a process of its own: {error}"
        return tuple(Shipment(job.format, "failed", reason=reason) for job in jobs)


def _answer_beside(questions: Questions) -> Reference:
    """Let the network answer, with a core left to the converters.

    Threads that wait for one another take more than they give.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - 1, 1))
    try:
        return answer(questions)
    finally:
        torch.set_num_threads(threads)


def _write_all(shop: Workshop, questions: Questions, jobs: Sequence[FormatJob], progress: Progress) -> list[Written]:
    told = _report_to(progress, "writing", [job.format for job in jobs], done=0, total=2 * len(jobs))
    try:
        outcomes = run_each(shop, write, questions, jobs, at_once=len(conditions.list_allowed_cores()), told=told)
    finally:
        for folder in {job.path.parent for job in jobs}:
            remove_unfinished(folder, f"{UNFINISHED}*")
    pairs = zip(jobs, outcomes, strict=True)
    return [Written(job, outcome.result or _tell_death(job, outcome)) for job, outcome in pairs]


def _tell_death(job: FormatJob, outcome: Outcome[Shipment]) -> Shipment:
    hint = "a fault of the converter: other formats may do"
    return Shipment(job.format, "failed", reason=f"the converter died ({outcome.died})\n  {hint}")


def _check_all(
    shop: Workshop, reference: Reference, written: Sequence[Written], progress: Progress
) -> tuple[Shipment, ...]:
    there = sorted((each for each in written if each.row.artifact), key=_is_evaluated, reverse=True)
    total = 2 * len(written)
    told = _report_to(progress, "running", [each.job.format for each in there], done=total - len(there), total=total)
    outcomes = run_each(shop, check, reference, there, at_once=len(conditions.list_allowed_cores()), told=told)
    progress("export", total, total)
    checked = {
        each.job.format: outcome.result or replace(each.row, status="failed", reason=_tell_crash(outcome))
        for each, outcome in zip(there, outcomes, strict=True)
    }
    return tuple(checked.get(each.job.format, each.row) for each in written)


def _is_evaluated(written: Written) -> bool:
    """True for a file that is evaluated rather than run natively, which takes longest and so begins first."""
    return bool(plugins.load(RUNTIMES, written.job.exporter.runtime).untimed)


def _tell_crash(outcome: Outcome[Shipment]) -> str:
    return f"the runtime died while it ran the file ({outcome.died})"


def _plan_jobs(targets: Targets, folder: Path) -> list[FormatJob]:
    """A job per target, refused before anything is done; its file has no name yet, which the form gives."""
    chosen = targets if isinstance(targets, Mapping) else {name: {} for name in targets}
    jobs = []
    for name, wishes in chosen.items():
        options = dict(wishes)
        precision, batches = options.pop("precision", FP32), options.pop("calibration", None)
        exporter = plugins.build(EXPORTERS, name, options)
        check_precision(exporter, precision)
        calibration = None if batches is None else tuple(batches)  # it goes to another process
        jobs.append(FormatJob(name, exporter, folder / name, precision, calibration))
    return jobs


def _report_to(
    progress: Progress, what: str, formats: Sequence[str], *, done: int, total: int
) -> Callable[[list[int], int], None]:
    before = done

    def told(running: list[int], done: int) -> None:
        names = ", ".join(formats[number] for number in running)
        progress("export", before + done, total, f"{what} {names}" if names else "")

    return told
