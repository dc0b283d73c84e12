"""Plain Flax and Optax, as their documentation writes a model and its step."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from experiments.benchmarks.cases import (
    CODE,
    LEARNING_RATE,
    Arrays,
    Case,
    Side,
    load_parameters,
    make_batches,
    make_latents,
)


class MLP(nn.Module):
    classes: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for size in self.hidden:
            x = nn.relu(nn.Dense(size)(x))
        return nn.Dense(self.classes, name="output")(x)


class VAE(nn.Module):
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x, noise):
        moments = MLP(2 * CODE, (500, 500), name="encoder")(x)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        z = mean + jnp.exp(log_variance / 2) * noise
        return MLP(x.shape[-1], (500, 500), name="images")(z), mean, log_variance


class SimpleCNN(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(30, (5, 5), padding="VALID")(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(100)(x.reshape(len(x), -1)))
        return nn.Dense(self.classes, name="output")(x)


class Generator(nn.Module):
    @nn.compact
    def __call__(self, z):
        x = nn.Dense(7 * 7 * 128, use_bias=False)(z).reshape(-1, 7, 7, 128)
        x = self._normed(x)
        for channels in (64, 32):
            x = nn.ConvTranspose(channels, (4, 4), (2, 2), use_bias=False)(x)
            x = self._normed(x)
        return nn.tanh(nn.Conv(1, (3, 3))(x))

    def _normed(self, x):
        norm = nn.BatchNorm(use_running_average=False, momentum=0.9)
        return nn.leaky_relu(norm(x), 0.2)


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i, (channels, window, stride) in enumerate(
            [(32, 3, 1), (64, 4, 2), (128, 4, 2)]
        ):
            conv = nn.Conv(channels, (window, window), stride, name=f"conv_{i}")
            x = nn.leaky_relu(conv(x), 0.2)
        return nn.Dense(1, name="output")(x.reshape(len(x), -1))[:, 0]


class DCGAN(nn.Module):
    shape: tuple[int, ...]

    def setup(self):
        assert self.shape == (28, 28, 1)
        self.generator = Generator()
        self.discriminator = Discriminator()

    def generate(self, z):
        return self.generator(z)

    def discriminate(self, x):
        return self.discriminator(x)

    def __call__(self, z):
        return self.discriminate(self.generate(z))


class ConvNorm(nn.Module):
    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(
            *(self.channels, (3, 3), self.stride),
            padding=1,
            use_bias=False,
            name="conv",
        )(x)
        return nn.BatchNorm(use_running_average=False, momentum=0.9, name="norm")(x)


class Block(nn.Module):
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(ConvNorm(self.channels, self.stride, name="conv_0")(x))
        y = ConvNorm(self.channels, name="conv_1")(y)
        if self.stride > 1:
            more = self.channels - x.shape[-1]
            x = jnp.pad(x[:, ::2, ::2], ((0, 0),) * 3 + ((0, more),))
        return nn.relu(x + y)


class ResNet20(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(ConvNorm(16, name="stem")(x))
        for stage in range(3):
            for block in range(3):
                stride = 2 if stage and not block else 1
                name = f"stage_{stage}_block_{block}"
                x = Block(16 * 2**stage, stride, name=name)(x)
        return nn.Dense(self.classes, name="output")(x.mean((1, 2)))


class TransformerBlock(nn.Module):
    width: int
    heads: int

    @nn.compact
    def __call__(self, x, mask):
        y = nn.LayerNorm(name="norm")(x)
        x = x + nn.MultiHeadDotProductAttention(
            self.heads, use_bias=False, name="attention"
        )(y, mask=mask)
        y = nn.LayerNorm(name="dense_norm")(x)
        y = nn.gelu(nn.Dense(4 * self.width, name="dense_in")(y))
        return x + nn.Dense(self.width, name="dense_out")(y)


class TransformerLM(nn.Module):
    classes: int
    width: int
    layers: int
    heads: int
    max_length: int
    positions: str

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(self.classes, self.width, name="table")
        places = nn.Embed(self.max_length, self.width, name="added")
        x = table(tokens) * self.width**0.5 + places(jnp.arange(tokens.shape[1]))
        mask = nn.make_causal_mask(tokens)
        for i in range(self.layers):
            block = TransformerBlock(self.width, self.heads, name=f"blocks_{i}")
            x = block(x, mask)
        return table.attend(nn.LayerNorm(name="norm")(x))


class LSTM(nn.Module):
    classes: int
    width: int

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(self.classes, self.width, name="table")
        cell = nn.OptimizedLSTMCell(self.width, name="recurrent_0")
        return table.attend(nn.RNN(cell)(table(tokens) * self.width**0.5))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "vae_mlp": VAE,
    "simple_cnn": SimpleCNN,
    "resnet20": ResNet20,
    "transformer_lm": TransformerLM,
    "lstm_lm": LSTM,
    "dcgan": DCGAN,
}


def make(case: Case, parameters: Path, cores: int, device: str) -> Side:
    """The case with the parameters of the file; a jitted step, called step by step.

    Raises:
      LookupError: it is not written here.
    """
    del cores, device  # XLA takes the cores it may use
    if case.model not in MODELS:
        raise LookupError(f"flax has no case {case.name}")
    model = MODELS[case.model](**case.arguments)
    batches = [_parts(case, batch) for batch in make_batches(case)]
    inputs = _inputs(case, batches[0][0]["inputs"])
    variables = dict(jax.jit(model.init)(jax.random.key(0), *inputs))
    params = _filled(variables.pop("params"), load_parameters(parameters))
    optimizer = optax.adam(LEARNING_RATE)
    if case.kind == "adversarial":  # the players have an optimizer's state each
        learned = {name: optimizer.init(own) for name, own in params.items()}
        step = _game(model, make_latents(case), optimizer)
    else:
        learned = optimizer.init(params)
        loss_of = _bound(model, case) if case.kind == "variational" else _loss(model)
        step = _step(loss_of, optimizer)
    held, calls = [(params, variables, learned)] * case.folds, count()

    def take() -> Any:
        taken = []
        for fold, batch in enumerate(batches[next(calls) % len(batches)]):
            held[fold], loss = step(held[fold], batch)
            taken.append(loss)
        return taken

    def losses(taken: Any) -> list[float]:
        jax.block_until_ready(held)
        return [sum(map(float, taken)) / len(taken)]

    versions = {"flax": flax.__version__, "optax": optax.__version__}
    return Side(take, losses, 1, versions)


def _inputs(case: Case, x: jax.Array) -> tuple[Any, ...]:
    """What the model is called with."""
    if case.kind == "adversarial":
        return (make_latents(case),)
    return (x, make_latents(case)) if case.kind == "variational" else (x,)


def _parts(case: Case, batch: Arrays) -> list[dict[str, jax.Array]]:
    """A batch for each fold, on the device."""
    if case.kind == "variational":
        batch = {"inputs": batch["inputs"].reshape(case.size, -1)}
    if case.folds == 1:
        return [jax.device_put(batch)]
    return [
        jax.device_put({name: leaf[fold] for name, leaf in batch.items()})
        for fold in range(case.folds)
    ]


def _loss(model: nn.Module) -> Any:
    def loss_of(params, variables, batch):
        logits, updated = model.apply(
            {"params": params, **variables},
            batch["inputs"],
            mutable=["batch_stats"],
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        return loss.mean(), updated

    return loss_of


def _bound(model: nn.Module, case: Case) -> Any:
    noise = make_latents(case)

    def loss_of(params, variables, batch):
        x = batch["inputs"]
        told: Any = model.apply({"params": params}, x, noise)
        logits, mean, log_variance = told
        loss = optax.sigmoid_binary_cross_entropy(logits, x).sum(-1)
        kl = mean**2 + jnp.exp(log_variance) - 1 - log_variance
        return (loss + kl.sum(-1) / 2).mean(), variables

    return loss_of


def _game(model: nn.Module, z: Any, optimizer: optax.GradientTransformation) -> Any:
    """The critic's update, then the generator's."""

    def generated(params, variables):
        return model.apply(
            {"params": params, **variables},
            z,
            method="generate",
            mutable=["batch_stats"],
        )

    def scores(params, images) -> Any:
        return model.apply({"params": params}, images, method="discriminate")

    def critic_loss(critic, params, real, made):
        found = scores({**params, "discriminator": critic}, jnp.concat([real, made]))
        return sum(
            nn.softplus(sign * part).mean()
            for sign, part in zip((-1, 1), jnp.split(found, 2), strict=True)
        )

    def generator_loss(generator, params, variables):
        made, updated = generated({**params, "generator": generator}, variables)
        return nn.softplus(-scores(params, made)).mean(), updated

    def update(name, grads, params, learned):
        updates, own = optimizer.update(grads, learned[name], params[name])
        changed = optax.apply_updates(params[name], updates)
        return {**params, name: changed}, {**learned, name: own}

    @jax.jit
    def step(state, batch):
        params, variables, learned = state
        made, _ = generated(params, variables)
        loss, grads = jax.value_and_grad(critic_loss)(
            params["discriminator"], params, batch["inputs"], made
        )
        params, learned = update("discriminator", grads, params, learned)
        (fooled, updated), grads = jax.value_and_grad(generator_loss, has_aux=True)(
            params["generator"], params, variables
        )
        params, learned = update("generator", grads, params, learned)
        return (params, updated, learned), loss + fooled

    return step


def _step(loss_of: Any, optimizer: optax.GradientTransformation) -> Any:
    @jax.jit
    def step(state, batch):
        params, variables, opt_state = state
        (loss, updated), grads = jax.value_and_grad(loss_of, has_aux=True)(
            params, variables, batch
        )
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), updated, opt_state), loss

    return step


def _filled(own: Any, given: Arrays) -> Any:
    """The tree with the given values: heads have an axis here, and LSTM's gates are
    layers each."""
    gates = ["i", "f", "g", "o"]
    filled = {}
    for path, leaf in flatten_dict(own, sep="/").items():
        name = path.replace("/out/", "/output/")
        if name in given:
            value = given[name]
        else:  # recurrent_0/hf/bias: of the hidden state, forget gate
            layer, (source, gate), kind = name.split("/")
            recurrent = source == "h" and kind == "kernel"
            whole = given[f"{layer}/{'recurrent_' if recurrent else ''}{kind}"]
            value = np.split(whole, 4, axis=-1)[gates.index(gate)]
        filled[path] = jnp.reshape(value, leaf.shape)
    return unflatten_dict(filled, sep="/")
