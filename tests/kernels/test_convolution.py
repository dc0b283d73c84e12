"""The compiled convolution equals the compiler's, in value and all derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from jaxdl.layers import Conv, ConvTranspose
from jaxdl.layers.convolution import COMPILED, XLA, Geometry, convolve
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Images, height, width, channels in and out, window, strides, pads. Between them: more
# and fewer pixels and channels than a tile of registers holds, windows smaller than
# the stride, images that the last window doesn't reach, padding that enlarges; few
# channels out of many, and of many few; images of more lines than are summed at once.
CASES = [
    (9, 8, 8, 16, 16, (3, 3), (1, 1), ((1, 1), (1, 1))),
    (2, 7, 5, 3, 18, (3, 2), (2, 1), ((1, 1), (0, 1))),
    (1, 6, 6, 5, 1, (1, 1), (2, 2), ((0, 0), (0, 0))),
    (3, 9, 7, 2, 33, (4, 4), (2, 3), ((1, 2), (0, 3))),
    (2, 3, 4, 1, 7, (2, 2), (1, 1), ((3, 3), (2, 0))),
    (3, 7, 6, 9, 2, (3, 3), (1, 2), ((1, 1), (0, 1))),
    (2, 20, 17, 3, 11, (3, 3), (1, 1), ((1, 1), (1, 1))),
]


def draw(case, dtype="float64"):
    n, height, width, inputs, outputs, window, strides, pads = case
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(n, height, width, inputs)), dtype)
    kernel = jnp.asarray(random.normal(size=(*window, inputs, outputs)), dtype)
    return x, kernel, Geometry(strides, pads, (1, 1), 1)


def outcome(choice, geometry):
    """Value and both gradients, of something that is not linear."""

    def loss(x, kernel):
        y = convolve(x, kernel, geometry, choice)
        return jnp.sum(jnp.sin(y)), y

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_compilers_in_value_and_gradients(case):
    with jax.enable_x64(True):
        x, kernel, geometry = draw(case)
        ours, theirs = (outcome(c, geometry)(x, kernel) for c in (COMPILED, XLA))
        close(ours, theirs, 1e-11)


def test_in_float32_too():
    x, kernel, geometry = draw(CASES[0], "float32")
    ours, theirs = (outcome(c, geometry)(x, kernel) for c in (COMPILED, XLA))
    close(ours, theirs, 2e-4)  # sums of 144 products of size 1, then 576 of those


def test_derivatives_of_both_modes_and_second_order():
    with jax.enable_x64(True):
        x, kernel, geometry = draw((1, 3, 4, 2, 3, (2, 2), (2, 1), ((1, 0), (1, 1))))

        def run(x, kernel):
            return jnp.sin(convolve(x, kernel, geometry, COMPILED))

        check_grads(jax.jit(run), (x, kernel), order=2, modes=["fwd", "rev"])


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_members_are_one_call(axes):
    with jax.enable_x64(True):
        x, kernel, geometry = draw(CASES[1])
        members = [jnp.stack([a, 2 * a, a - 1]) for a in (x, kernel)]
        arguments = [
            one if axis is None else many
            for one, many, axis in zip((x, kernel), members, axes, strict=True)
        ]
        ours, theirs = (
            jax.jit(jax.vmap(outcome(c, geometry), axes)) for c in (COMPILED, XLA)
        )
        close(ours(*arguments), theirs(*arguments), 1e-11)
        forward = jax.vmap(lambda x, k: convolve(x, k, geometry, COMPILED), axes)
        text = str(jax.make_jaxpr(forward)(*arguments))
        assert text.count("jaxdl_convolution") == 1


def with_bias(case, lowering):
    """A layer as a function of what it sees, its kernel and its bias; three of those,
    the last of several members."""
    x, kernel, (strides, pads, _, _) = draw(case)
    outputs = kernel.shape[-1]
    layer = Conv(outputs, kernel.shape[:2], strides, pads, lowering=lowering)
    bias = jnp.linspace(-1, 2, 3 * outputs, dtype=x.dtype).reshape(3, outputs)

    def run(x, kernel, bias):
        return jnp.sin(layer.apply({"params": {"kernel": kernel, "bias": bias}}, x))

    return run, x, kernel, bias


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bias_is_added_within(case):
    with jax.enable_x64(True):
        found, over = [], (None, None, 0, None)
        for lowering in ("compiled", "xla"):
            run, x, kernel, biases = with_bias(case, lowering)
            value, pull = jax.vjp(run, x, kernel, biases[0])
            pulled = jax.vmap(lambda *o, run=run: jax.vjp(run, *o[:3])[1](o[3]), over)
            members = jax.vmap(run, (None, None, 0))(x, kernel, biases)
            both = pulled(x, kernel, biases, value)
            found.append((value, pull(value), members, both))
        close(*found, 1e-11)


def test_kernel_and_bias_receive_theirs_in_one_call():
    with jax.enable_x64(True):
        run, x, kernel, biases = with_bias(CASES[0], "compiled")

    def slopes(*moving):
        def loss(*given):
            operands = dict(zip(moving, given, strict=True))
            return run(x, operands.get("w", kernel), operands.get("b", biases[0])).sum()

        given = [{"w": kernel, "b": biases[0]}[name] for name in moving]
        grad = jax.grad(loss, argnums=range(len(given)))
        return str(jax.make_jaxpr(grad)(*given)), grad(*given)

    with jax.enable_x64(True):
        text, both = slopes("w", "b")
        assert text.count("kind=kernel_gradient_with_bias") == 1
        assert "kind=kernel_gradient " not in text
        for name, expected in zip("wb", both, strict=True):
            alone, (found,) = slopes(name)
            assert "kernel_gradient_with_bias" not in alone
            close(found, expected, 1e-11)


def test_derivatives_with_a_bias_of_both_modes_and_second_order():
    with jax.enable_x64(True):
        case = (1, 3, 4, 2, 3, (2, 2), (2, 1), ((1, 0), (1, 1)))
        run, x, kernel, biases = with_bias(case, "compiled")
        given = (x, kernel, biases[0])
        check_grads(jax.jit(run), given, order=2, modes=["fwd", "rev"])
        check_grads(lambda b: run(x, kernel, b), given[2:], order=1, modes=["rev"])
        assert "with_bias" in str(jax.make_jaxpr(run)(*given))


def test_scanned_steps_equal_single_ones():
    with jax.enable_x64(True):
        x, kernel, geometry = draw(CASES[1])
        kernels = jnp.stack([kernel, kernel + 1])
        run = outcome(COMPILED, geometry)
        _, scanned = jax.lax.scan(lambda c, k: (c, run(x, k)[1]), 0, kernels)
        single = [run(x, k)[1] for k in kernels]
        jax.tree.map(
            np.testing.assert_array_equal,
            scanned,
            jax.tree.map(lambda *a: jnp.stack(a), *single),
        )


def test_a_sharded_batch_stays_sharded():
    x, kernel, geometry = draw(CASES[0], "float32")
    x = x[:8]
    mesh = jax.make_mesh((1,), ("devices",), axis_types=(AxisType.Auto,))
    if len(jax.devices()) > 1:
        mesh = jax.make_mesh((2,), ("devices",), axis_types=(AxisType.Auto,))
    placed = jax.device_put(x, NamedSharding(mesh, PartitionSpec("devices")))
    whole = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
    run = outcome(COMPILED, geometry)
    ours, text = run(placed, whole), run.lower(placed, whole).compile().as_text()
    assert "all-gather" not in text
    assert "jaxdl_kernel_gradient" in text
    assert ours[1][0].sharding.spec[:1] == ("devices",)
    close(ours, outcome(XLA, geometry)(x, kernel), 2e-4)


def test_transposed_convolution_equals_flax():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    for size, stride, padding in ((4, 2, "SAME"), (3, 2, "VALID"), (2, 3, "SAME")):
        ours = ConvTranspose(6, (size, size), stride, padding)
        theirs = nn.ConvTranspose(6, (size, size), (stride, stride), padding)
        variables = ours.init(jax.random.key(1), x)

        def loss(module, variables, x):
            return jnp.sum(jnp.sin(module.apply(variables, x)))

        gradients = [
            jax.jit(jax.value_and_grad(lambda v, x, m=m: loss(m, v, x), (0, 1)))
            for m in (ours, theirs)
        ]
        assert "jaxdl_input_gradient" in gradients[0].lower(variables, x).as_text()
        close(gradients[0](variables, x), gradients[1](variables, x), 1e-4)


def test_what_the_kernel_cannot_do_is_left_to_the_compiler():
    x = jnp.ones((1, 6, 6, 4))
    for options in ({"dilation": 2}, {"feature_group_count": 2}, {"dtype": "bfloat16"}):
        conv = Conv(4, (3, 3), **options)
        text = str(jax.make_jaxpr(lambda c=conv: c.init(jax.random.key(0), x))())
        assert "jaxdl_convolution" not in text
        with pytest.raises(ValueError, match="give auto"):
            Conv(4, (3, 3), lowering="compiled", **options).init(jax.random.key(0), x)
    plain = str(jax.make_jaxpr(lambda: Conv(4, (3, 3)).init(jax.random.key(0), x))())
    assert "jaxdl_convolution" in plain


def test_one_axis_is_an_image_of_one_line():
    x = jax.random.normal(jax.random.key(0), (2, 9, 3))
    ours, theirs = (Conv(4, (3,), 2, lowering=name) for name in ("compiled", "xla"))
    variables = ours.init(jax.random.key(1), x)
    np.testing.assert_allclose(
        ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5
    )
