"""`deploy-prune finetune`: train the pruned network of a run further."""

from __future__ import annotations

from deploy_prune.cli.options import Accelerator, Epochs, Json, Run
from deploy_prune.cli.output import show_progress
from deploy_prune.cli.prune import show_run


def finetune(run: Run, epochs: Epochs = None, accelerator: Accelerator = None, as_json: Json = False) -> int:
    """Train the pruned network of a run further.

    Exports, verifies and times it again afterwards.
    """
    from deploy_prune.pipeline.run import finetune as train_further
    from deploy_prune.train.accelerator import AUTO

    with show_progress(as_json=as_json) as told:
        summary = train_further(run, epochs=epochs, accelerator=accelerator or AUTO, progress=told)
    return show_run(run, summary, as_json=as_json)
