import numpy as np

from numpy_attention.views.html import attention_html


def test_words_are_escaped_and_so_are_control_characters():
    html = attention_html(np.eye(2), ["<b>", "\x1b[31m"], ["&", "\x00"], "& \ud800\x00")
    assert "&lt;b&gt;" in html
    assert r"\x1b[31m" in html
    assert r"<p>&amp; \ud800\x00</p>" in html
    assert html.isprintable()
    assert html.encode()
