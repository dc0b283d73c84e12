"""What is compared: models, shapes and batches, the same for every library.

Only NumPy is imported here: a peer's process holds the peer alone.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LEARNING_RATE = 1e-3  # of Adam, everywhere
VOCABULARY = 65  # characters of Shakespeare
LATENTS = 64  # of an image that a generator makes
CODE = 20  # numbers that stand for an image in a VAE

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the batches it is trained on.

    Attributes:
      name: what ``--only`` calls it.
      title: what it is, in a few words.
      model: a name of ``jaxdl.models``.
      arguments: those of the model.
      shape: of one example; of tokens (time,).
      size: examples a batch.
      batches: how many there are, gone through again and again; also the steps
        between checks, which bound a dispatch of jaxdl.
      kind: "classification", "language" (inputs are tokens), or "adversarial": a step
        of the critic and one of the generator; or "variational". Latents of the last
        two are drawn from a seed once (``make_latents``), on every side, so that losses
        can be compared.
      folds: how many models are trained, each on batches of its own, from the same
        parameters; a step is one of each, and its loss their mean.
    """

    name: str
    title: str
    model: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    size: int
    batches: int = 16
    kind: str = "classification"
    folds: int = 1


def _mlp(size: int) -> Case:
    arguments = {"classes": 10, "hidden": (256, 256)}
    title = f"MLP 784-256-256-10, batch {size}"
    return Case(f"mlp_{size}", title, "mlp", arguments, (784,), size)


def _transformer(
    name: str, layers: int, width: int, size: int, time: int, batches: int
) -> Case:
    arguments = {
        "classes": VOCABULARY,
        "width": width,
        "layers": layers,
        "heads": width // 32 if width < 256 else width // 64,
        "max_length": time,
        "positions": "learned",
    }
    title = f"Transformer, {layers} layers, {width} wide, {size} x {time}"
    return Case(
        *(name, title, "transformer_lm", arguments, (time,), size),
        batches=batches,
        kind="language",
    )


_ALL = (
    _mlp(32),
    _mlp(128),
    Case(
        *("cnn", "simple_cnn, 28x28, batch 128", "simple_cnn", {"classes": 10}),
        *((28, 28, 1), 128),
    ),
    Case(
        *("resnet20", "ResNet-20, 32x32, batch 64", "resnet20", {"classes": 10}),
        *((32, 32, 3), 64),
    ),
    _transformer("transformer_small", 4, 128, 16, 128, batches=16),
    Case(
        *("lstm", "LSTM, 256 wide, 64 x 100", "lstm_lm"),
        *({"classes": VOCABULARY, "width": 256}, (100,), 64),
        kind="language",
    ),
    Case(
        *("dcgan", "DCGAN, critic and generator, 28x28, batch 64", "dcgan"),
        *({"shape": (28, 28, 1)}, (28, 28, 1), 64),
        kind="adversarial",
    ),
    Case(
        *("vae", "VAE 784-500-500-20, batch 128", "vae_mlp"),
        *({"shape": (28, 28, 1)}, (28, 28, 1), 128),
        kind="variational",
    ),
    Case(
        *("tabular", "MLP 13-64-64-3 in 4 folds, batch 16", "mlp"),
        *({"classes": 3, "hidden": (64, 64)}, (13,), 16),
        folds=4,
    ),
    # Blocks of two: sixteen steps would take half a minute.
    _transformer("transformer_large", 6, 384, 16, 256, batches=2),
)
CASES = {case.name: case for case in _ALL}


@dataclasses.dataclass(frozen=True)
class Run:
    """A whole run from files on disk: a public command, and the recipe of its peer.

    Attributes:
      experiment: jaxdl's command.
      flags: the recipe: the command's flags, which the peer follows too.
      figure: split and metric that the run is to reach, to be within ``bounds``.
    """

    experiment: str
    flags: Mapping[str, Any]
    figure: tuple[str, str]
    bounds: tuple[float, float]


