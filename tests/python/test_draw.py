"""The page of sy_draw() in a real browser: a digit drawn with the mouse comes back, and the workers see noise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from syfr.hosts import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 60
HAS_PAGE = "quit(status = !(requireNamespace('shiny', quietly = TRUE) && requireNamespace('syfr', quietly = TRUE)))"
CONNECTED = "return Boolean(window.Shiny && Shiny.shinyapp && Shiny.shinyapp.isConnected())"
SHADES = """
const canvas = document.getElementById(arguments[0]);
const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return Array.from({length: data.length / 4}, (_, i) => 255 - data[4 * i]);
"""
STROKES = {
    "7": [[(-70, -90), (70, -90), (30, -20), (-10, 50), (-30, 100)]],
    "4": [[(-40, -100), (-60, 0), (70, 0)], [(40, -60), (30, 20), (25, 110)]],
}


@pytest.fixture
def page(root: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of the page, and the R session that serves it with a cluster of its own."""
    environment = {**os.environ, "RETICULATE_PYTHON": sys.executable}
    environment.setdefault("R_LIBS", str(root / ".rlib"))
    rscript = shutil.which("Rscript")
    if rscript is None or subprocess.run([rscript, "-e", HAS_PAGE], env=environment, timeout=SECONDS).returncode != 0:
        pytest.skip("There is no R with the packages syfr and shiny here.")
    (port,) = free_ports(1)
    code = f"syfr::sy_draw(port = {port}, launch_browser = FALSE)"
    command = [rscript, "-e", code]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as session:
        try:
            assert session.stdout is not None
            said = []
            for line in session.stdout:
                said.append(line)
                if "Listening on" in line:
                    break
            else:
                pytest.fail("".join(said))
            yield f"http://127.0.0.1:{port}", session
        finally:
            session.kill()


@pytest.fixture
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed.")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("There is no chromium with its chromedriver here.")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # The sandbox cannot be had as root, nor in most containers; the only page is ours.
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,760"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chromium
    finally:
        chromium.quit()


def test_a_digit_drawn_with_the_mouse(page: tuple[str, subprocess.Popen[str]], browser: Any) -> None:
    """The digit comes back; what each worker has of it looks like noise; closing the page ends the call."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    address, session = page
    browser.get(address)
    wait = WebDriverWait(browser, SECONDS)
    wait.until(lambda browser: browser.execute_script(CONNECTED))
    pad = browser.find_element(By.ID, "pad")

    def text(name: str) -> str:
        return str(browser.find_element(By.ID, name).text)

    def shades(name: str) -> Any:
        return np.array(browser.execute_script(SHADES, name), dtype=float)

    views = []
    for digit, strokes in STROKES.items():
        browser.find_element(By.ID, "clear").click()
        assert text("label").strip() == ""
        for first, *others in strokes:
            hand = ActionChains(browser, duration=20).move_to_element_with_offset(pad, *first).click_and_hold()
            for point in others:
                hand.move_to_element_with_offset(pad, *point)
            hand.release().perform()
        wait.until(lambda _: text("label").strip())
        assert text("label").startswith(f"{digit} with probability"), text("label")
        assert text("note").startswith("Answered in")
        drawn = shades("sent")
        assert drawn.max() > 200
        for role in ("server0", "server1", "server2"):
            seen = shades(role)
            assert seen.std() > 50
            # Chance gives 1/28 or so.
            assert abs(np.corrcoef(drawn, seen)[0, 1]) < 0.25
            views.append(seen)
    # server0 and server1 hold the same masked digit; another digit has other masks.
    assert np.array_equal(views[0], views[1])
    assert abs(np.corrcoef(views[0], views[3])[0, 1]) < 0.25
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []

    browser.get("about:blank")
    assert session.wait(SECONDS) == 0
