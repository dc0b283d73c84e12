"""Operations are those of the definitions, and a peak is measured once."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from jaxdl import kernels
from jaxdl.runs import arithmetic


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_products_count_two_operations_a_term_forward_and_backward():
    def loss(weights, inputs):
        return jnp.sum(inputs @ weights)

    forward = 2 * 5 * 7 * 3
    assert arithmetic.operations(loss, shape(7, 3), shape(5, 7)) == forward
    slopes = jax.grad(loss, argnums=(0, 1))
    # The loss is not needed for its slopes, but XLA may drop that, not the jaxpr.
    found = arithmetic.operations(slopes, shape(7, 3), shape(5, 7))
    assert found in (2 * forward, 3 * forward)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_count_each_output_by_its_window(groups):
    def convolve(kernel, images):
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    found = arithmetic.operations(
        convolve, shape(3, 3, 4 // groups, 8), shape(2, 6, 6, 4)
    )
    assert found == 2 * (2 * 4 * 4 * 8) * (3 * 3 * 4 // groups)


@pytest.mark.usefixtures("compiled")
def test_what_compiled_kernels_do_counts_too():
    window = kernels.Window(1, 1, 0, 0)

    def convolve(x, kernel):
        return jnp.sum(kernels.convolve(x, kernel, window, (4, 4)))

    forward = 2 * (2 * 4 * 4 * 8) * (3 * 3 * 4)
    sizes = shape(2, 6, 6, 4), shape(3, 3, 4, 8)
    assert arithmetic.operations(convolve, *sizes) == forward
    slopes = jax.grad(convolve, argnums=(0, 1))
    assert arithmetic.operations(slopes, *sizes) in (2 * forward, 3 * forward)
    product = arithmetic.operations(kernels.product, shape(5, 7), shape(7, 3))
    assert product == 2 * 5 * 7 * 3
    heads = shape(2, 5, 3, 4)
    attend = partial(kernels.attend, causal=True)
    found = arithmetic.operations(lambda q, k: attend(q, k, k), heads, heads)
    assert found == 2 * 2 * (2 * 5 * 5 * 3 * 4)


def test_a_loop_counts_as_often_as_it_runs_and_the_dearer_branch_counts():
    def repeated(weights, inputs):
        def body(carry, _):
            return jnp.tanh(carry @ weights), None

        return jax.lax.scan(body, inputs, length=6)[0]

    once = 2 * 5 * 4 * 4
    assert arithmetic.operations(repeated, shape(4, 4), shape(5, 4)) == 6 * once

    def either(weights, inputs):
        return jax.lax.cond(
            inputs[0, 0] > 0, lambda: inputs @ weights, lambda: inputs + 1.0
        )

    assert arithmetic.operations(either, shape(4, 4), shape(5, 4)) == once
    alike = jax.vmap(repeated, in_axes=(0, None))
    found = arithmetic.operations(alike, shape(3, 4, 4), shape(5, 4))
    assert found == 3 * 6 * once


def test_a_peak_is_kept_and_measured_again_where_a_run_was_faster(
    tmp_path, monkeypatch
):
    measured = iter([2e11, 3e11])
    monkeypatch.setattr(arithmetic, "_measured", lambda *_: next(measured))
    monkeypatch.setattr(arithmetic, "_place", lambda: tmp_path / "peak.json")
    devices = jax.devices()[:1]
    assert arithmetic.peak(devices, most=1e10) == 2e11
    assert arithmetic.peak(devices, most=1.9e11) == 2e11
    assert arithmetic.peak(devices, most=2.5e11) == 3e11
    assert arithmetic.peak(devices, most=2.9e11) == 3e11
    (tmp_path / "peak.json").write_text(json.dumps(["broken"]))
    monkeypatch.setattr(arithmetic, "_measured", lambda *_: 4e11)
    assert arithmetic.peak(devices) == 4e11


def test_without_a_measure_there_is_no_peak(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(arithmetic, "_measured", fails)
    monkeypatch.setattr(arithmetic, "_place", lambda: tmp_path / "peak.json")
    assert arithmetic.peak(jax.devices()[:1]) is None
