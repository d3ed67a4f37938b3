"""What is done when a process that works for ours has died: the work is done once more, and only once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from deploy_prune.errors import WorkerDied

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def try_twice(work: Callable[[], Result]) -> Result:
    """Do the work, and once more if a process was killed meanwhile.

    Where several such calls are within one another, the innermost tries again and the others do not.

    Raises:
        WorkerDied: it died the second time as well; nothing may be made of what it was to do.
        Exception: what the work raises itself.
    """
    try:
        return work()
    except WorkerDied as death:
        if death.final:
            raise
        logger.warning("%s: trying once more", death.message)
    try:
        return work()
    except WorkerDied as death:
        raise WorkerDied(death.message, hint=death.hint, final=True) from death
