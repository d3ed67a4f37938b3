"""A walk through a run, cell by cell: open it in an editor that knows `# %%`, or run it as a script."""

# %% What is asked for. The data is embedded; a second call with the same folder goes on where the first one stopped.
from pathlib import Path

from deploy_prune import Recipe, RunConfig, load, prune, report

RUN = Path("walk")
config = RunConfig(
    model="mobilenet_v2",
    model_options={"setting": "small"},
    data="digits",
    pretrain=Recipe(epochs=1, batch_size=64, precision="fp32"),
    budget="0.5x",
    multiple=8,
    finetune=Recipe(epochs=1, batch_size=64, precision="fp32"),
    targets=("onnx",),
    threads=(),
)

# %% The whole road: train, score, cut, fine-tune, export, verify, report.
summary = prune(config, RUN)

# %% What was reached: multiply-adds of both networks, and what stays of every group.
plan = summary.plan.plan
print(f"{plan.reached / plan.dense:.3f} of the multiply-adds stay")
for name, units in sorted(plan.keep.items())[:5]:
    print(f"{name}: {len(units)} units stay")

# %% The pruned network is an ordinary module, physically smaller.
small = load(RUN).module
print(f"{sum(parameter.numel() for parameter in small.parameters()):,} parameters")

# %% The files, and how closely they follow the network.
for row in summary.ship.pruned:
    print(f"{row.format}: {row.status}")

# %% The report, as in RUN/report.md.
print(report(RUN).splitlines()[0])
