"""Core ML's ML programs read from saved packages and evaluated with numpy, so that they can be verified anywhere."""

from __future__ import annotations

from deploy_prune.formats.mil.evaluation import Evaluator as Evaluator
from deploy_prune.formats.mil.package import read_about as read_about
from deploy_prune.formats.mil.package import read_package as read_package
