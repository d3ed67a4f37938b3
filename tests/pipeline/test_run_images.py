"""A run goes on with the images that it began with, whatever breaks or is taken away, and its record says what did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tinyrun import QUICK, config, weights_sha256, written

from deploy_prune.errors import DataError
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.run import prune
from deploy_prune.pipeline.run_images import read_run_images, record_broken, record_images, refuse_other_images
from deploy_prune.records import read_record, write_record
from deploy_prune.run_folder import SPLITS
from deploy_prune.sources.data import read_data
from deploy_prune.sources.encoded_images import EncodedImages
from deploy_prune.values import Data, ImageSet, SplitRecord


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen small images in each of two classes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    drawn = np.random.default_rng(0)
    for number in range(32):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def asked(folder: Path) -> RunConfig:
    recipe = {**QUICK, "batch_size": 10}
    return config(written(folder), data=f"imagefolder:{folder / 'photos'}", input_shape=(3, 8, 8),
                  pretrain=recipe, finetune=recipe, recalibrate_images=10)  # fmt: skip


def path_of(split: ImageSet, number: int) -> Path:
    assert isinstance(split, EncodedImages)
    return split.blobs[number].path


def name_broken(run: Path) -> dict[str, list[tuple[str, int | None]]]:
    record = read_record(run / SPLITS, dict[str, SplitRecord])
    return {name: [(Path(each.name).name, each.number) for each in split.broken] for name, split in record.items()}


def end_stages(run: Path, *names: str) -> None:
    """Leave these stages to be done again."""
    for name in names:
        (run / f"{name}.json").unlink()


@pytest.mark.heavy
def test_broken_images_are_in_the_record_and_may_be_taken_away(photos: Path, tmp_path: Path) -> None:
    data, run = read_data(f"imagefolder:{photos}", size=(8, 8)), tmp_path / "run"
    unseen, looked_at = path_of(data.test, 1), path_of(data.train, 0)
    unseen.write_bytes(b"broken before the start, and met at the end")
    began = prune(asked(tmp_path), run)
    assert name_broken(run) == {"train": [], "val": [], "test": [(unseen.name, 1)]}
    told = f"1 of {len(data.test)} in test ({unseen.relative_to(photos)} cannot be decoded)."
    assert told in (run / "report.md").read_text()
    # Taken away, as one is told to: the other images are where they were, and so is the result.
    unseen.unlink()
    end_stages(run, "test-1", "dense-test")
    assert prune(asked(tmp_path), run).test == began.test
    # One that identifies its split breaks after the start, and is taken away as well.
    looked_at.write_bytes(b"broken")
    for _ in range(2):
        end_stages(run, "trained-1", "test-1")
        (run / "training-1.safetensors").unlink(missing_ok=True)
        assert prune(asked(tmp_path), run).test.dense == began.test.dense
        assert name_broken(run) == {"train": [(looked_at.name, 0)], "val": [], "test": [(unseen.name, 1)]}
        looked_at.unlink(missing_ok=True)


@pytest.mark.heavy
def test_a_first_training_goes_on_to_the_same_weights_when_its_broken_image_is_gone(
    photos: Path, tmp_path: Path
) -> None:
    settings = asked(tmp_path).model_copy(update={"finetune": None})
    broken = path_of(read_data(f"imagefolder:{photos}", size=(8, 8)).train, 2)
    broken.write_bytes(b"broken")
    prune(settings, tmp_path / "straight")
    recorded = []

    def stop(task: str, done: int, total: int, note: str = "") -> None:
        del total, note
        if task == "dense: training" and done == 2:
            recorded.append(name_broken(tmp_path / "run")["train"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(settings, tmp_path / "run", progress=stop)
    assert recorded == [[(broken.name, 2)]], "it is written down at once: the process might be killed"
    broken.unlink()
    prune(settings, tmp_path / "run")
    assert weights_sha256(tmp_path / "run") == weights_sha256(tmp_path / "straight")


def reread(folder: Path, run: Path) -> Data:
    return read_run_images(asked(folder).data, {}, (8, 8), [run])


def begin(run: Path, photos: Path, folder: Path) -> Data:
    data = reread(folder, run)
    record_images(run, data)
    return data


def test_a_whole_image_may_not_be_taken_away_or_changed(photos: Path, tmp_path: Path) -> None:
    data, run = begin(tmp_path / "run", photos, tmp_path), tmp_path / "run"
    path = path_of(data.train, 0)
    content = path.read_bytes()
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(DataError, match="train had 20 images, now 20, of which some are others"):
        refuse_other_images(run, reread(tmp_path, run))
    path.unlink()
    with pytest.raises(DataError, match="has changed since the run began"):
        refuse_other_images(run, reread(tmp_path, run))
    path.write_bytes(content)
    refuse_other_images(run, reread(tmp_path, run))


def test_what_was_said_of_a_broken_image_stays_and_it_is_listed_once(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    data = begin(run, photos, tmp_path)
    path = path_of(data.val, 0)
    path.write_bytes(b"broken")
    data = begin(run, photos, tmp_path)
    why = read_record(run / SPLITS, dict[str, SplitRecord])["val"].broken[0].why
    path.unlink()
    again = reread(tmp_path, run)
    again.val.read(np.arange(len(again.val)))
    record_broken(run, again)
    assert [(each.name, each.why) for each in read_record(run / SPLITS, dict[str, SplitRecord])["val"].broken] == [
        (path.relative_to(photos).as_posix(), why)
    ]


def test_a_record_of_before_is_held_against_the_same_digest(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    data = begin(run, photos, tmp_path)
    before = read_record(run / SPLITS, dict[str, SplitRecord])
    short = {name: {"images": split.images, "sha256": split.sha256} for name, split in before.items()}
    write_record(run / SPLITS, {name: SplitRecord(**split) for name, split in short.items()}, dict[str, SplitRecord])  # type: ignore[arg-type]
    refuse_other_images(run, data)
    Image.new("RGB", (8, 8)).save(path_of(data.train, 0))
    with pytest.raises(DataError, match="has changed"):
        refuse_other_images(run, reread(tmp_path, run))
