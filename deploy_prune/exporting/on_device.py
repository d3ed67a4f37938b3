"""An exported file against its network where it will run: a few inputs and the network's outputs travel with it."""

from __future__ import annotations

from dataclasses import replace

from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError, MissingDependency, NotVerifiable, Unavailable
from deploy_prune.exporting.parity.comparison import tell_difference
from deploy_prune.exporting.parity.reference import Reference
from deploy_prune.exporting.parity.verification import verify
from deploy_prune.timing.devices import Device
from deploy_prune.timing.elsewhere import open_runtime
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Shipment

BATCHES = 3
"""How many batches of inputs travel: a random one alone, some more, and the first images."""


def check_there(reference: Reference, row: Shipment, device: Device) -> Shipment:
    """The row of a file once it has been run on a device, too, on a few of the inputs that it is held against here.

    A file that computes something else there has failed. One that cannot be run there stays what it was, with the
    reason; where the device is out of reach, it is "exported" and no more.
    """
    artifact = row.artifact
    if artifact is None or row.status == "failed" or plugins.load(RUNTIMES, artifact.runtime).untimed:
        return row
    asked = replace(reference.questions, inputs=reference.questions.inputs[:BATCHES])
    few = Reference(asked, reference.expected[:BATCHES])
    try:
        place = device.fingerprint
        with open_runtime(device, artifact.runtime) as runtime:
            there = verify(few, artifact, runtime=runtime)
    except (MissingDependency, NotVerifiable) as error:
        return replace(row, reason=f"not run there: {error}")
    except Unavailable as error:
        return replace(row, status="exported", reason=f"not run there: {error}")
    except DeployPruneError as error:
        return replace(row, status="failed", reason=f"on {place}: {error}")
    if not there.passed:
        return replace(row, status="failed", there=there, reason=f"on {place}: {tell_difference(there)}")
    return replace(row, status="verified", there=there)
