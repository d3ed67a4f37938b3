"""How large the page of a front of three budgets is, and how soon a browser shows it.

    python -m benchmarks.page [FRONT]

Without a folder a front is made: the demo's network on digits, trained for two epochs, at three budgets in MACs. The
page is opened five times in headless Chromium (Debian's `chromium` and `chromium-driver`); the median time until the
first contentful paint counts, from the start of the navigation. An idle machine, which timing needs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.recording import write
from deploy_prune.analysis.page.writing import write_page

OPENINGS = 5
LIMITS = {"size_bytes": 6_000_000, "first_paint_ms": 1000.0}
"""Our own limits."""
ASKED = ("mobilenet_v2", "--option", "setting=small", "--option", "width=1.5", "--data", "digits", "--method", "obs",
         "--budget", "0.7x,0.5x,0.35x", "--no-finetune", "--target", "tflite,onnx")  # fmt: skip
PAINT = "return performance.getEntriesByName('first-contentful-paint').map((each) => each.startTime)"


def main() -> int:
    """Take the figures and write them; exits 1 where one is over its limit."""
    with tempfile.TemporaryDirectory() as scratch:
        front = Path(sys.argv[1]) if len(sys.argv) > 1 else _make_front(Path(scratch) / "front")
        file = write_page(front, Path(scratch) / "page.html")
        result: dict[str, Any] = {"limits": LIMITS, "size_bytes": file.stat().st_size}
        with open_browser() as browser:
            result["browser"] = browser.capabilities["browserVersion"]
            result["paints_ms"] = [_open_ms(browser, file) for _ in range(OPENINGS)]
    result["first_paint_ms"] = median(result["paints_ms"])
    print(write("page", "python -m benchmarks.page", result, ("plotly", "jinja2")))
    return int(any(result[name] > limit for name, limit in LIMITS.items()))


def _make_front(folder: Path) -> Path:
    argv = [sys.executable, "-m", "deploy_prune", "prune", *ASKED, "--out", str(folder)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return folder


@contextmanager
def open_browser() -> Iterator[Any]:
    """Headless Chromium with its driver."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver"))
    try:
        yield opened
    finally:
        opened.quit()


def _open_ms(browser: Any, file: Path) -> float:
    """Milliseconds until a fresh tab shows something of the page."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.switch_to.new_window("tab")
    browser.get(file.as_uri())
    (painted,) = WebDriverWait(browser, 20).until(lambda _: browser.execute_script(PAINT))
    return float(painted)


if __name__ == "__main__":
    sys.exit(main())
