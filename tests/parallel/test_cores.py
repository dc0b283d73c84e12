"""The cores of a CPU as devices; in processes of their own, since devices are made
once."""

import json
import os
import subprocess
import sys

import jax
import pytest

from jaxdl.parallel import cores

TRY = """
import json, jax, numpy as np
from jaxdl import parallel
parallel.cores.use_cores()
found = {"devices": jax.device_count(), "are": parallel.cores.are_devices()}
found["auto"] = parallel.placement("auto").name

def convolves(state, images):
    return state, jax.lax.conv(images, state, (1, 1), "SAME")

def multiplies(state, images):
    return state, images.reshape(len(images), -1) @ state

for side in (8, 28):
    for size in (127, 128):
        images = np.zeros((size, 1, side, side), np.float32)
        kernel = np.zeros((32, 1, 3, 3), np.float32)
        name = parallel.cores.automatic(convolves, kernel, images, size)
        found[f"{side} {size}"] = name

def recurs(state, texts):
    def time(carry, x):
        return jax.numpy.tanh(x @ state + carry @ state), None
    return state, jax.lax.scan(time, texts[0], texts)[0]

for units, times in ((64, 8), (64, 50), (2048, 50), (8, 50)):
    weights, texts = np.zeros((units, units)), np.zeros((times, 128, units))
    name = parallel.cores.automatic(recurs, weights, texts, 128)
    found[f"{units} units, {times} times"] = name
weights = np.zeros((28 * 28, 4096), np.float32)
found["product"] = parallel.cores.automatic(multiplies, weights, images, 128)
print(json.dumps(found))
"""


def tried(**environment):
    done = subprocess.run(
        [sys.executable, "-c", TRY],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) != 2, reason="the rule was measured on two cores"
)
def test_large_images_and_recurrent_layers_are_split_over_the_cores_and_nothing_else():
    found = tried()
    assert found["devices"] == 2
    assert found["are"]
    assert found["auto"] == "none"  # where nobody says what the step computes
    assert found["28 128"] == "data"
    assert found["28 127"] == "none"  # does not divide
    assert found["8 128"] == found["product"] == "none"
    assert found["64 units, 50 times"] == "data"
    assert found["64 units, 8 times"] == found["8 units, 50 times"] == "none"
    assert found["2048 units, 50 times"] == "none"


def test_what_the_user_says_of_devices_stays():
    flag = "--xla_force_host_platform_device_count=3"
    found = tried(XLA_FLAGS=flag)
    assert found["devices"] == 3
    assert not found["are"]
    assert found["auto"] == "data"


def test_devices_that_were_asked_for_stay():
    assert jax.devices()
    cores.use_cores()  # tests have long computed on one
    assert not cores.are_devices()
