"""Multiply-adds are counted by what instructions do, and a file that is computed number by number is refused."""

from __future__ import annotations

import pytest

from deploy_prune.errors import Unavailable
from deploy_prune.timing.simulator.vectors import MultiplyAdds, check_vectors, count_multiply_adds


@pytest.mark.parametrize(
    ("instruction", "vector", "scalar"),
    [
        ("fmla v16.4s, v20.4s, v0.s[0]", 4, 0),
        ("fmla v16.2s, v20.2s, v0.2s", 2, 0),
        ("fmla v16.8h, v20.8h, v0.h[1]", 8, 0),
        ("sdot v8.4s, v4.16b, v0.4b[2]", 16, 0),
        ("smlal2 v8.4s, v4.8h, v0.h[2]", 4, 0),
        ("smull v8.8h, v4.8b, v0.8b", 8, 0),
        ("fmadd s0, s1, s2, s0", 0, 1),
        ("smaddl x0, w1, w2, x0", 0, 1),
        ("madd x0, x1, x2, x0", 0, 0),
        ("fmul v0.4s, v1.4s, v2.4s", 0, 0),
        ("add x0, x0, x1", 0, 0),
    ],
)
def test_an_instruction_does_as_many_multiply_adds_as_it_has_lanes(instruction: str, vector: int, scalar: int) -> None:
    assert count_multiply_adds([(("nop", instruction), 3)]) == MultiplyAdds(3 * vector, 3 * scalar)


def test_what_is_computed_in_vectors_passes_and_so_does_what_multiplies_nothing() -> None:
    for done in (MultiplyAdds(100, 99), MultiplyAdds(0, 0), MultiplyAdds(0, 9)):
        check_vectors(done, 1000, "net.tflite", "Cortex-A72")


def test_what_is_computed_number_by_number_is_refused() -> None:
    with pytest.raises(Unavailable, match=r"net.tflite is not run with vector .* Cortex-A72: 40 multiply-adds of 100"):
        check_vectors(MultiplyAdds(40, 60), 1000, "net.tflite", "Cortex-A72")
