"""Groups of devices: what Google's own writer writes for the chips that it knows, and any other."""

from __future__ import annotations

import pytest

from deploy_prune.bundling.soc_groups import check_group, write_targeting
from deploy_prune.errors import ConfigError


def write_as_google(vendor: str, soc: str) -> str:
    """What `ai_edge_litert` writes for one of its targets."""
    pytest.importorskip("ai_edge_litert", reason="Google's writer is part of LiteRT")
    from ai_edge_litert.aot.ai_pack import export_lib
    from ai_edge_litert.aot.vendors import google_tensor, qualcomm  # noqa: F401
    from ai_edge_litert.aot.vendors.google_tensor.google_tensor_backend import GoogleTensorBackend
    from ai_edge_litert.aot.vendors.qualcomm.qualcomm_backend import QualcommBackend

    backend = {"qualcomm": QualcommBackend, "google_tensor": GoogleTensorBackend}[vendor]
    made = backend.create({"backend_id": backend.id(), "soc_model": soc})
    return str(export_lib._build_targeting_config([made]))


@pytest.mark.parametrize(
    ("vendor", "soc", "group"),
    [("qualcomm", "SM8750", "Qualcomm_SM8750"), ("google_tensor", "Tensor_G3", "Google_Tensor_G3")],
)
def test_a_group_is_written_as_google_writes_it(vendor: str, soc: str, group: str) -> None:
    assert write_targeting([group]) == write_as_google(vendor, soc)


def test_any_other_chip_is_selected_by_what_it_says_of_itself() -> None:
    text = write_targeting(["Samsung_s5e9945", "Qualcomm_SM6225"])
    assert text.count("<config:device-group ") == 2
    assert '<config:system-on-chip manufacturer="Samsung" model="s5e9945"/>' in text
    assert '<config:system-on-chip manufacturer="QTI" model="SM6225"/>' in text


@pytest.mark.parametrize("name", ["", "Qualcomm", "_SM8750", "Qualcomm_", 'a_"b', "a_b/c", "other"])
def test_what_names_no_chip_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a system-on-chip"):
        check_group(name)
