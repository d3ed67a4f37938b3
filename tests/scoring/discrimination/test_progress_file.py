"""A selection's notebook: what is written down is there again; what is damaged or of another selection is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deploy_prune.errors import RecordError
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress


def test_what_was_finished_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "selection.safetensors"
    first = SelectionProgress(path, "this one")
    shared = torch.arange(6.0).reshape(2, 3)
    first.add("layer1", {"chosen": torch.tensor([True, False]), "weight": shared.t(), "again": shared})
    first.add("layer10", {"chosen": torch.tensor([False])})
    again = SelectionProgress(path, "this one")
    found = again.recall("layer1")
    assert found is not None
    assert sorted(found) == ["again", "chosen", "weight"]
    assert torch.equal(found["weight"], shared.t())
    assert again.recall("layer") is None


def test_without_a_file_it_remembers_by_itself() -> None:
    notebook = SelectionProgress(None, "")
    notebook.add("a", {"chosen": torch.ones(2)})
    found = notebook.recall("a")
    assert found is not None
    assert torch.equal(found["chosen"], torch.ones(2))


def test_another_selection_is_refused(tmp_path: Path) -> None:
    SelectionProgress(tmp_path / "s.safetensors", "one").add("a", {"chosen": torch.ones(2)})
    with pytest.raises(RecordError, match="is of another selection"):
        SelectionProgress(tmp_path / "s.safetensors", "other")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(RecordError, match="is damaged"):
        SelectionProgress(tmp_path / "s.safetensors", "one")
