"""Draw samples from a trained GAN: a picture of many, or their arrays.

--output=FILE.png is a grid; --output=FILE.npy holds [count, height, width, channels]
in the scale of the training data.
"""

import dataclasses
import io
from pathlib import Path

import jax
import numpy as np

from experiments import flags, gan
from experiments.flags import option
from jaxdl import runs
from jaxdl.batch import Context, example_keys
from jaxdl.models.apply import forward, in_batches
from jaxdl.models.gan import draw_latents
from jaxdl.runs import plots
from jaxdl.runs.folder import write_bytes

NAME = "gan_samples"
_BATCH = 250


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``gan_samples`` lets one set."""

    run: str = option("", "folder of a run of gan")
    output: str = option("samples.png", "a .png or .npy file to write")
    count: int = option(64, "how many samples")
    seed: int = option(0, "of the noise; sample i of a seed is always the same")
    traceback: bool = option(False, "show the traceback of an error")


def draw(loaded: runs.Loaded, count: int, seed: int = 0) -> np.ndarray:
    """Samples of a run's best parameters, [count, *input_shape] in stored scale.

    Raises:
      ValueError: the run is no GAN's.
    """
    if loaded.experiment != gan.NAME:
        raise ValueError(
            f"{loaded.folder.path} is a run of {loaded.experiment}: give one of "
            f"{gan.NAME}."
        )
    model = loaded.model

    @jax.jit
    def images(position: jax.Array) -> jax.Array:
        keys = example_keys(jax.random.key(seed), position)
        z = draw_latents(keys, model.latents, model.latent_distribution)
        generate = forward(model, "generate")
        made, _ = generate(loaded.params, loaded.model_state, z, Context(), None)
        return loaded.preprocess.invert(made)

    return in_batches(images, np.arange(count, dtype=np.int32), _BATCH)


def main(settings: Settings) -> int:
    """Draw as the settings say; the exit code."""
    if not settings.run:
        raise ValueError("--run is missing: give the folder of a run of gan.")
    if settings.count < 1 or settings.seed < 0:
        raise ValueError(
            f"--count is {settings.count} and --seed is {settings.seed}: give at least "
            "1 and 0."
        )
    output = Path(settings.output).expanduser()
    if output.suffix.lower() not in (".png", ".npy"):
        raise ValueError(f"--output is {settings.output}: give a .png or .npy file.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent} does not exist or is no folder.")
    runs.prepare()
    loaded = runs.load(settings.run)
    images = draw(loaded, settings.count, settings.seed)
    if output.suffix.lower() == ".npy":
        content = io.BytesIO()
        np.save(content, images)
        write_bytes(output, content.getvalue())
    else:
        plots.montage(np.clip(images / loaded.preprocess.high, 0.0, 1.0), output)
    print(f"{settings.count} samples in {output}")
    return 0


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
