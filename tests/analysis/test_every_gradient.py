"""Every model, layer and objective of jaxdl against differences, in float64."""

import importlib
import inspect
import pkgutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import analysis, layers, models, objectives
from jaxdl.batch import Context
from jaxdl.layers import recurrent
from jaxdl.layers.additive_attention import AttentiveLSTM
from jaxdl.layers.positions import Positions
from jaxdl.layers.recurrent import Recurrent
from jaxdl.models import gan
from jaxdl.objectives import losses
from jaxdl.objectives.adversarial import GAMES, Networks
from jaxdl.objectives.regression import LOSSES
from tests.quick import draw_variables, jit

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
TOKENS = np.array([[1, 2, 3, 1, 4, 2, 0, 0], [4, 3, 2, 1, 2, 2, 1, 3]], np.int32)
IMAGES = RNG.uniform(size=(3, 8, 8, 1))
VECTORS = RNG.normal(size=(3, 5))
CLASSES = np.array([0, 2, 1])
SMALL = {"dtype": "float64"}
RESNETS = [name for name in models.MODELS if name.startswith(("resnet", "plain"))]
# A model of each kind; CI checks all of them, which takes some minutes.
KINDS = ("mlp", "regression", "simple_cnn", "resnet20", "bag_of_words", "gru")
KINDS = (*KINDS, "transformer", "lstm_lm", "lstm_seq2seq", "vae_mlp", "dcgan")


def small(name):
    """The fields that make a model of that name small, and its inputs."""
    if name == "dcgan":
        return {"shape": (8, 8, 1), "latents": 3, "channels": 4}, IMAGES
    if name in models.AUTOENCODERS:
        fields = {"shape": (8, 8, 1), "latents": 2, "hidden": (4,)}
        return {**fields, **({"channels": (3,)} if name == "vae_cnn" else {})}, IMAGES
    if name in models.SEQUENCE_TO_SEQUENCE_MODELS:
        sizes = {"classes": 5, "vocabulary": 5, "width": 4}
        sizes |= {"heads": 2, "layers": 1} if name.startswith("transformer") else {}
        return sizes, {"source": TOKENS[:, :4], "target": TOKENS[:, 4:]}
    if name in models.LANGUAGE_MODELS:
        sizes = {"classes": 5, "width": 4}
        sizes |= {"heads": 2, "layers": 1} if name.startswith("transformer") else {}
        return sizes, TOKENS[:, :4]
    if name in models.SEQUENCE_MODELS:
        sizes = {"classes": 3, "vocabulary": 5}
        if name == "bag_of_words":
            return {**sizes, "hidden": (4,)}, TOKENS
        if name.startswith("conv1d"):
            more = {"width": 3, "hidden": 3, "kernel_size": 2, "pool": 2}
            return {**sizes, **more}, TOKENS
        more = {"heads": 2, "layers": 1} if name == "transformer" else {"hidden": 3}
        return {**sizes, "width": 4, **more}, TOKENS
    if name in RESNETS:
        # Two blocks, the second of which halves the image: deeper, they repeat.
        large = models.MODELS[name].keywords.get("large_images")
        images = np.tile(IMAGES, (1, 2, 2, 1)) if large else IMAGES
        return {"classes": 3, "channels": 2, "stages": (1, 1)}, images
    if name == "logistic_regression":
        return {"classes": 3}, VECTORS
    if name in ("mlp", "regression"):
        return {"classes": 3, "hidden": (4,), "batch_norm": True}, VECTORS
    blocks = {"blocks": (((2, 3, 1),), ((3, 3, 1),))}
    return {"classes": 3, "hidden": (4,), **blocks}, IMAGES


