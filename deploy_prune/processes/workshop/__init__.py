"""Runs work in processes of its own, several at once: what crashes there ends nothing here.

A workshop is a process that imports what the work needs once, and then starts a process per item: on Linux as a copy
of itself, which has all that imported already, elsewhere as a new one. It has run nothing, so that no library's threads
or locks are lost in the copy. Work and results travel as pickles between our own processes, in a folder that only this
user can read; cloudpickle carries networks of the user's own files along, which a new process could not import.

    python -m deploy_prune.processes.workshop FOLDER PARENT MODULE ...

is what a workshop runs, PARENT being the number of the process that it ends with: a folder, a number and a
limit in seconds on stdin begin that item, a line on stdout says how it ended.

A process that ends before its time is started once more, alone. One that crashes twice is a result; one that is killed
twice, has no memory, or does not end within its limit is not: it says nothing about the item.
"""

from deploy_prune.processes.workshop.client import Outcome, Patience, Workshop, open_workshop, run_each
from deploy_prune.processes.workshop.parcels import Unsendable

__all__ = ["Outcome", "Patience", "Unsendable", "Workshop", "open_workshop", "run_each"]
