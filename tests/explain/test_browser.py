"""The browser that opens the pages: what it reports of a page is what the page does."""

import numpy as np
import pytest

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A page</title><link rel="icon" href="data:,">
<style>
body { margin: 0; background: rgb(255, 255, 255); height: 2000px }
@media (prefers-color-scheme: dark) { body { background: rgb(0, 0, 0) } }
@media print { body { background: rgb(1, 2, 3) } }
</style>
<script>
let pressed = []
addEventListener("keydown", event => pressed.push(event.key))
</script>
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(PAGE, encoding="utf-8")
    return path


def background(browser):
    return browser.run("return getComputedStyle(document.body).backgroundColor")


def test_size_colour_scheme_and_print_are_those_asked_for(browser, page):
    for width, scheme, colour in [(1400, "light", "rgb(255, 255, 255)"), (400, "dark", "rgb(0, 0, 0)")]:
        browser.open(page, width=width, height=700, scheme=scheme)
        assert browser.run("return [innerWidth, innerHeight]") == [width, 700]
        assert background(browser) == colour
    browser.open(page, media="print")
    assert background(browser) == "rgb(1, 2, 3)"


def test_a_quiet_page_asks_for_its_own_file_alone(browser, page):
    browser.open(page)
    assert browser.requests() == [page.as_uri()]
    assert browser.console() == []


def test_requests_errors_and_messages_of_a_page_are_seen_until_the_next_is_opened(browser, page):
    browser.open(page)
    browser.run("console.log('said'); document.body.append(Object.assign(new Image(), {src: 'absent.png'}))")
    browser.run("setTimeout(() => { throw new Error('wrong') }, 0)")
    assert browser.run("return new Promise(done => setTimeout(() => done('later'), 100))") == "later"
    assert browser.requests() == [page.as_uri(), (page.parent / "absent.png").as_uri()]
    messages = "\n".join(browser.console())
    assert all(part in messages for part in ("said", "absent.png", "Error: wrong"))
    assert len(browser.requests()) == 2  # asked again, it has not forgotten
    browser.open(page)
    assert browser.requests() == [page.as_uri()]
    assert browser.console() == []


def test_keys_reach_the_page(browser, page):
    from selenium.webdriver import Keys

    browser.open(page)
    browser.press(Keys.ARROW_RIGHT, "p")
    assert browser.run("return pressed") == ["ArrowRight", "p"]


def test_a_screenshot_shows_the_whole_page_or_the_window(browser, page, tmp_path):
    import matplotlib.image

    browser.open(page, width=400, height=700, scheme="dark")
    for whole, height in [(True, 2000), (False, 700)]:
        browser.screenshot(tmp_path / "page.png", whole)
        pixels = matplotlib.image.imread(tmp_path / "page.png")
        assert pixels.shape[:2] == (height, 400)
        assert not np.any(pixels[..., :3])
