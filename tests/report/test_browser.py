"""The page in a real browser: quiet console, keyboard, narrow windows, print. Needs Chromium and its driver."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import report
from holdfast.results import Comparison, Evaluation

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
KEYS = {"tab": "\ue004", "enter": "\ue007", "end": "\ue010", "home": "\ue011", "right": "\ue014", "down": "\ue015"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium, or a skip that says what is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra: test)")
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no browser: needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def pages(
    three_models: tuple[Evaluation, ...],
    make_evaluation: Any,
    make_history: Any,
    make_diagnostics: Any,
    comparison: Comparison,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Addresses of pages: three models with their training, one model of tables with many classes, a comparison."""
    folder: Path = tmp_path_factory.mktemp("pages")
    histories = {e.run: make_history(seed=e.seed) for e in three_models if e.run}
    table = make_evaluation(
        "a_model_with_a_rather_long_name", shape=(12,), classes=tuple(f"class {i}" for i in range(40))
    )
    diagnostics = {e.run: make_diagnostics(e.model, e.seed) for e in three_models if e.run}
    report.write(three_models, histories, folder / "three.html", diagnostics=diagnostics)
    report.write([table], {}, folder / "table.html")
    report.write_comparison(comparison, folder / "comparison.html")
    return {path.stem: path.as_uri() for path in folder.iterdir()}


def shown(browser: Any, css: str) -> list[dict[str, str]]:
    """The data attributes of the visible elements that match."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.offsetParent).map(e => ({...e.dataset}))"
    )
    return list(browser.execute_script(script, css))


def press(browser: Any, *keys: str) -> None:
    """Type into whatever has the focus."""
    browser.switch_to.active_element.send_keys("".join(KEYS.get(key, key) for key in keys))


def focus(browser: Any, css: str) -> None:
    """Go to an element with the tabulator alone, as a reader without a mouse does."""
    browser.execute_script("document.activeElement.blur()")
    for _ in range(200):
        press(browser, "tab")
        if browser.execute_script("return document.activeElement.matches(arguments[0])", css):
            return
    raise AssertionError(f"{css} cannot be reached by keyboard")


@pytest.mark.parametrize("name", ["three", "table", "comparison"])
def test_the_page_is_quiet_and_asks_for_nothing(browser: Any, pages: dict[str, str], name: str) -> None:
    browser.get(pages[name])
    assert browser.get_log("browser") == []
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [address for address in asked if not address.startswith("data:")] == []
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0


@pytest.mark.parametrize("name", ["three", "table", "comparison"])
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, pages: dict[str, str], name: str, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(pages[name])
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    content, window = browser.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert window > width - 20
    assert content <= window


def test_the_gallery_filters_by_keyboard(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["three"])
    cards = browser.execute_script("return [...document.querySelectorAll('.card')].map(e => ({...e.dataset}))")
    assert len(cards) == 180
    assert len(shown(browser, ".card")) == 12
    wanted = {"outcome": "broken", "attack": "apgd-t", "model": "trades"}
    for name, value in wanted.items():
        focus(browser, f"select[name={name}]")
        press(browser, *value)
    fitting = [card for card in cards if all(card[name] == value for name, value in wanted.items())]
    assert 0 < len(fitting) < 12
    assert shown(browser, ".card") == fitting
    told = browser.find_element("css selector", "#filters output")
    assert told.text == f"{len(fitting)} of {len(fitting)} shown"
    focus(browser, "button[type=reset]")
    press(browser, "enter")
    browser.execute_async_script("setTimeout(arguments[0], 20)")
    assert len(shown(browser, ".card")) == 12
    focus(browser, "#more")
    press(browser, "enter")
    assert shown(browser, ".card") == cards
    assert browser.execute_script("return document.activeElement.matches('.card:nth-child(13)')")


def test_no_match_is_said(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["three"])
    for name, value in {"outcome": "misclassified", "attack": "square"}.items():
        focus(browser, f"select[name={name}]")
        press(browser, *value)
    assert shown(browser, ".card") == []
    assert browser.find_element("css selector", "#filters output").text == "No example fits"


def test_tabs_move_by_arrow_keys(browser: Any, pages: dict[str, str]) -> None:
    visible = "return [...document.querySelectorAll('.panel')].filter(e => e.offsetParent).map(e => e.id)"
    browser.get(pages["three"])
    assert browser.execute_script(visible) == ["panel-0"]
    focus(browser, "[role=tab]")
    press(browser, "right")
    assert browser.execute_script(visible) == ["panel-1"]
    press(browser, "end")
    assert browser.execute_script(visible) == ["panel-2"]
    press(browser, "right")
    assert browser.execute_script(visible) == ["panel-0"]
    assert browser.switch_to.active_element.get_attribute("aria-selected") == "true"


def test_training_over_seconds(browser: Any, pages: dict[str, str]) -> None:
    visible = (
        "return [...document.querySelectorAll('[class^=over-]')].filter(e => e.offsetParent).map(e => e.className)"
    )
    browser.get(pages["three"])
    assert browser.execute_script(visible) == ["over-epochs"]
    focus(browser, "#over-epochs")
    press(browser, "right")
    assert browser.execute_script(visible) == ["over-seconds"]


def test_the_page_prints_all_models_without_controls(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["three"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    panels, controls = len(shown(browser, ".panel")), len(shown(browser, "nav, .tabs, .filters, #more"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (panels, controls) == (3, 0)


def test_light_and_dark(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["three"])
    grounds = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds == ["rgb(252, 252, 250)", "rgb(20, 22, 25)"]


def test_without_scripts_everything_is_open(browser: Any, pages: dict[str, str]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(pages["three"])
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert (len(shown(browser, ".panel")), len(shown(browser, ".card"))) == (3, 180)
    assert shown(browser, ".filters, .tabs") == []
