"""The evidence lower bound of variational autoencoders, and a tighter one."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxdl.batch import Batch, Context, context, example_keys, mask_of
from jaxdl.distributions import Gaussian, standard_normal_log_probability
from jaxdl.metrics import Mean, mean
from jaxdl.objectives import losses
from jaxdl.objectives.supervised import (
    PREPARE,
    Forward,
    Hyper,
    ModelState,
    Objective,
    Params,
    Prepare,
    Result,
    key_for,
    without_padding,
)

# Which draw a key is for, besides preparing.
ENCODER, NOISE, DECODER = 1, 2, 3


class Autoencoder(NamedTuple):
    """The functions of a variational autoencoder.

    Attributes:
      encode: inputs to q(z | x), a ``Gaussian``; ``forward(model, "encode")``.
      decode: latents to p(x | z), with ``log_probability`` and ``mean``.
      prepare: prepare(batch, key, training) -> batch, from what is stored to what is
        encoded and reconstructed.
    """

    encode: Forward
    decode: Forward
    prepare: Prepare

    def seen(self, batch: Batch, key: Key[Array, ""] | None, training: bool) -> Batch:
        """The batch as it is encoded; zeros for what is masked."""
        batch = without_padding(batch)
        return without_padding(self.prepare(batch, key_for(key, PREPARE), training))


class Bound(NamedTuple):
    """The two parts of the negative evidence lower bound, in nats an example.

    Attributes:
      reconstruction: -log p(x | z) of one z drawn from q(z | x).
      kl: KL(q(z | x) || N(0, I)), exactly.
    """

    reconstruction: Float[Array, " batch"]
    kl: Float[Array, " batch"]


def variational(network: Autoencoder) -> Objective:
    """The negative evidence lower bound (Kingma and Welling 2014, eq. 10).

    The loss is reconstruction + beta KL, with beta ``hyper["kl_weight"]`` (1 where
    there is none; Higgins et al. 2017). Metrics, in nats an example: ``loss``,
    ``negative_elbo`` (with beta 1 whatever beta is), ``reconstruction`` and ``kl``.
    """

    def objective(
        params: Params,
        model_state: ModelState,
        hyper: Hyper,
        batch: Batch,
        key: Key[Array, ""] | None,
        training: bool,
    ) -> Result:
        batch = network.seen(batch, key, training)
        told = context(batch, hyper, training)
        (reconstruction, kl), model_state = negative_bound(
            network, params, model_state, batch["inputs"], told, key
        )
        mask = mask_of(batch)
        weight = jnp.asarray(hyper.get("kl_weight", 1.0), kl.dtype)
        pair = losses.total(reconstruction + weight * kl, mask)
        metrics = {
            "loss": Mean(*pair),
            "negative_elbo": mean(reconstruction + kl, mask),
            "reconstruction": mean(reconstruction, mask),
            "kl": mean(kl, mask),
        }
        return pair, (model_state, metrics)

    return objective


def negative_bound(
    network: Autoencoder,
    params: Params,
    model_state: ModelState,
    inputs: Array,
    told: Context,
    key: Key[Array, ""] | None,
) -> tuple[Bound, ModelState]:
    """The negative evidence lower bound of each example, by one draw of its latents.

    Args:
      network, params, model_state: the autoencoder; nothing is prepared here.
      inputs: [batch, ...], as they are encoded.
      told: the context of the batch; its positions decide who draws what.
      key: of the draws.

    Raises:
      ValueError: no key.
    """
    posterior, model_state = network.encode(
        params, model_state, inputs, told, key_for(key, ENCODER)
    )
    z = posterior.sample(_noise(key, told, posterior))
    likelihood, model_state = network.decode(
        params, model_state, z, told, key_for(key, DECODER)
    )
    bound = Bound(-likelihood.log_probability(inputs), posterior.divergence())
    return bound, model_state


def importance_weighted_bound(
    network: Autoencoder,
    params: Params,
    model_state: ModelState,
    inputs: Array,
    told: Context,
    key: Key[Array, ""],
    samples: int,
) -> Float[Array, " batch"]:
    """The negative importance-weighted bound (Burda et al. 2016, eq. 8), in nats.

    -log 1/K sum_k p(x, z_k) / q(z_k | x) with K draws from q. Its expectation is the
    negative evidence lower bound for K = 1, and falls towards -log p(x) with K. For
    evaluation: nothing is dropped out, no state changes.

    Args: as of ``negative_bound``, and
      samples: K.

    Raises:
      ValueError: less than one sample, or no key.
    """
    if samples < 1:
        raise ValueError(f"an importance-weighted bound of {samples} samples: give 1+")
    posterior, _ = network.encode(params, model_state, inputs, told, None)

    def log_weight(k: Int[Array, ""]) -> Float[Array, " batch"]:
        z = posterior.sample(_noise(key, told, posterior, k))
        likelihood, _ = network.decode(params, model_state, z, told, None)
        joint = likelihood.log_probability(inputs) + standard_normal_log_probability(z)
        return joint - posterior.log_probability(z)

    # One draw at a time: all of them at once would not fit into memory.
    weights = jax.lax.map(log_weight, jnp.arange(samples))
    return jnp.log(samples) - jax.nn.logsumexp(weights, axis=0)


def _noise(
    key: Key[Array, ""] | None, told: Context, posterior: Gaussian, sample: Any = 0
) -> Float[Array, "batch latents"]:
    """Standard normal noise, by a key of each example and sample."""
    if key is None:
        raise ValueError("a variational autoencoder draws its latents: give a key")
    rows, *shape = posterior.mean.shape
    position = jnp.arange(rows) if told.position is None else told.position
    keys = example_keys(
        jax.random.fold_in(jax.random.fold_in(key, NOISE), sample), position
    )
    draw = partial(jax.random.normal, shape=shape, dtype=posterior.mean.dtype)
    return jax.vmap(draw)(keys)
