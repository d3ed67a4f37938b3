"""`deploy-prune bundle`: what an app team drops in, made of finished runs; and what it holds, checked and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import Json, parse_names
from deploy_prune.cli.output import say, show_json, show_progress, show_table
from deploy_prune.errors import ConfigError, ParityFailed
from deploy_prune.stats import write_briefly

if TYPE_CHECKING:
    from deploy_prune.bundling.checking import BundleCheck
    from deploy_prune.bundling.comparing import Difference
    from deploy_prune.bundling.manifest import Manifest

Runs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RUN...", help="Finished runs, a variant each; the first is the fallback."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder that the bundle is written to.")]
AppKind = Annotated[str, typer.Option("--app", metavar="android|ios|both", help="What it is for.")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The bundle's name, and the AI pack's.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="SOC=RUN", help="Send devices of a system-on-chip that run; repeatable."),
]
Formats = Annotated[
    str | None,
    typer.Option("--format", metavar="NAMES", help="The formats that go in: tflite for Android, coreml and coreai."),
]
Licence = Annotated[str, typer.Option("--licence", metavar="TEXT", help="The licence of the weights.")]
Sign = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with an ed25519 key without a password (PEM).")
]
Check = Annotated[
    Path | None, typer.Option("--check", metavar="DIR", help="Read every byte of a bundle and run its golden pairs.")
]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="With --check: the public key that it must be signed by.")
]
Diff = Annotated[
    tuple[Path, Path] | None, typer.Option("--diff", metavar="OLD NEW", help="Show what two bundles have otherwise.")
]
APPS = {"android": ("android",), "ios": ("ios",), "both": ("android", "ios")}


def bundle(
    runs: Runs = None,
    out: Out = Path("bundle"),
    app: AppKind = "both",
    name: Name = "model",
    group: Groups = None,
    format_: Formats = None,
    licence: Licence = "not stated",
    sign: Sign = None,
    check: Check = None,
    key: Key = None,
    diff: Diff = None,
    as_json: Json = False,
) -> int:
    """Make a folder that an app team drops in, of the verified files of finished runs.

    It holds every file in the place where Android Studio or Xcode looks for it, loaders, golden pairs, and bundle.json,
    which says what every variant takes, gives, needs, costs and is worth. --check reads it all again.
    """
    if (runs, check, diff).count(None) != 2:
        raise ConfigError("which one is meant: RUN..., --check or --diff?", hint="give one of the three")
    if key is not None and check is None:
        raise ConfigError("--key is for --check; --sign takes the key that signs", hint="leave one of them out")
    if check is not None:
        return _check(check, key, as_json=as_json)
    if diff is not None:
        return _compare(*diff, as_json=as_json)
    from deploy_prune.bundling.bundle import bundle as make_bundle
    from deploy_prune.bundling.order import BundleOrder

    if app not in APPS:
        raise ConfigError(f"there is no app '{app}'", hint=f"choose among: {', '.join(APPS)}")
    order = BundleOrder(
        tuple(runs or ()), name, APPS[app], tuple(map(_parse_group, group or ())), parse_names(format_), licence, sign
    )
    with show_progress(as_json=as_json) as told:
        manifest = make_bundle(order, out, progress=told)
    if as_json:
        show_json(bundle=manifest)
    else:
        show_bundle(manifest, out)
    return 0


def _parse_group(text: str) -> tuple[str, Path]:
    name, given, run = text.partition("=")
    if not (given and run):
        raise ConfigError(f"--group '{text}' is not SOC=RUN", hint="such as Qualcomm_SM8750=runs/wide")
    return name, Path(run)


def show_bundle(manifest: Manifest, out: Path) -> None:
    """A row per variant and file."""
    rows = [
        (variant.name, file.format, f"{file.size_bytes / 1e6:.2f}", f"{variant.accuracy.value:.2%}",
         "; ".join(f"{write_briefly(each.value)} {each.unit}" for each in file.latency) or "-", file.path)
        for variant in manifest.variants
        for file in variant.files
    ]  # fmt: skip
    columns = ("variant", "format", "size MB", manifest.variants[0].accuracy.metric, "measured", "file")
    show_table(f"Bundle {manifest.name}", columns, rows)
    say(f"{len(manifest.files)} files in {out}; `deploy-prune bundle --check {out}` reads them again")


def _check(folder: Path, key: Path | None, *, as_json: bool) -> int:
    from deploy_prune.bundling.checking import check_bundle

    with show_progress(as_json=as_json) as told:
        result = check_bundle(folder, key=key, progress=told)
    if as_json:
        show_json(check=result, passed=result.passed)
    else:
        _show_check(result)
    return 0 if result.passed else ParityFailed.exit_code


def _show_check(result: BundleCheck) -> None:
    rows = [
        (row.variant, row.path, row.runtime, row.status, "-" if row.error is None else f"{row.error:.1e}",
         row.reason or "-")
        for row in result.rows
    ]  # fmt: skip
    signed = f"signed by {result.signed_by}" if result.signed_by else "not signed"
    show_table("Golden pairs", ("variant", "file", "runtime", "answers", "error", "reason"), rows)
    say(f"bundle {result.name}: {result.files} files as they were made, {signed}")


def _compare(old: Path, new: Path, *, as_json: bool) -> int:
    from deploy_prune.bundling.comparing import compare_bundles
    from deploy_prune.bundling.manifest import read_manifest

    differences = compare_bundles(read_manifest(old), read_manifest(new))
    if as_json:
        show_json(differences=differences)
    else:
        _show_differences(differences)
    return 0


def _show_differences(differences: tuple[Difference, ...]) -> None:
    if not differences:
        say("nothing is different")
        return
    rows = [(each.where, each.what, each.old or "-", each.new or "-") for each in differences]
    show_table("Differences", ("where", "what", "old", "new"), rows)
