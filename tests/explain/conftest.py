import pytest

from tests.browser import Browser, missing


def pytest_collection_modifyitems(items):
    """Mark the tests that open a page."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser():
    """A browser for all tests of this folder: see tests/browser.py."""
    if reason := missing():
        pytest.skip(reason)
    found = Browser()
    yield found
    found.quit()
