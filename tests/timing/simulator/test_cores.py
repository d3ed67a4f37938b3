"""A core says of itself what it can execute, and no more: programs believe it."""

from __future__ import annotations

import pytest

from deploy_prune.errors import ConfigError
from deploy_prune.timing.simulator.cores import CORES, Core, find_core, write_cpuinfo

DOT_PRODUCTS = {"cortex-a76"}
"""The emulated processors that execute dot products."""


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_only_a_core_with_dot_products_says_that_it_has_them(core: Core) -> None:
    assert ("asimddp" in core.features.split()) == (core.emulated in DOT_PRODUCTS)


def test_what_a_program_reads_of_the_core_is_as_the_kernel_writes_it() -> None:
    lines = write_cpuinfo(find_core("cortex-a72")).splitlines()
    assert lines[0] == "processor\t: 0"
    assert "CPU implementer\t: 0x41" in lines
    assert "CPU part\t: 0xd08" in lines


def test_another_core_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no core 'cortex-a9' can be simulated") as caught:
        find_core("cortex-a9")
    assert "cortex-a72" in caught.value.hint
