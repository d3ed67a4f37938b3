"""Pages in a real browser: nothing fails in its console, figures are drawn, hover and filter work, no name is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, make_front, make_run

from deploy_prune.analysis.page.writing import write_page

pytestmark = pytest.mark.heavy
selenium = pytest.importorskip("selenium", reason="selenium is not installed")
SIZES = ((1400, 900), (390, 844))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with its driver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--force-prefers-reduced-motion"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def show(browser: Any, file: Path, size: tuple[int, int] = SIZES[0]) -> None:
    browser.get_log("browser")
    browser.set_window_size(*size)
    browser.get(file.as_uri())


def draw_all(browser: Any) -> int:
    """Bring every figure into view: how many are there."""
    from selenium.webdriver.support.ui import WebDriverWait

    charts = browser.find_elements("css selector", ".chart")
    for chart in charts:
        browser.execute_script("arguments[0].scrollIntoView()", chart)
        WebDriverWait(browser, 20).until(lambda _, c=chart: c.get_attribute("data-drawn"))
        assert chart.find_elements("css selector", "svg.main-svg"), chart.get_attribute("data-chart")
    return len(charts)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("make", "charts"), [(make_run, 6), (make_front, 4)])
def test_every_figure_is_drawn_and_the_console_is_silent(
    make: Any, charts: int, size: tuple[int, int], browser: Any, tmp_path: Path
) -> None:
    show(browser, write_page(make(tmp_path)), size)
    assert draw_all(browser) == charts
    assert browser.get_log("browser") == []
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "the page scrolls sideways"
    if kept := os.environ.get("SCREENSHOTS"):
        keep_screenshot(browser, Path(kept) / f"{make.__name__}-{size[0]}.png", size)


def keep_screenshot(browser: Any, file: Path, size: tuple[int, int]) -> None:
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_script("window.scrollTo(0, 0)")
    browser.set_window_size(size[0], min(height, 12_000))
    file.parent.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(file))


def test_the_pointer_on_a_point_shows_its_plan(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    show(browser, write_page(make_front(tmp_path)))
    draw_all(browser)
    point = browser.find_elements("css selector", "[data-chart=front] .scatterlayer .point")[-1]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)

    def hovered(_: Any) -> str:
        ActionChains(browser).move_to_element(point).move_by_offset(1, 0).perform()
        return "".join(each.text for each in browser.find_elements("css selector", ".hoverlayer text"))

    assert "groups cut" in WebDriverWait(browser, 20).until(hovered)


def test_the_filter_leaves_the_rows_that_were_asked_for(browser: Any, tmp_path: Path) -> None:
    show(browser, write_page(make_front(tmp_path, tuple(f"{number}ms" for number in range(12, 1, -1)))))
    filters = browser.find_elements("css selector", ".filter input")
    assert not filters, "a short table needs none"
    run = make_run(tmp_path / "run")
    asked = {f"key{number}": str(number) for number in range(20)}
    from deploy_prune.records import write_record

    write_record(run / "run.json", {"model": "net", "data": "digits", **asked}, dict)
    show(browser, write_page(run))
    for each in browser.find_elements("css selector", "details > summary"):
        each.send_keys("\n")  # as from the keyboard
    (field,) = browser.find_elements("css selector", ".filter input")
    field.send_keys("key1")
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#again tbody tr')].filter((row) => row.checkVisibility()).length"
    )
    assert shown == 11
    assert "11 of 22" in field.find_element("xpath", "..").text


def test_dark_and_light_are_told_apart(browser: Any, tmp_path: Path) -> None:
    file = write_page(make_run(tmp_path))
    seen = []
    for scheme in ("light", "dark"):
        wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
        show(browser, file)
        draw_all(browser)
        ink = "getComputedStyle(document.querySelector('.chart .xtitle, .chart .gtitle')).fill"
        paper = "getComputedStyle(document.body).backgroundColor"
        seen.append(browser.execute_script(f"return [{paper}, {ink}]"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    (light, dark_on_light), (dark, light_on_dark) = seen
    assert light != dark
    assert dark_on_light != light_on_dark


def test_hostile_names_are_shown_and_never_run(browser: Any, tmp_path: Path) -> None:
    file = write_page(make_run(tmp_path, name=HOSTILE))
    show(browser, file)
    draw_all(browser)
    assert browser.title.startswith("net.py:<img")
    assert browser.get_log("browser") == []
    assert not browser.find_elements("css selector", "img")
