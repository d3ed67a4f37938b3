"""Makes a bundle of finished runs: their verified files in the forms that apps take, golden pairs, and a manifest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.bundling.apps import APPS, Draft, Placed, VariantPlace, list_places
from deploy_prune.bundling.golden import COLORS, IMAGES, answer, draw_pixels, find_constants, preprocess
from deploy_prune.bundling.manifest import (
    DIGEST,
    MANIFEST,
    SCHEMA_FILE,
    SIGNATURE,
    UNLISTED,
    Accuracy,
    FileRow,
    GoldenInputs,
    Group,
    ImageInput,
    Manifest,
    Origin,
    Output,
    Variant,
    read_manifest,
    write_manifest,
    write_schema,
)
from deploy_prune.bundling.readme import write_readme
from deploy_prune.bundling.runs import BundledRun, check_alike, read_run
from deploy_prune.bundling.signing import name_key, read_private_key
from deploy_prune.bundling.soc_groups import check_group
from deploy_prune.bundling.variant_files import describe_file
from deploy_prune.errors import ConfigError, DeployPruneError, InputError, StorageError
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.records import count_bytes, sha256, write_atomic
from deploy_prune.values import Progress, quiet
from deploy_prune.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOT_STATED = "not stated"
PIXELS, TAKEN = "golden/pixels.bin", "golden/input.bin"


@dataclass(frozen=True)
class BundleOrder:
    """What a bundle is made of."""

    runs: tuple[Path, ...]
    """Finished runs, a variant each; the first is the fallback. They are called after their folders."""
    name: str = "model"
    """The bundle's name, which is that of the AI pack."""
    apps: tuple[str, ...] = tuple(APPS)
    groups: tuple[tuple[str, Path], ...] = ()
    """System-on-chip -> the run among `runs` that its devices are sent."""
    formats: tuple[str, ...] | None = None
    """None: those that each kind of app usually takes."""
    licence: str = NOT_STATED
    """The licence of the weights."""
    signing_key: Path | None = None
    """A PEM file; None: the bundle is not signed."""


def bundle(order: BundleOrder, out: Path, *, progress: Progress = quiet) -> Manifest:
    """Make a bundle.

    Args:
        order: what goes into it.
        out: the folder that it is written to, all at once; one that is there must be a bundle, which it replaces.
        progress: told which variant is run on the golden images.

    Raises:
        ConfigError: a name, an app, a format or a group that cannot be.
        RecordError, InputError: a run is not finished, not verified, changed since, or no variant of the same task.
        MissingDependency: no file of a variant can be run here, or nothing signs.
        StorageError: the folder is somebody else's, or the disk refuses.
    """
    _check_order(order, out)
    key = read_private_key(order.signing_key) if order.signing_key else None
    runs = tuple(read_run(run, list_formats(order)) for run in order.runs)
    check_alike(runs)
    names = _name_variants(order.runs)
    taken, pixels = _describe_input(runs[0])
    inputs = preprocess(pixels, taken)
    answers = {}
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        answers[name] = _answer(run, pixels, inputs)
        progress("golden pairs", number + 1, len(runs))
    outputs = _describe_outputs(runs[0], answers[names[0]])
    golden = tuple(_place_golden(pixels, inputs, answers, outputs))
    by_folder = dict(zip(order.runs, names, strict=True))
    groups = tuple(Group(check_group(soc), by_folder[run]) for soc, run in order.groups)
    draft = Draft(order.name, dict(zip(names, runs, strict=True)), groups, golden, order.formats)
    written = _Written(draft, taken, outputs, order, key)
    write_atomic(out, written.write)
    return read_manifest(out)


def list_formats(order: BundleOrder) -> tuple[str, ...]:
    """The formats that go into a bundle.

    Raises:
        ConfigError: an app that there is not, or a format that none of the apps can run.
    """
    if unknown := [app for app in order.apps if app not in APPS]:
        raise ConfigError(f"there is no app '{unknown[0]}'", hint=f"choose among: {', '.join(APPS)}")
    if order.formats is None:
        return tuple(dict.fromkeys(each for app in order.apps for each in APPS[app].formats))
    runnable = {each for app in order.apps for each in APPS[app].runnable}
    if unknown := [each for each in order.formats if each not in runnable]:
        hint = f"choose among: {', '.join(sorted(runnable))}"
        raise ConfigError(f"no {' or '.join(order.apps)} app runs '{unknown[0]}' files", hint=hint)
    return order.formats


def _check_order(order: BundleOrder, out: Path) -> None:
    if not order.runs:
        raise ConfigError("a bundle of no run", hint="name one run folder or several")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", order.name):
        hint = "letters, digits and _, a letter first: it names an Android module"
        raise ConfigError(f"'{order.name}' is no name of a bundle", hint=hint)
    if strangers := [run for _, run in order.groups if run not in order.runs]:
        raise ConfigError(
            f"a group is sent {strangers[0]}, which is not in the bundle", hint="name it as a run as well"
        )
    if out.exists() and not (out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir()))):
        raise StorageError(f"{out} is there already, and no bundle", hint="choose another --out")


def _name_variants(runs: Sequence[Path]) -> list[str]:
    """The variants' names: those of their folders, in letters that every system takes.

    Raises:
        ConfigError: two are called the same.
    """
    names = [re.sub(r"[^A-Za-z0-9_.-]+", "-", run.resolve().name).strip("-.") or "variant" for run in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"two runs are called '{twice}'", hint="rename one of the folders")
    return names


