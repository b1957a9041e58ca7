import json

import numpy as np

from numpy_attention._json import plain


def test_plain_numbers_can_be_written_and_read_again():
    found = plain(
        {0.5: np.array([[1.5, np.nan], [np.inf, -np.inf]]), "n": np.int64(3), "s": "x", "b": True, "none": None}
    )
    assert found == {"0.5": [[1.5, None], ["inf", "-inf"]], "n": 3, "s": "x", "b": True, "none": None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
