"""Tiny networks, one per feature of the channel graph: `NETS` maps a name to a function that builds one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from building import conv, head, net
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.values import Network


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def tied(first: nn.Module, second: nn.Module) -> nn.Module:
    second.weight = first.weight
    return second


def _squeeze_excite(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.head(y * m.up(m.down(y.mean((2, 3), keepdim=True)).relu()).sigmoid())


def _in_place(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y += m.b(x)
    y.relu_()
    y.mul_(2).clamp_(max=3)
    return m.head(y)


def _view_write(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    half = y[:, :4]
    half.mul_(m.b(x))
    return m.head(y)


def _row_write(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[:, :, 0] = 0
    return m.head(y)


def _dense_block(m: Any, x: Tensor) -> Tensor:
    features = [m.a(x)]
    features.append(m.b(torch.cat(features, 1)))
    features.append(m.c(torch.cat(features, 1)))
    return m.head(torch.cat(features, 1))


def _ghost(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.head(torch.cat([y, m.cheap(y)], 1))


def _chunk(m: Any, x: Tensor) -> Tensor:
    one, two = m.a(x).chunk(2, 1)
    return m.head(one * two.sigmoid())


def _asymmetric_split(m: Any, x: Tensor) -> Tensor:
    one, two = m.a(x).split([3, 5], 1)
    return m.head(torch.cat([m.b(one), m.c(two)], 1))


def _two_inputs(m: Any, x: Tensor, y: Tensor) -> Any:
    z = m.a(x) + m.b(y)
    return {"logits": m.head(z), "aux": (m.c(z).mean((2, 3)), [m.d(z)])}


NETS: dict[str, Callable[[], Network]] = {
    "plain": lambda: net(lambda m, x: m.head(m.b(m.a(x).relu())), a=conv(3, 6), b=conv(6, 8), head=head(8)),
    "grouped_same_place": lambda: net(
        lambda m, x: m.head(m.g(m.a(x))), a=conv(3, 8), g=conv(8, 12, groups=2), head=head(12)
    ),
    "grouped_whole": lambda: net(
        lambda m, x: m.head(m.g(m.a(x))), a=conv(3, 8), g=conv(8, 12, groups=4), head=head(12)
    ),
    "depthwise": lambda: net(
        lambda m, x: m.head(m.b(m.d(m.a(x)).relu())), a=conv(3, 6), d=conv(6, 6, groups=6), b=conv(6, 8), head=head(8)
    ),
    "depthwise_multiplier": lambda: net(
        lambda m, x: m.head(m.d(m.a(x))), a=conv(3, 4), d=conv(4, 12, groups=4), head=head(12)
    ),
    "transposed": lambda: net(
        lambda m, x: m.head(m.t(m.a(x)).relu()), a=conv(3, 6), t=nn.ConvTranspose2d(6, 7, 2, stride=2), head=head(7)
    ),
    "transposed_grouped": lambda: net(
        lambda m, x: m.head(m.t(m.a(x))), a=conv(3, 6), t=nn.ConvTranspose2d(6, 8, 2, groups=2), head=head(8)
    ),
    "transposed_whole": lambda: net(
        lambda m, x: m.head(m.t(m.a(x))), a=conv(3, 8), t=nn.ConvTranspose2d(8, 12, 2, groups=4), head=head(12)
    ),
    "transposed_depthwise": lambda: net(
        lambda m, x: m.head(m.t(m.a(x))), a=conv(3, 6), t=nn.ConvTranspose2d(6, 6, 2, groups=6), head=head(6)
    ),
    "batch_norm": lambda: net(lambda m, x: m.head(m.n(m.a(x)).relu()), a=conv(3, 6), n=nn.BatchNorm2d(6), head=head(6)),
    "batch_norm_plain": lambda: net(
        lambda m, x: m.head(m.n(m.a(x)).relu()), a=conv(3, 6), n=nn.BatchNorm2d(6, affine=False), head=head(6)
    ),
    "batch_norm_stateless": lambda: net(
        lambda m, x: m.head(m.n(m.a(x)).relu()),
        a=conv(3, 6), n=nn.BatchNorm2d(6, track_running_stats=False), head=head(6),
    ),
    "instance_norm": lambda: net(
        lambda m, x: m.head(m.n(m.a(x)).relu()), a=conv(3, 6), n=nn.InstanceNorm2d(6, affine=True), head=head(6)
    ),
    "prelu_many": lambda: net(lambda m, x: m.head(m.p(m.a(x))), a=conv(3, 6), p=nn.PReLU(6), head=head(6)),
    "prelu_one": lambda: net(lambda m, x: m.head(m.p(m.a(x))), a=conv(3, 6), p=nn.PReLU(1), head=head(6)),
    "residual": lambda: net(
        lambda m, x: m.head((y := m.a(x).relu()) + m.c(m.b(y).relu())), a=conv(3, 6), b=conv(6, 4), c=conv(4, 6),
        head=head(6),
    ),
    "squeeze_excite": lambda: net(_squeeze_excite, a=conv(3, 8), down=conv(8, 4, 1), up=conv(4, 8, 1), head=head(8)),
    "spatial_gate": lambda: net(
        lambda m, x: m.head((y := m.a(x)) * m.gate(y).sigmoid()), a=conv(3, 6), gate=conv(6, 1), head=head(6)
    ),
    "concat": lambda: net(
        lambda m, x: m.head(m.c(torch.cat([m.a(x), m.b(x)], 1))), a=conv(3, 4), b=conv(3, 6), c=conv(10, 5),
        head=head(5),
    ),
    "concat_image": lambda: net(
        lambda m, x: m.head(m.b(torch.cat([x, m.a(x)], 1))), a=conv(3, 4), b=conv(7, 5), head=head(5)
    ),
    "dense_block": lambda: net(_dense_block, a=conv(3, 4), b=conv(4, 3), c=conv(7, 5), head=head(12)),
    "ghost": lambda: net(_ghost, a=conv(3, 4), cheap=conv(4, 4, groups=4), head=head(8)),
    "chunk": lambda: net(_chunk, a=conv(3, 8), head=head(4)),
    "shuffle": lambda: net(
        lambda m, x: m.head(m.b(shuffle(m.a(x), 2))), a=conv(3, 8), b=conv(8, 8, groups=2), head=head(8)
    ),
    "channel_shuffle": lambda: net(
        lambda m, x: m.head(m.b(m.s(m.a(x)))), a=conv(3, 8), s=nn.ChannelShuffle(2), b=conv(8, 6), head=head(6)
    ),
    "flatten_module": lambda: net(lambda m, x: m.l(m.f(m.a(x))), a=conv(3, 4), f=nn.Flatten(), l=nn.Linear(256, 5)),
    "flatten_view": lambda: net(lambda m, x: m.l((y := m.a(x)).view(y.size(0), -1)), a=conv(3, 4), l=nn.Linear(256, 5)),
    "flatten_mlp": lambda: net(
        lambda m, x: m.k(m.l(m.a(x).flatten(1)).relu()), a=conv(3, 4), l=nn.Linear(256, 9), k=nn.Linear(9, 5)
    ),
    "permuted_flatten": lambda: net(
        lambda m, x: m.l(m.a(x).permute(0, 2, 3, 1).flatten(1)), a=conv(3, 4), l=nn.Linear(256, 5)
    ),
    "channels_last_linear": lambda: net(
        lambda m, x: m.head(m.l(m.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)), a=conv(3, 4), l=nn.Linear(4, 6),
        head=head(6),
    ),
    "pools": lambda: net(
        lambda m, x: m.head(functional.max_pool2d(functional.avg_pool2d(m.a(x), 2), 2)), a=conv(3, 4), head=head(4)
    ),
    "adaptive_max": lambda: net(
        lambda m, x: m.l(functional.adaptive_max_pool2d(m.a(x), 1).flatten(1)), a=conv(3, 4), l=nn.Linear(4, 5)
    ),
    "pad_spatial": lambda: net(
        lambda m, x: m.head(m.b(functional.pad(m.a(x), (1, 1, 0, 2)))), a=conv(3, 4), b=conv(4, 6), head=head(6)
    ),
    "reflection_pad": lambda: net(
        lambda m, x: m.head(m.p(m.a(x))), a=conv(3, 4), p=nn.ReflectionPad2d(1), head=head(4)
    ),
    "squeezed": lambda: net(lambda m, x: m.l(m.a(x).mean((-1, -2))), a=conv(3, 4), l=nn.Linear(4, 5)),
    "shared": lambda: net(lambda m, x: m.head(m.b(m.b(m.a(x)).relu())), a=conv(3, 6), b=conv(6, 6), head=head(6)),
    "in_place": lambda: net(_in_place, a=conv(3, 6), b=conv(3, 6), head=head(6)),
    "row_write": lambda: net(_row_write, a=conv(3, 6), head=head(6)),
    "two_inputs": lambda: net(
        _two_inputs, (3, 8, 8), (2, 8, 8), a=conv(3, 6), b=conv(2, 6), c=conv(6, 4), d=conv(6, 2), head=head(6)
    ),
    "tied_convs": lambda: net(
        lambda m, x: m.head(m.c(m.b(m.a(x)).relu())), a=conv(3, 6), b=(b := conv(6, 6)), c=tied(b, conv(6, 6)),
        head=head(6),
    ),
    "functional_conv": lambda: net(
        lambda m, x: m.head(functional.conv2d(m.a(x), m.w, m.c, padding=1)), a=conv(3, 4),
        w=nn.Parameter(torch.randn(6, 4, 3, 3)), c=nn.Parameter(torch.randn(6)), head=head(6),
    ),
    "functional_linear": lambda: net(
        lambda m, x: functional.linear(functional.linear(m.a(x).mean((2, 3)), m.w).sigmoid(), m.v), a=conv(3, 4),
        w=nn.Parameter(torch.randn(6, 4)), v=nn.Parameter(torch.randn(5, 6)),
    ),
    "layer_scale": lambda: net(
        lambda m, x: m.head(m.a(x) * m.s), a=conv(3, 6), s=nn.Parameter(torch.randn(6, 1, 1)), head=head(6)
    ),
    "scale_rank4": lambda: net(
        lambda m, x: m.head(m.a(x) * m.s + m.t), a=conv(3, 6), s=nn.Parameter(torch.randn(1, 6, 1, 1)),
        t=nn.Parameter(torch.randn(1, 1, 1, 1)), head=head(6),
    ),
    "scale_rank1": lambda: net(
        lambda m, x: m.l(m.a(x).mean((2, 3)) * m.s[0] + m.z), a=conv(3, 6), s=nn.ParameterList([torch.randn(6)]),
        z=nn.Parameter(torch.randn(())), l=nn.Linear(6, 5),
    ),
    "interpolate": lambda: net(
        lambda m, x: m.head(functional.interpolate(m.a(x), scale_factor=2.0)), a=conv(3, 4), head=head(4)
    ),
    "bilinear": lambda: net(
        lambda m, x: m.head(functional.interpolate(m.a(x), size=(5, 5), mode="bilinear")), a=conv(3, 4), head=head(4)
    ),
    "pixel_shuffle": lambda: net(
        lambda m, x: m.head(m.b(functional.pixel_shuffle(m.a(x), 2))), a=conv(3, 8), b=conv(2, 6), head=head(6)
    ),
    "pixel_unshuffle": lambda: net(
        lambda m, x: m.head(functional.pixel_unshuffle(m.a(x), 2)), a=conv(3, 4), head=head(16)
    ),
    "group_norm_instance": lambda: net(
        lambda m, x: m.head(m.n(m.a(x)).relu()), a=conv(3, 6), n=nn.GroupNorm(6, 6), head=head(6)
    ),
    "conv1d": lambda: net(
        lambda m, x: m.l(m.b(m.a(x)).relu().mean(-1)), (3, 12), a=nn.Conv1d(3, 4, 3), b=nn.Conv1d(4, 6, 3),
        l=nn.Linear(6, 5),
    ),
    "conv3d": lambda: net(
        lambda m, x: m.l(m.b(m.a(x)).relu().mean((2, 3, 4))), (3, 4, 4, 4), a=nn.Conv3d(3, 4, 3),
        b=nn.Conv3d(4, 6, 1), l=nn.Linear(6, 5),
    ),
    "mlp": lambda: net(lambda m, x: m.b(m.a(x.flatten(1)).relu()), a=nn.Linear(192, 7), b=nn.Linear(7, 5)),
    "stack_branches": lambda: net(
        lambda m, x: m.head(torch.stack([m.a(x), m.b(x)]).sum(0)), a=conv(3, 6), b=conv(3, 6), head=head(6)
    ),
    "split_branches": lambda: net(
        lambda m, x: m.head(torch.cat([m.b(part) for part in m.a(x).chunk(2, 1)], 1)), a=conv(3, 8), b=conv(4, 3),
        head=head(6),
    ),
    "expanded": lambda: net(
        lambda m, x: m.head(m.a(x).mean((2, 3), keepdim=True).expand(-1, -1, 4, 4)), a=conv(3, 6), head=head(6)
    ),
    "repeated": lambda: net(lambda m, x: m.head(m.a(x).repeat(1, 2, 1, 1)), a=conv(3, 4), head=head(8)),
    "rolled": lambda: net(lambda m, x: m.head(m.a(x).roll(1, 2)), a=conv(3, 4), head=head(4)),
    "flipped": lambda: net(lambda m, x: m.head(m.a(x).flip(1)), a=conv(3, 4), head=head(4)),
    "unbound": lambda: net(lambda m, x: m.l(m.a(x).unbind(2)[0].mean(2)), a=conv(3, 4), l=nn.Linear(4, 5)),
    "even_odd": lambda: net(lambda m, x: m.head((y := m.a(x))[:, ::2] + y[:, 1::2]), a=conv(3, 8), head=head(4)),
    "select_sum": lambda: net(
        lambda m, x: m.head((y := m.a(x).view(-1, 2, 4, 8, 8))[:, 0] + y[:, 1]), a=conv(3, 8), head=head(4)
    ),
    "squeeze": lambda: net(
        lambda m, x: m.l(m.p(m.a(x)).squeeze(-1).squeeze(-1)), a=conv(3, 4), p=nn.AdaptiveAvgPool2d(1),
        l=nn.Linear(4, 5),
    ),
    "einsum": lambda: net(lambda m, x: m.l(torch.einsum("nchw->nc", m.a(x))), a=conv(3, 4), l=nn.Linear(4, 5)),
    "one_by_one_spatial": lambda: net(
        lambda m, x: m.head(m.b(m.a(x))), (3, 1, 1), a=conv(3, 4), b=conv(4, 6), head=head(6)
    ),
    "width_one": lambda: net(lambda m, x: m.head(m.b(m.a(x))), a=conv(3, 1), b=conv(1, 6), head=head(6)),
    "glu": lambda: net(lambda m, x: m.head(functional.glu(m.a(x), 1)), a=conv(3, 8), head=head(4)),
    "likes": lambda: net(
        lambda m, x: m.head(m.b(torch.cat([(y := m.a(x)) + torch.ones_like(y), torch.zeros_like(y)], 1))),
        a=conv(3, 6), b=conv(12, 4), head=head(4),
    ),
    "index_buffer": lambda: net(
        lambda m, x: m.head(m.a(x)[:, m.order]), a=conv(3, 6), order=nn.Buffer(torch.tensor([2, 0, 1, 5, 4, 3])),
        head=head(6),
    ),
    "tied_linears": lambda: net(
        lambda m, x: m.l(m.d(m.a(x).mean((2, 3))).relu() @ m.d.weight), a=conv(3, 6), d=nn.Linear(6, 4),
        l=nn.Linear(6, 5),
    ),
    "computed_weight": lambda: net(
        lambda m, x: m.head(functional.conv2d(m.a(x), m.b.weight - m.b.weight.mean((1, 2, 3), keepdim=True))),
        a=conv(3, 6), b=conv(6, 4), head=head(4),
    ),
    "focus": lambda: net(
        lambda m, x: m.head(m.b(torch.cat([(y := m.a(x))[..., ::2], y[..., 1::2]], 1))), a=conv(3, 6), b=conv(12, 4),
        head=head(4),
    ),
    "ungated_groups": lambda: net(
        lambda m, x: m.head(m.g(torch.cat([m.a(x), m.b(x)], 1))), a=conv(3, 4), b=conv(3, 8), g=conv(12, 6, groups=3),
        head=head(6),
    ),
    "two_groupings": lambda: net(
        lambda m, x: m.head((y := m.a(x)) + m.g(y) + m.h(y)), a=conv(3, 12), g=conv(12, 12, groups=2),
        h=conv(12, 12, groups=3), head=head(12),
    ),
    "outer_product": lambda: net(
        lambda m, x: m.l((m.a(x).mean((2, 3))[:, :, None] * m.b(x).mean((2, 3))[:, None, :]).flatten(1)), a=conv(3, 4),
        b=conv(3, 6), l=nn.Linear(24, 5),
    ),
    "one_channel_broadcast": lambda: net(lambda m, x: m.head((y := m.a(x)) * y[:, 2:3]), a=conv(3, 6), head=head(6)),
    "parts_in_the_batch": lambda: net(
        lambda m, x: m.head(m.g((y := m.a(x)).flatten(0, 0).view(2 * y.shape[0], -1, 8, 8)).view(y.shape[0], -1, 8, 8)),
        a=conv(3, 8), g=conv(4, 3), head=head(6),
    ),
    "view_write": lambda: net(_view_write, a=conv(3, 8), b=conv(3, 4), head=head(8)),
    "asymmetric_split": lambda: net(_asymmetric_split, a=conv(3, 8), b=conv(3, 4), c=conv(5, 4), head=head(8)),
}  # fmt: skip