def checked(model, inputs, training=True):
    """The gradient check of a model by parameters and, where real, by its inputs."""
    floats = jax.tree.leaves(inputs)[0].dtype.kind == "f"
    with jax.enable_x64(True):
        inputs = jax.tree.map(jnp.asarray, inputs)
        variables = draw_variables(model, inputs, dtype=np.float64)
        params = variables.pop("params", {})
        state = jax.tree.map(lambda x: np.abs(x) + 0.5, variables)
        run = models.forward(model)
        context = Context(training=training, dropout=0.25)

        def total(both):
            given = both.get("inputs", inputs)
            outputs, _ = run(both["params"], state, given, context, KEY)
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(outputs))

        both = {"params": params, **({"inputs": inputs} if floats else {})}
        return analysis.gradient_check(total, both, entries=1, jit=jit)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_each_kind(name):
    fields, inputs = small(name)
    found = checked(models.create(name, **fields, **SMALL), inputs)
    assert found.error < 1e-6, str(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in models.MODELS if n not in KINDS])
def test_every_other_model(name):
    fields, inputs = small(name)
    found = checked(models.create(name, **fields, **SMALL), inputs)
    assert found.error < 1e-6, str(found)


class EveryLayer(nn.Module):
    """All layers side by side, each on inputs of its own kind."""

    @nn.compact
    def __call__(self, x, context=Context()):
        image, series = x["image"], x["series"]
        carry = Recurrent(4).initial_carry(len(series))
        valid = jnp.asarray([[True, True, False], [True, True, True]])
        attention = layers.Attention(4, 2, rotary=True, dtype=jnp.float64)
        normal = layers.BatchNorm()(image, context)
        return (
            layers.Conv(3, (3, 3), feature_group_count=1)(image),
            layers.Conv(2, (2, 2), strides=2, padding=1, lowering="im2col")(image),
            layers.SeparableConv(3, (3, 3), strides=2)(image),
            layers.ConvTranspose(2, (4, 4), strides=2)(image),
            normal,
            layers.LayerNorm()(series),
            layers.softplus(series),
            layers.Dropout()(image, context),
            layers.avg_pool(image, 2),
            layers.max_pool(image, 3, 2, padding="SAME"),
            layers.global_avg_pool(image),
            layers.masked_mean(series, valid),
            layers.masked_max(series, valid),
            layers.masked_max_pool(series, valid, 2)[0],
            layers.batch_moments(image, context.mask)[0],
            layers.to_nhwc(layers.to_nchw(image)),
            [Recurrent(4, cell)(series, context, valid) for cell in recurrent.CELLS],
            layers.Bidirectional(4, "gru")(series, context, valid),
            AttentiveLSTM(4)(series, series[:, ::-1], valid, carry),
            Positions("learned", 3)(series, jnp.arange(3)),
            attention(series, attention.look_at(series), causal=True),
        )


def test_every_layer():
    """One check of all: what is wrong is named by its leaf."""
    inputs = {"image": IMAGES[:2, :4, :4], "series": RNG.normal(size=(2, 3, 4))}
    found = checked(EveryLayer(), inputs)
    assert found.error < 1e-6, str(found)
    named = {slope.leaf.split("/")[1] for slope in found.slopes}
    assert {"Conv_0", "ConvTranspose_0", "BatchNorm_0", "Recurrent_2"} <= named
    assert {"AttentiveLSTM_0", "Attention_0", "Bidirectional_0", "image"} <= named


def modules_of(package):
    """Public Flax modules that a package defines, by name."""
    found = {}
    for part in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for name, value in vars(importlib.import_module(part.name)).items():
            own = getattr(value, "__module__", "") == part.name
            if inspect.isclass(value) and issubclass(value, nn.Module) and own:
                found[name] = value
    return {name: each for name, each in found.items() if not name.startswith("_")}


def test_no_layer_is_left_out(monkeypatch):
    """Every module of the room and every function it offers runs in ``EveryLayer``."""
    seen = set()
    functions = {n for n in layers.__all__ if inspect.isfunction(getattr(layers, n))}
    sizes = {"conv_output_size", "receptive_field"}  # of whole numbers: no gradient

    def noted(name, own, *given, **also):
        seen.add(name)
        return own(*given, **also)

    for name in functions - sizes:
        own = getattr(layers, name)
        monkeypatch.setattr(layers, name, partial(noted, name, own))

    def note(call, given, also, made):
        seen.add(type(made.module).__name__)
        return call(*given, **also)

    inputs = {"image": jnp.ones((2, 4, 4, 1)), "series": jnp.ones((2, 3, 4))}
    with jax.enable_x64(True), nn.intercept_methods(note):
        jax.eval_shape(EveryLayer().init, KEY, inputs)
    assert functions - sizes | set(modules_of(layers)) <= seen


