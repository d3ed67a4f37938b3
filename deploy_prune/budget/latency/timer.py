"""Times files that are written by the hundred: two processes, one with the reference, both opened anew each time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.timing import bracketing, client, conditions
from deploy_prune.timing.bracketing import Pace
from deploy_prune.timing.client import Job
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Comparison, Precision, Target

QUICK = Pace(blocks=4, block_ms=15.0, fewest_inferences=3, repeats=40, warm_up=3)
OPENINGS = 2
"""How often both files are opened: where their buffers come to lie decides over some percent of their time."""

Timer = Callable[[bytes], Comparison]
"""How long a file takes against the reference."""


def local_target(runtime: str, threads: int = 1, precision: Precision = "fp32") -> Target:
    """This machine.

    Raises:
        UnknownName: no such runtime; MissingDependency: it is not installed here.
    """
    return Target(conditions.device_name(), runtime, plugins.build(RUNTIMES, runtime).version(), threads, precision)


@contextmanager
def timer(
    reference: bytes, suffix: str, target: Target, *, pace: Pace = QUICK, openings: int = OPENINGS
) -> Iterator[Timer]:
    """What times files against a reference, in two processes of their own on the same cores, until the block ends.

    Raises:
        Unavailable: a worker died; InputError: a file does not run.
    """
    cores = conditions.allowed_cores()[: target.threads]
    with tempfile.TemporaryDirectory(prefix="deploy-prune-") as folder:
        base, other = Path(folder) / f"reference{suffix}", Path(folder) / f"candidate{suffix}"
        base.write_bytes(reference)
        job = Job(base, target.runtime, target.threads, cores, seed=0)
        with client.started(job) as first, client.started(job) as second:

            def timed(content: bytes) -> Comparison:
                other.write_bytes(content)
                found = [
                    bracketing.compare(first.open(base), second.open(other), pace, seed=0) for _ in range(openings)
                ]
                brackets = [bracket for each in found for bracket in each.brackets]
                return bracketing.summed_up(brackets, sum(each.repeated for each in found))

            yield timed