_RUNS = {
    "mnist_99": Run(
        "image_classification",
        {
            "dataset": "mnist",
            "model": "simple_cnn",
            "validation_fraction": 0.05,
            "epochs": 5,
            "batch_size": 128,
            "optimizer": "adam",
            "learning_rate": 3e-3,
            "schedule": "warmup_cosine",
            "warmup_steps": 100,
            "dropout": 0.0,
            # Without it seven recipes of this network reached 98.6 to 98.9%.
            "augment": "shift=1",
            "evaluate_every": 448,
        },
        ("test", "accuracy"),
        (0.99, 1.0),
    ),
    # nanoGPT's for a CPU, but for the end of its rate and Adam's second decay, which
    # jaxdl has no flags for.
    "shakespeare": Run(
        "language_model",
        {
            "dataset": "tiny_shakespeare",
            "model": "transformer",
            "layers": 4,
            "width": 128,
            "heads": 4,
            "positions": "learned",
            "context": 64,
            "batch_size": 12,
            "max_steps": 2000,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "schedule": "warmup_cosine",
            "warmup_steps": 100,
            "weight_decay": 0.1,
            "clip_norm": 1.0,
            "dropout": 0.0,
            "evaluate_every": 250,
        },
        ("validation", "loss"),
        (0.0, 1.88),
    ),
}
# MNIST's training part into the step of a small CNN, by MiB that its decoded images may
# take: all of them, or too little, so that records are decoded as it trains.
FED = {"mnist_memory": 1024, "mnist_records": 1}
FED_BATCH, FED_STEPS = 128, 400

# Members that train together, of the sizes of scikit-learn's digits and of MNIST.
_DIGITS = {"classes": 10, "hidden": (64, 64)}
_POPULATIONS = (
    Case("mlps_32", "32 MLPs 64-64-64-10", "mlp", _DIGITS, (64,), 32, folds=32),
    Case("mlps_8", "8 MLPs 64-64-64-10", "mlp", _DIGITS, (64,), 32, folds=8),
    Case("cnns_8", "8 CNNs, 8x8", "cnn", {"classes": 10}, (8, 8, 1), 32, folds=8),
    dataclasses.replace(
        CASES["cnn"], name="mnist_cnns_8", title="8 CNNs, 28x28", folds=8
    ),
)
# What a worker does to the cases that it knows.
WORK: dict[str, Mapping[str, Any]] = {
    "training": CASES,
    "population": {case.name: case for case in _POPULATIONS},
    "inference": {
        name: dataclasses.replace(CASES[name], size=128, batches=4)
        for name in ("mlp_128", "cnn", "transformer_small")
    },
    "generation": {
        case.name: case
        for case in [_transformer("transformer_512", 4, 128, 1, 512, batches=1)]
    },
    # By experiments of their own: see ``loop``, ``running``, ``feeding``, ``whole``.
    "loop": CASES,
    "guard": {
        name: CASES[name] for name in ("mlp_128", "cnn", "transformer_small", "dcgan")
    },
    "products": {name: CASES[name] for name in ("mlp_32", "mlp_128", "vae")},
    "checkpoint": {"mlp_128": CASES["mlp_128"]},
    "startup": {"cnn": CASES["cnn"]},
    "import": {"library": None},
    "feeding": FED,
    "end_to_end": {"mnist_99": _RUNS["mnist_99"]},
    "nanogpt": {"shakespeare": _RUNS["shakespeare"]},
}


def make_batches(case: Case) -> list[Arrays]:
    """The batches of a case, drawn from a seed.

    Returns:
      ``inputs`` [size, *shape] and ``targets``: classes [size], or of tokens what
      follows each [size, time]; of several folds these lead. Images are float32
      [height, width, channels].
    """
    rng = np.random.default_rng(0)
    lead = (case.folds, case.size) if case.folds > 1 else (case.size,)
    made: list[Arrays] = []
    for _ in range(case.batches):
        if case.kind == "language":
            drawn = rng.integers(1, VOCABULARY, (case.size, case.shape[0] + 1))
            tokens = drawn.astype(np.int32)
            made.append({"inputs": tokens[:, :-1], "targets": tokens[:, 1:]})
        else:
            batch: Arrays = {}
            draw = rng.random if case.kind == "variational" else rng.normal
            batch["inputs"] = draw(size=(*lead, *case.shape)).astype(np.float32)
            classes = case.arguments.get("classes", 10)
            batch["targets"] = rng.integers(0, classes, lead).astype(np.int32)
            made.append(batch)
    return made


