"""`python -m deploy_prune.workshop`. What it runs is elsewhere: a new process does not find what is defined here."""

from __future__ import annotations

import sys

from deploy_prune.workshop.host import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
