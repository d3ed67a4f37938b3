"""`python -m deploy_prune.processes.workshop`; what it runs is elsewhere, where a new process finds it."""

from __future__ import annotations

import sys

from deploy_prune.processes.workshop.host import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
