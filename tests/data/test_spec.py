"""Declared layouts: what passes, and what one reads when it doesn't."""

import jax
import numpy as np
import pytest

from jaxdl.data import Spec, check, from_arrays
from jaxdl.data.spec import layout_of

IMAGES = Spec("BHWC", (8, 8, 1), "uint8")
LABELS = Spec("B", (), "int32")


def _batch(shape=(4, 8, 8, 1), dtype=np.uint8, labels=4):
    return {"inputs": np.zeros(shape, dtype), "targets": np.zeros(labels, np.int32)}


def test_declared_batches_pass():
    check(_batch(), {"inputs": IMAGES, "targets": LABELS})
    check(
        {"inputs": jax.ShapeDtypeStruct((2, 7, 3), "float32")},
        {"inputs": Spec("BTF", (None, 3))},
    )
    check(
        {"inputs": np.zeros((2, 5, 4, 4, 3))},
        {"inputs": Spec("BTHWC", (None, 4, 4, 3))},
    )
    check({"inputs": np.zeros((2, 6))}, {"inputs": Spec("BF", (6,), "float64")})


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            _batch((4, 8, 8)),
            r"inputs is uint8 \[4, 8, 8\] with 3 axes; .* has 4 .*channels",
        ),
        (_batch((4, 8, 9, 1)), "its width axis has 9, expected 8"),
        (
            _batch(dtype=np.float32),
            r"inputs is float32 .*expected uint8 \[batch, 8, 8, 1\]",
        ),
        (_batch(labels=3), "differ in examples: inputs 4, targets 3"),
        ({"targets": np.zeros(3, np.int32)}, "has no 'inputs', it has targets"),
    ],
)
def test_what_differs_is_said_in_one_line(batch, message):
    with pytest.raises(ValueError, match=message) as caught:
        check(batch, {"inputs": IMAGES, "targets": LABELS})
    assert "\n" not in str(caught.value)


def test_a_spec_must_be_sound():
    with pytest.raises(ValueError, match="layout 'BCHW' is unknown"):
        Spec("BCHW", (1, 8, 8))
    with pytest.raises(ValueError, match="has 3 axes after the example axis"):
        Spec("BHWC", (8, 8))
    with pytest.raises(ValueError, match="have 5 axes"):
        layout_of((1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((), "B"),
        ((3,), "BF"),
        ((4, 3), "BTF"),
        ((8, 8, 1), "BHWC"),
        ((2, 8, 8, 1), "BTHWC"),
    ],
)
def test_a_data_set_declares_its_own(shape, layout):
    dataset = from_arrays(np.random.rand(20, *shape), np.arange(20) % 2)
    assert dataset.spec["inputs"] == Spec(layout, shape, "float32")
    check(dataset.train.fetch(np.arange(5)), dataset.spec)
