import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention._json import plain, to_json
from numpy_attention._text import printable


def test_plain_numbers_can_be_written_and_read_again():
    found = plain(
        {0.5: np.array([[1.5, np.nan], [np.inf, -np.inf]]), "n": np.int64(3), "s": "x", "b": True, "none": None}
    )
    assert found == {"0.5": [[1.5, None], ["inf", "-inf"]], "n": 3, "s": "x", "b": True, "none": None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(st.lists(st.text(st.characters() | st.sampled_from("\x1b\x7f\x9b\u2028\u202e\ud800"))))
def test_any_text_comes_back_and_cannot_steer_a_terminal(texts):
    assert json.loads(to_json(texts)) == json.loads(to_json(texts, indent=1)) == texts
    assert to_json(texts) == printable(to_json(texts))
    assert "".join(map(printable, to_json(texts, indent=1).split("\n"))) == to_json(texts, indent=1).replace("\n", "")
