"""How the pages of docs/ are run: what differs is told with page and line."""

import pytest

from tests.pages import run_blocks

PAGE = """\
# A page

<!-- derivation -->
```python
not_python(
```

```python
print(1 + 1)
```

```text
{output}
```
"""


def test_an_output_that_differs_is_told_with_page_and_line():
    run_blocks(PAGE.format(output="2"), "a.md")
    with pytest.raises(AssertionError, match=r"^a\.md, line 12: the program above prints\n2\n"):
        run_blocks(PAGE.format(output="3"), "a.md")
    with pytest.raises(AssertionError, match=r"^a\.md, line 3: python and text blocks take turns"):
        run_blocks("# A page\n\n```text\n2\n```\n", "a.md")
    with pytest.raises(AssertionError, match=r"^a\.md: the last program has no text block"):
        run_blocks("```python\nx = 1\n```\n", "a.md")
    with pytest.raises(ZeroDivisionError) as caught:
        run_blocks("# A page\n\n```python\n1 / 0\n```\n", "a.md")
    assert caught.traceback[-1].lineno == 3  # from 0: line 4 of the page
