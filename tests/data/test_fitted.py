"""What was fitted is read back by its kind."""

import pytest

from jaxdl.data.fitted import from_json
from jaxdl.data.preprocess import Preprocess


def test_without_a_kind_it_is_a_standardisation():
    fitted = Preprocess((1.0, 2.0), (3.0, 4.0), 255.0)
    assert from_json(fitted.to_json()) == fitted
    assert from_json({**fitted.to_json(), "kind": "standardise"}) == fitted


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind of preprocessing 'magic'"):
        from_json({"kind": "magic"})
