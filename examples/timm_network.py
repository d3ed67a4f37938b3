"""A network of timm, pruned on embedded data without training: what is cut and how it ships, in one command's time."""

from pathlib import Path

from deploy_prune import RunConfig, prune

RUN = Path("timm-run")
summary = prune(
    RunConfig(
        model="timm:mobilenetv3_small_050",
        data="digits",
        input_shape=(3, 32, 32),
        budget="0.6x",
        finetune=None,
        targets=("onnx",),
        threads=(),
    ),
    RUN,
)
print(f"{summary.plan.plan.reached / summary.plan.plan.dense:.3f} of the multiply-adds stay")