def test_no_model_is_left_out():
    """Every model that is offered has a name, and every name is checked above."""
    named = set()
    for name in models.MODELS:
        fields, _ = small(name)
        named.add(type(models.create(name, **fields)))
    offered = {v for k, v in modules_of(models).items() if k in models.__all__}
    assert offered <= named


def linear(params, inputs):
    """The smallest model there is."""
    return jnp.tanh(inputs @ params["kernel"])


TARGETS = {
    "classification": CLASSES,
    "smoothed": CLASSES,
    "binary": np.array([0.0, 1.0, 1.0]),
    "multilabel": np.eye(4)[[0, 2, 1]],
    **{f"regression {name}": RNG.normal(size=(3, 4)) for name in LOSSES},
    "next_token": np.array([[1, 2], [3, 0], [0, 1]]),
    "language": np.array([[1, 2], [3, 0], [0, 1]]),
}


def supervised(name, run):
    """The objective of that name."""
    if name.startswith("regression"):
        return objectives.regression(run, loss=name.split()[1])
    return {
        "classification": partial(objectives.classification, run),
        "smoothed": partial(objectives.classification, run, label_smoothing=0.1),
        "binary": partial(objectives.binary, run),
        "multilabel": partial(objectives.binary, run, multilabel=True),
        "next_token": partial(objectives.next_token, run),
        "language": partial(objectives.language, run),
    }[name]()


def test_every_supervised_objective():
    """All losses of one step, each with parameters of its own, masked and penalised."""
    params, batches = {}, {}
    for name, targets in TARGETS.items():
        time = (2,) if name in ("next_token", "language") else ()
        outputs = 1 if name == "binary" else 4
        params[name] = {"kernel": RNG.normal(size=(5, outputs))}
        batches[name] = {
            "inputs": RNG.normal(size=(3, *time, 5)),
            "targets": targets,
            "mask": np.array([1.0, 1.0, 0.0]),
        }

    def total(params):
        run = models.forward(linear)
        pairs = [
            supervised(name, run)(own, {}, {}, batches[name], KEY, True)[0]
            for name, own in params.items()
        ]
        penalties = losses.l2(params, 0.3) + losses.l1(params, 0.2)
        return sum(total / count for total, count in pairs) + penalties

    found = analysis.gradient_check(total, params, jit=jit)
    assert found.error < 1e-6, str(found)
    assert len({slope.leaf for slope in found.slopes}) == len(TARGETS)


ROWS = jnp.arange(6.0).reshape(2, 3) / 7
# Each loss of the room, of outputs and fixed targets.
COSTS = {
    "total": lambda y: losses.total(y, jnp.array([1.0, 0.0])),
    "cross_entropy": lambda y: losses.cross_entropy(y, jnp.array([2, 0]), 0.1),
    "binary_cross_entropy": lambda y: losses.binary_cross_entropy(y, ROWS),
    "mse": lambda y: losses.mse(y, ROWS, half=True),
    "sum_squared_error": lambda y: losses.sum_squared_error(y, ROWS),
    "mae": lambda y: losses.mae(y, ROWS),
    "huber": lambda y: losses.huber(y, ROWS),
    "l2": lambda y: losses.l2({"kernel": y}, 0.3),
    "l1": lambda y: losses.l1({"kernel": y}, 0.3),
}


def test_every_loss():
    """None is left out, and each has outputs of its own."""
    functions = inspect.getmembers(losses, inspect.isfunction)
    own = {name for name, each in functions if each.__module__ == losses.__name__}
    checks = {"check_label_smoothing"}  # raises, and returns nothing
    assert {name for name in own - checks if not name.startswith("_")} == set(COSTS)
    outputs = {name: 3 * RNG.normal(size=(2, 3)) for name in COSTS}

    def total(outputs):
        found = [COSTS[name](own) for name, own in outputs.items()]
        return sum(jnp.sum(jnp.asarray(x)) for x in jax.tree.leaves(found))

    found = analysis.gradient_check(total, outputs, jit=jit)
    assert found.error < 1e-6, str(found)
    assert {slope.leaf for slope in found.slopes} == set(COSTS)


