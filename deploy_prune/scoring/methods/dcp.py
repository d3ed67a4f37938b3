"""DCP: discrimination-aware channel pruning (Zhuang et al., NeurIPS 2018, arXiv 1810.11809).

Selects at given widths *which* channels of a group stay: those that the loss L_M + lambda x L_S pulls at hardest in the
layer that reads them, of which only the selected columns are trained meanwhile. With `epsilon` widths are upper bounds
(DCP-Adapt). Where we differ from the paper and its released code: heads are trained on a frozen trunk, with or without
one joint training before (the second release's order: all heads first, no training between layers); inputs are cached
and only the path from the layer to its head is run; several channels enter per step; L_M is divided by 2Q as in the
paper (the code: by Q); depthwise layers and, with scope `full`, residual streams are selected too; the reference is
the network as it came, or as the joint training left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from deploy_prune.errors import ConfigError
from deploy_prune.scoring.discrimination.greedy import Growth
from deploy_prune.scoring.discrimination.heads import HeadRecipe
from deploy_prune.scoring.discrimination.layerwise import Settings, prepare_reference
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress
from deploy_prune.scoring.discrimination.selection import ChannelRule, select_channels
from deploy_prune.scoring.discrimination.stopping import StartRelative
from deploy_prune.scoring.methods import Selector
from deploy_prune.scoring.study import Study
from deploy_prune.setting_rules import SettingRule, check_settings
from deploy_prune.train.state import fingerprint
from deploy_prune.values import Selection, Widths

STATE = "dcp.safetensors"


@dataclass(frozen=True)
class Dcp:
    """How heads are trained and channels selected; the defaults suit CIFAR-10."""

    needs_labels: ClassVar[bool] = True

    heads: int | None = None
    """How many heads are placed, evenly by blocks; 0: the network's own loss alone; None: three, or as many as fit."""
    head_epochs: int = 3
    """How many epochs heads are trained for."""
    head_images: int = 3_000
    """How many training images heads are trained on."""
    finetune_epochs: int = 0
    """How many epochs network and heads are trained together, before heads are trained alone."""
    finetune_lr: float = 0.01
    """The learning rate of that training's first step."""
    images: int = 1024
    """How many training images the selection set has."""
    batch_size: int = 128
    """How many images are worked on at once."""
    balance: float = 1.0
    """Lambda: the weight of the discrimination loss; 0: reconstruction alone."""
    norm: Literal["paper", "code"] = "paper"
    """How hard a channel is pulled at: the Frobenius norm of its gradient, or the sum of its kernels' norms."""
    steps: int = 8
    """ceil(channels / steps) enter at once, and as many passes are trained for a whole group."""
    lr: float = 0.01
    """The learning rate of these passes."""
    epsilon: float | None = None
    """The selection stops where the loss changes by no more than this share of its start; None: at the widths."""
    patience: int = 3
    """How many times in a row the loss must change so little."""
    floor: float = 0.1
    """The share of its units that a group keeps where it stops by itself."""

    def __post_init__(self) -> None:
        if self.norm not in ("paper", "code"):
            raise ConfigError(f"method 'dcp' has no norm {self.norm!r}", hint="known: paper, code")
        check_settings("method 'dcp'", self, self._rules())
        if self.heads == 0 and self.finetune_epochs:
            message = f"method 'dcp': finetune_epochs={self.finetune_epochs} trains the network with its heads"
            raise ConfigError(f"{message}, and heads=0 places none", hint="give finetune_epochs=0, or one head or more")

    def _rules(self) -> tuple[SettingRule, ...]:
        not_negative = ("heads", "head_epochs", "finetune_epochs", "balance", "epsilon")
        return (
            *((name, "0 or more", (vars(self)[name] or 0) >= 0) for name in not_negative),
            *((name, "1 or more", vars(self)[name] >= 1) for name in ("images", "steps", "patience")),
            ("batch_size", "2 or more", self.batch_size >= 2),
            ("lr", "above 0", self.lr > 0),
        )

    def select(self, study: Study, widths: Widths) -> Selection:
        """Select `widths[group]` units of every group (at the most, with `epsilon`), and give the new weights.

        Raises:
            ConfigError: no images, too few of them, no classifier, too few blocks, or a loss that became NaN.
            TraceError: torch.export cannot follow the network.
        """
        data, asked = study.images("dcp", labelled=self.needs_labels), self._groups_to_select(study, widths)
        whole = {group.name: tuple(range(group.width)) for group in study.graph.free if group.name not in asked}
        if not asked:
            return Selection(whole)
        described = (study.network.address, data.name, study.seed, self, sorted(asked.items()))
        notebook = SelectionProgress(
            study.folder / STATE if study.folder else None, fingerprint(study.network.module, *described)
        )
        stage = Settings(self.heads, self._head_recipe(), self.images, self.batch_size)
        scene = prepare_reference(study, stage, notebook)
        selection = select_channels(scene, study.graph, asked, self._rule(), notebook, progress=study.progress)
        return Selection({**whole, **selection.keep}, weights=selection.weights)

    def _groups_to_select(self, study: Study, widths: Widths) -> dict[str, int]:
        """The groups to select in, each with the units that it keeps at the most."""
        asked = {}
        for group in study.graph.free:
            width = widths.get(group.name, group.width)
            may_stop = self.epsilon is not None and not (study.scope == "inner" and group.residual)
            if width < group.width or may_stop:
                asked[group.name] = width
        return asked

    def _head_recipe(self) -> HeadRecipe:
        return HeadRecipe(
            self.head_epochs, self.head_images, joint_epochs=self.finetune_epochs, joint_lr=self.finetune_lr
        )

    def _rule(self) -> ChannelRule:
        stop = None if self.epsilon is None else StartRelative(self.epsilon, self.patience)
        growth = Growth(0, 1, stop, balance=self.balance, lr=self.lr)
        return ChannelRule(growth, self.steps, self.norm, self.floor)


plugin: type[Selector] = Dcp
