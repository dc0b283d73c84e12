"""Run by test_devices.py in a process of its own, with 4 CPU devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdl import data
from jaxdl.batch import DEVICES, positions
from jaxdl.data.source import in_memory

MESH = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))


def _put(tree, axis):
    spec = PartitionSpec(*[None] * axis, "batch")
    return jax.device_put(tree, NamedSharding(MESH, spec))


def _replicate(tree):
    return jax.device_put(tree, NamedSharding(MESH, PartitionSpec()))


def divided_batches_equal_those_of_one_device():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    source = in_memory(images, np.arange(50, dtype=np.int32))
    alone = data.feed(source, 8, 0, on_device=False)
    for on_device in (False, True):
        feed = data.feed(
            source, 8, 0, put=_put, replicate=_replicate, on_device=on_device
        )
        for step, count, axis in ((5, None, 0), (4, 3, 1)):
            batch, expected = feed(step, count), alone(step, count)
            for name, array in batch.items():
                assert array.sharding.spec[axis] == "batch", (name, array.sharding)
                np.testing.assert_array_equal(array, expected[name])
        passes = data.evaluation_feed(
            source, 16, put=_put, replicate=_replicate, on_device=on_device
        )
        assert sum(float(batch["mask"].sum()) for batch in passes) == 50


def augmentation_draws_what_one_device_would():
    augmentation = data.parse_augmentation(
        "shift=1,rotation=20,brightness=0.1,mixup=0.4"
    )
    key = jax.random.key(1)

    def run(inputs, targets, mask):
        where = positions({"inputs": inputs})
        return data.augment(
            augmentation, inputs, targets, key, where, classes=5, mask=mask
        )

    # 8 is an even share for each of 4 devices, 12 an odd one (3 each).
    for count in (8, 12):
        images = jax.random.normal(key, (count, 6, 6, 2))
        batch = (images, jnp.arange(count) % 5, (jnp.arange(count) < count - 1) * 1.0)
        alone = jax.jit(run)(*batch)
        sharded = jax.jit(run)(*_put(batch, 0))
        parts = [a.reshape(4, count // 4, *a.shape[1:]) for a in batch]
        mapped = jax.pmap(run, axis_name=DEVICES)(*parts)
        for one, two, three in zip(alone, sharded, mapped, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
            np.testing.assert_allclose(one, three.reshape(one.shape), atol=1e-5)


if __name__ == "__main__":
    assert jax.device_count() == 4
    divided_batches_equal_those_of_one_device()
    augmentation_draws_what_one_device_would()
    print("as one device")
