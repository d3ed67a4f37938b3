"""Leads from an address to shipped files: build or load a network, read images, export, verify."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, DataError, DeployPruneError
from deploy_prune.exporting.exporters import EXPORTERS
from deploy_prune.run_folder import FORM, RUN, read_asked, task_asked_for
from deploy_prune.trust import refuse_untrusted
from deploy_prune.values import BY_DATA, AppForm, Data, Network, Progress, Shipment, quiet

if TYPE_CHECKING:
    import numpy as np

    from deploy_prune.exporting.parity.reference import Questions
    from deploy_prune.timing.devices import Device
    from deploy_prune.train.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """A network, and what to ship of it: a run folder, or an architecture with weights."""

    address: str
    """The address of an architecture, such as `torchvision:mobilenet_v2`, or the path of a run folder."""
    targets: tuple[str, ...] = ()
    """The names of the formats to write, such as `tflite`."""
    weights: Path | None = None
    """The file of trained weights; None: an architecture's are drawn from torch's current seed."""
    data: str | None = None
    """Where images for verifying come from, and what is not said of the form; None: a run's own, else random inputs."""
    classes: int | None = None
    """How many classes the architecture is built for; None: its own number."""
    input_shape: tuple[int, int, int] | None = None
    """The channels, height and width of one image, in pixels; None: the architecture's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the architecture, such as `{"width": 0.5}`."""
    form: AppForm = field(default_factory=AppForm)
    """What apps pass in and get back; what it leaves open the data or the run folder say."""
    exporters: Mapping[str, Any] = field(default_factory=dict)
    """The precision and the options of the exporters: each goes to the targets that have it."""


def ship(
    order: Order, folder: Path, *, device: Device | None = None, progress: Progress = quiet
) -> tuple[Shipment, ...]:
    """Write one verified file per target into `folder`; on a device, they are run once more on a few of the inputs.

    Raises:
        UnknownName: no such model, data set or target, before any work is done.
        ConfigError: flags that do not go with a run folder, an option that no target has, a form that does not fit.
        WeightsError: the weights are missing, corrupt or of another network.
        DataError: the images are of another kind than the network takes.
    """
    targets = exporter_options(order.targets, order.exporters)
    from deploy_prune.exporting.export import export_asked

    return export_asked(lambda: _questions(order), targets, folder, device=device, progress=progress)


def _questions(order: Order) -> Questions:
    from deploy_prune.exporting.parity.reference import make_questions
    from deploy_prune.sources.open import open_network

    network = open_network(
        order.address,
        classes=order.classes,
        input_shape=order.input_shape,
        options=order.options,
        weights=order.weights,
    )
    known, images, task = _known(order, network)
    form = replace(order.form, normalisation=order.form.normalisation or known.normalisation,
                   labels=order.form.labels or known.labels)  # fmt: skip
    return make_questions(network, images, form, task)


def exporter_options(targets: Sequence[str], wished: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Target -> those of the options that its exporter has, and the precision where it can write it.

    Raises:
        UnknownName: no such target.
        ConfigError: an option or a precision that none of them has.
    """
    accepted = {name: _accept(name, wished) for name in targets}
    for option, value in wished.items():
        if not any(option in options for options in accepted.values()):
            what = f"the precision '{value}'" if option == "precision" else f"'{option}'"
            hint = f"leave it out, or add a format that has it to {', '.join(targets)}"
            raise ConfigError(f"none of these formats has {what}", hint=hint)
    return accepted


def _accept(target: str, wished: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wishes that a format can fulfil."""
    options, precisions = plugins.list_options(EXPORTERS, target), plugins.load(EXPORTERS, target).precisions
    return {
        key: value for key, value in wished.items() if key in options or (key == "precision" and value in precisions)
    }


def _known(order: Order, network: Network) -> tuple[AppForm, np.ndarray | None, Task]:
    """What is known of the form, images to verify on, and the task: a run's own, else that of the data.

    Without data the form is what the run folder remembers, and the images are those of the run.
    """
    from deploy_prune.exporting.app_interface import keep_fitting_labels
    from deploy_prune.exporting.parity.reference import CLASSIFICATION
    from deploy_prune.records import read_record
    from deploy_prune.sources.data import check_classes, check_fit, describe_form, read_data, read_spread
    from deploy_prune.train.tasks import TASKS, choose_task

    run = Path(order.address)
    task = plugins.build(TASKS, task_asked_for(run)) if (run / RUN).is_file() else None
    if order.data is None:
        data = _read_own_data(run, network) if (run / RUN).is_file() else None
        form = describe_form(data) if data else AppForm()
        form = read_record(run / FORM, AppForm) if (run / FORM).is_file() else form
        return keep_fitting_labels(network, form), read_spread(data.val) if data else None, task or CLASSIFICATION
    _, height, width = network.input_shape
    data = read_data(order.data, size=(height, width))
    check_fit(network, data)
    task = task or choose_task(BY_DATA, data, network.classes)
    if task.needs_labels:
        check_classes(network, data)
    return keep_fitting_labels(network, describe_form(data)), read_spread(data.val), task


def _read_own_data(run: Path, network: Network) -> Data | None:
    """The data of a run; None, and a warning, where they cannot be read any more or would execute code."""
    from deploy_prune.pipeline.run_images import read_run_images
    from deploy_prune.sources.data import check_fit

    asked, (_, height, width) = read_asked(run), network.input_shape
    try:
        refuse_untrusted((asked.get("data", ""),))
        data = read_run_images(asked.get("data", ""), asked.get("data_options"), (height, width), [run])
        check_fit(network, data)
    except DeployPruneError as error:
        told = "files are verified on random inputs alone, not on the run's images: %s; --data names where they are"
        logger.warning(told, error.message)
        return None
    return data


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names, one per line; empty lines at the end are no classes.

    Raises:
        DataError: the file is missing, no text, or has no line.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of labels: {error}", hint="one label per line") from error
    if not lines:
        raise DataError(f"{path} has no labels", hint="one label per line")
    return tuple(line.strip() for line in lines)