def _describe_input(run: BundledRun) -> tuple[ImageInput, np.ndarray]:
    channels, height, width = run.files[0].artifact.input_shape
    assert run.form.normalisation
    (name,) = give_names("input", run.form.input_names, 1)
    shape = (channels, height, width)
    colors = COLORS.get(channels, f"{channels} channels")
    return ImageInput(name, shape, colors, *find_constants(run.form.normalisation)), draw_pixels(shape)


def _describe_outputs(run: BundledRun, answers: Sequence[np.ndarray]) -> tuple[Output, ...]:
    names = give_names("output", run.form.output_names, len(answers))
    return tuple(Output(name, tuple(each.shape[1:])) for name, each in zip(names, answers, strict=True))


def _answer(run: BundledRun, pixels: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the verified file that is closest to the network answers, of those that can be run here.

    Raises:
        InputError: none of them can, with each reason.
    """
    reasons = []
    for file in sorted(run.files, key=lambda each: each.parity.max_error):
        artifact = file.artifact
        assert artifact.layout
        try:
            return answer(Path(artifact.path), artifact.runtime, pixels=pixels, taken=inputs, layout=artifact.layout,
                          baked=artifact.baked)  # fmt: skip
        except DeployPruneError as error:
            reasons.append(f"{Path(artifact.path).name}: {error.message}")
    hint = "install its runtime: `deploy-prune doctor` says how"
    raise InputError(f"no file of {run.folder} can be run here ({'; '.join(reasons)})", hint=hint)


def _place_golden(
    pixels: np.ndarray, inputs: np.ndarray, answers: Mapping[str, Sequence[np.ndarray]], outputs: Sequence[Output]
) -> Iterator[Placed]:
    yield Placed(PIXELS, pixels.tobytes())
    yield Placed(TAKEN, inputs.astype("<f4").tobytes())
    for name, arrays in answers.items():
        for path, array in zip(_name_golden(name, outputs), arrays, strict=True):
            yield Placed(path, array.astype("<f4").tobytes())


def _name_golden(variant: str, outputs: Sequence[Output]) -> tuple[str, ...]:
    return tuple(f"golden/{variant}/{output.name}.bin" for output in outputs)


@dataclass(frozen=True)
class _Written:
    """A bundle that is about to be written."""

    draft: Draft
    taken: ImageInput
    outputs: tuple[Output, ...]
    order: BundleOrder
    key: Ed25519PrivateKey | None

    def write(self, folder: Path) -> None:
        """Write everything to a new folder, the manifest last."""
        apps = [APPS[app] for app in self.order.apps]
        places = [place for app in apps for place in list_places(app, self.draft)]
        for placed in (*self.draft.golden, *(each for app in apps for each in app.place(self.draft))):
            _put(folder, placed)
        for place in places:
            _put(folder, Placed(place.path, Path(place.file.artifact.path)))
        _put(folder, Placed(SCHEMA_FILE, write_schema()))
        manifest = self._describe(places, ())
        _put(folder, Placed("README.md", write_readme(manifest, self.order.apps).encode()))
        content = write_manifest(self._describe(places, _list_files(folder)))
        copies = [copy for app in apps for copy in app.manifests(self.draft)]
        for copy in ("", *(f"{copy}/" for copy in copies)):
            _put(folder, Placed(f"{copy}{MANIFEST}", content))
            if self.key:
                _put(folder, Placed(f"{copy}{SIGNATURE}", self.key.sign(content)))
        _put(folder, Placed(DIGEST, f"{sha256(folder / MANIFEST)}  {MANIFEST}\n".encode()))

    def _describe(self, places: Sequence[VariantPlace], files: tuple[FileRow, ...]) -> Manifest:
        first = next(iter(self.draft.variants.values()))
        return Manifest(
            schema=1,
            name=self.draft.name,
            deploy_prune=__version__,
            labels=first.form.labels,
            fallback=self.draft.fallback,
            signed_by=name_key(self.key) if self.key else "",
            input=self.taken,
            outputs=self.outputs,
            golden=GoldenInputs(IMAGES, PIXELS, TAKEN),
            groups=self.draft.groups,
            variants=tuple(self._describe_variant(name, places) for name in self.draft.variants),
            files=files,
        )

    def _describe_variant(self, name: str, places: Sequence[VariantPlace]) -> Variant:
        run = self.draft.variants[name]
        network, quality = run.files[0].artifact.network, run.quality
        return Variant(
            name=name,
            network=Origin(network.address, network.digest),
            accuracy=Accuracy(quality.name, quality.value, quality.interval, quality.items),
            licence=self.order.licence,
            weights=run.weights,
            golden=_name_golden(name, self.outputs),
            files=tuple(describe_file(place.file, place.path) for place in places if place.variant == name),
        )


def _put(folder: Path, placed: Placed) -> None:
    path = folder / placed.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(placed.content, bytes):
        path.write_bytes(placed.content)
    elif placed.content.is_dir():
        shutil.copytree(placed.content, path)
    else:
        shutil.copyfile(placed.content, path)


def _list_files(folder: Path) -> tuple[FileRow, ...]:
    files = sorted((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())
    return tuple(FileRow(path, sha256(file), count_bytes(file)) for path, file in files if file.name not in UNLISTED)