def test_no_objective_is_left_out():
    """What the room offers that makes an objective is checked in this file."""
    checked_here = {name.split()[0] for name in TARGETS} - {"smoothed", "multilabel"}
    checked_here |= {"variational", "adversarial"}
    makers = {
        name
        for name in objectives.__all__
        if inspect.isfunction(getattr(objectives, name))
    }
    # ``supervised`` is what those of TARGETS are built on.
    assert makers - {"supervised", "probabilities"} == checked_here


def test_an_objective_names_what_is_wrong_in_it():
    """``check_objective`` and ``check_model`` are the same check in fewer words."""
    model = models.create("mlp", classes=3, hidden=(4,), activation="tanh", **SMALL)
    with jax.enable_x64(True):
        params = draw_variables(model, jnp.asarray(VECTORS))["params"]
    batch = {"inputs": VECTORS.astype(np.float32), "targets": CLASSES}
    objective = objectives.classification(models.forward(model))
    options = {"hyper": {"dropout": 0.5}, "key": KEY, "jit": jit}
    assert analysis.check_objective(objective, params, batch, **options).error < 1e-6
    assert analysis.check_model(model, params, VECTORS, jit=jit).error < 1e-6

    def shifted(params, state, hyper, batch, key, training):
        """As the objective, but a bias gets no gradient."""
        bias = jax.lax.stop_gradient(params["output"]["bias"])
        params = {**params, "output": {**params["output"], "bias": bias}}
        return objective(params, state, hyper, batch, key, training)

    found = analysis.check_objective(shifted, params, batch, **options)
    assert found.wrong() == ("output/bias",)


def test_the_variational_objective():
    model = models.create("vae_mlp", shape=(2, 2, 1), latents=2, hidden=(3,), **SMALL)
    network = objectives.Autoencoder(
        models.forward(model, "encode"),
        models.forward(model, "decode"),
        lambda batch, key, training: batch,
    )
    batch = {"inputs": np.round(IMAGES[:, :2, :2])}
    with jax.enable_x64(True):
        params = draw_variables(model, batch["inputs"])["params"]
    found = analysis.check_objective(
        objectives.variational(network),
        params,
        batch,
        hyper={"kl_weight": 0.5},
        key=KEY,
        jit=jit,
    )
    assert found.error < 1e-6, str(found)


@pytest.mark.parametrize("loss", GAMES)
def test_the_objectives_of_both_players(loss):
    """The generator's by its own parameters, the discriminator's by its own."""

    def generate(params, state, latents, context, key):
        images = jnp.tanh(latents @ params["generator"])
        return images.reshape(-1, 2, 2, 1), state

    def discriminate(params, state, images, context, key):
        flat = images.reshape(len(images), -1)
        return jnp.sum(jnp.tanh(flat @ params["discriminator"]), axis=1), state

    draw = partial(gan.draw_latents, size=2)
    networks = Networks(generate, discriminate, draw)
    players = objectives.adversarial(networks, loss=loss)
    batch = {"inputs": IMAGES[:, :2, :2]}
    penalised = {"gradient_penalty": 2.0} if loss == "wasserstein" else {}
    hyper = {"label_noise": 0.1, **penalised}
    params = {
        "generator": RNG.normal(size=(2, 4)),
        "discriminator": RNG.normal(size=(4, 3)),
    }

    def total(own):
        sums = []
        for player, objective in players._asdict().items():
            both = {**params, player: own[player]}
            pair, _ = objective(both, {}, hyper, batch, KEY, True)
            sums.append(pair[0] / pair[1])
        return sum(sums)

    found = analysis.gradient_check(total, params, entries=1, jit=jit)
    assert found.error < 1e-6, str(found)
