"""Times files that are written by the hundred: two processes, one with the reference, both opened anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy_prune.scratch import make_scratch
from deploy_prune.timing.bracketing import Pace, summarise_brackets, take_brackets
from deploy_prune.timing.devices import Device, Job
from deploy_prune.values import Comparison, Target

QUICK = Pace(blocks=4, block_ms=15.0, fewest_inferences=3, repeats=40, warm_up=3)
OPENINGS = 2
"""How often both files are opened: where their buffers come to lie decides over some percent of their time."""

Timer = Callable[[bytes], Comparison]
"""How long a file takes against the reference."""


@contextmanager
def timer(
    reference: bytes,
    suffix: str,
    target: Target,
    *,
    device: Device,
    pace: Pace = QUICK,
    openings: int = OPENINGS,
) -> Iterator[Timer]:
    """What times files against a reference, in two processes of their own on the same cores, until the block ends.

    Args:
        reference: the content of the file that all others are held against.
        suffix: of all files.
        target: the runtime and its threads.
        device: where they run.
        pace: how long is timed, and how often.
        openings: how often both files are opened.

    Raises:
        Unavailable: a worker died; InputError: a file does not run.
    """
    cores = device.cores(target.threads)
    with make_scratch() as folder:
        base, other = folder / f"reference{suffix}", folder / f"candidate{suffix}"
        base.write_bytes(reference)
        job = Job(base, target.runtime, target.threads, cores, seed=0)
        with device.start(job) as first, device.start(job) as second:

            def timed(content: bytes) -> Comparison:
                other.write_bytes(content)
                sittings = [take_brackets(first.open(base), second.open(other), pace) for _ in range(openings)]
                brackets = [bracket for taken, _ in sittings for bracket in taken]
                return summarise_brackets(brackets, sum(repeated for _, repeated in sittings))

            yield timed