def make_latents(case: Case) -> np.ndarray:
    """What a generator makes its images of, [size, 64]; of a VAE the noise in its
    latents, [size, 20]."""
    latents = CODE if case.kind == "variational" else LATENTS
    drawn = np.random.default_rng(1).normal(size=(case.size, latents))
    return drawn.astype(np.float32)


def digest(tokens: np.ndarray) -> list[float]:
    """Three numbers that differ where the tokens [time] do, to be compared as losses
    are."""
    return [float(tokens[:some].mean()) for some in (32, 128, None)]


@dataclasses.dataclass(frozen=True)
class Side:
    """A case, ready to be trained by one library.

    Attributes:
      step: takes the next steps and gives their losses, without waiting for them;
        the batches come one after another, and from the first again.
      losses: what ``step`` gave, as numbers; waits.
      steps: how many steps ``step`` takes.
      versions: of the libraries, for the record.
    """

    step: Callable[[], Any]
    losses: Callable[[Any], Sequence[float]]
    steps: int
    versions: Mapping[str, str]


def load_parameters(path: Path) -> Arrays:
    """Initial parameters by their path in jaxdl's tree, such as ``output/kernel``,
    without the names that only group layers."""
    with np.load(path, allow_pickle=False) as stored:
        return {_short(name): value for name, value in stored.items()}


def _short(name: str) -> str:
    *parts, last = name.split("/")
    grouping = ("decoder", "embedding", "Embed_0")
    return "/".join([*(part for part in parts if part not in grouping), last])


# Library to what must be installed for it.
LIBRARIES = {
    "jaxdl": "jax",
    "torch": "torch",
    "compile": "torch",
    "keras": "keras",
    "flax": "flax",
}
PEERS = tuple(name for name in LIBRARIES if name != "jaxdl")
DEFAULT_PEERS = ("torch", "keras", "flax")


def side(
    library: str,
    case: Case,
    parameters: Path,
    cores: int,
    device: str,
    work: str = "training",
) -> Side:
    """The case in a library, from the same initial parameters.

    Args:
      library: a key of ``LIBRARIES``, or a way of jaxdl's: "in turn" (members one
        after another), "no cache" (all the text read anew for each token),
        "unguarded" (``--on_nonfinite=ignore``) or "XLA's choice" (of who multiplies).
      case: what is trained, or asked.
      work: "training", "population", "inference" or "generation".
      parameters: the file of them; jaxdl writes it, the others read it.
      cores: threads.
      device: "cpu" or "gpu".

    Raises:
      LookupError: the library has no such case.
    """
    # One library a process: the others are not even imported.
    if library in ("jaxdl", "in turn", "no cache", "unguarded", "XLA's choice"):
        from experiments.benchmarks import ours

        if work in ("inference", "generation"):
            from experiments.benchmarks import asking

            return asking.make(case, parameters, work, cached=library == "jaxdl")
        if library == "in turn":
            return ours.make_in_turn(case, parameters, cores, device)
        rule = "ignore" if library == "unguarded" else "stop"
        choose = library != "XLA's choice"
        return ours.make(case, parameters, cores, device, rule, choose)
    if library == "keras":
        from experiments.benchmarks import peer_keras

        return peer_keras.make(case, parameters, cores, device)
    if library == "flax":
        from experiments.benchmarks import peer_flax

        return peer_flax.make(case, parameters, cores, device)
    if work in ("inference", "generation"):
        from experiments.benchmarks import torch_asking

        return torch_asking.make(case, parameters, cores, device, work)
    from experiments.benchmarks import peer_torch

    compiled = library == "compile"
    return peer_torch.make(case, parameters, cores, device, compiled=compiled)
