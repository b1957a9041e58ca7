"""A real browser for tests of pages: Debian's chromium without a window, driven by selenium.

A test that takes the fixture ``browser`` (tests/explain/conftest.py) is marked ``browser`` and ``slow``, and is skipped
where chromium, its driver or selenium is missing::

    def test_page(browser, tmp_path):
        browser.open(page, width=400, scheme="dark")
        browser.run("document.querySelector('button').click()")
        assert browser.requests() == [page.as_uri()]
        assert browser.console() == []
        browser.screenshot(tmp_path / "page.png")
"""

import base64
import importlib.util
import json
import shutil

CHROMIUM = "chromium", "chromium-browser", "google-chrome"
PHONE = 600  # pixels: a narrower window behaves like a phone's


def missing():
    """What a browser would need that is not installed, or None."""
    if importlib.util.find_spec("selenium") is None:
        return "selenium is not installed: pip install '.[browser]'"
    if not any(map(shutil.which, CHROMIUM)):
        return "chromium is not installed: apt-get install chromium chromium-driver"
    if not shutil.which("chromedriver"):
        return "chromedriver is not installed: apt-get install chromium-driver"
    return None


class Browser:
    """A browser that is started once and opens one page after the other. Close it with :meth:`quit`.

    Attributes
    ----------
    driver : selenium.webdriver.Chrome
        For all that the methods do not do.
    """

    def __init__(self):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, CHROMIUM)))
        for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
            options.add_argument(f"--{argument}")  # root cannot have the sandbox, and containers have a small /dev/shm
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self._events, self._console = [], []

    def open(self, path, width=1400, height=900, scheme="light", media="screen", reduced_motion=False):
        """Open a file. The logs begin anew.

        Parameters
        ----------
        path : Path
        width, height : int
            Of the window's inside, in pixels.
        scheme : {"light", "dark"}
        media : {"screen", "print"}
        reduced_motion : bool
        """
        self.driver.get("about:blank")
        self.resize(width, height)
        features = {"color-scheme": scheme, "reduced-motion": "reduce" if reduced_motion else "no-preference"}
        values = [{"name": f"prefers-{name}", "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", media=media, features=values)
        self._read_logs()
        self._events, self._console = [], []
        self.driver.get(path.resolve().as_uri())

    def resize(self, width, height=900):
        """Set the size of the window's inside."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE}
        self.command("Emulation.setDeviceMetricsOverride", **size)

    def command(self, name, **parameters):
        """Send a command of the DevTools protocol, and return what it answers."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script, *arguments):
        """Run JavaScript in the page. What it returns comes back as Python's numbers, texts, lists and dicts."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        """The first element of a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def press(self, *keys):
        """Press keys one after the other in the element that has the focus, such as ``Keys.ARROW_RIGHT``."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def requests(self):
        """Address of every request since the page was opened, in order, its own first; without ``data:``."""
        self._read_logs()
        sent = [event["params"] for event in self._events if event["method"] == "Network.requestWillBeSent"]
        addresses = [each["request"]["url"] for each in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def console(self):
        """Every message of the console since the page was opened, uncaught errors included."""
        self._read_logs()
        return [entry["message"] for entry in self._console]

    def screenshot(self, path, whole=True):
        """Write a PNG of the whole page, or of what the window shows."""
        taken = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def quit(self):
        """Stop the browser and its driver."""
        self.driver.quit()

    def _read_logs(self):
        """Take what is new in the logs: the driver gives every entry once."""
        entries = self.driver.get_log("performance")
        self._events += [json.loads(entry["message"])["message"] for entry in entries]
        self._console += self.driver.get_log("browser")
