"""PyTorch's whole runs, as a user of it writes them; prints one line of JSON.

``python -m experiments.benchmarks.torch_runs '{"experiment": ..., "flags": ...}'``: a
recipe is the flags of jaxdl's command. Data are decoded once, and lie in memory.
"""

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import torch_records
from experiments.benchmarks.peer_torch import SimpleCNN, TransformerLM

Flags = Mapping[str, Any]
Batch = tuple[Tensor, Tensor]
AT_ONCE = 512  # examples of a check


def classify(flags: Flags, data_dir: str, to: str) -> dict[str, Any]:
    """Train the small CNN; what it reaches on the test part, by its best check."""
    assert flags["model"] == "simple_cnn"
    shift = int(flags["augment"].removeprefix("shift="))
    inputs, targets = torch_records.images(data_dir, flags["dataset"], "train")
    tested, labels = torch_records.images(data_dir, flags["dataset"], "test")
    order = torch.randperm(len(inputs))
    validating = round(flags["validation_fraction"] * len(order))
    held, kept = order.tensor_split([validating])
    pixels = inputs[kept].float()
    std, mean = torch.std_mean(pixels)

    def standardised(images: Tensor) -> Tensor:
        return ((images.float() - mean) / std)[:, None].to(to)

    train = standardised(inputs[kept]), targets[kept].to(to)
    validation = standardised(inputs[held]), targets[held].to(to)
    passes = [torch.randperm(len(kept)) for _ in range(flags["epochs"])]
    batches = torch.cat(passes).split(flags["batch_size"])
    model: Any = SimpleCNN(10, flags["dropout"])
    model = model.to(to, memory_format=torch.channels_last)

    def batch(step: int) -> Batch:
        chosen = batches[step].to(to)
        return shifted(train[0][chosen], shift), train[1][chosen]

    seconds = fit(
        model, flags, len(batches), batch, lambda: accuracy(model, *validation)
    )
    reached = accuracy(model, standardised(tested), labels.to(to))
    return {"reached": reached, "training": seconds, "steps": len(batches)}


def shifted(images: Tensor, most: int) -> Tensor:
    """Each image [batch, 1, side, side] moved by up to so many pixels along each axis,
    its border repeated."""
    count, _, side, _ = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    moved = torch.randint(2 * most + 1, (2, count, 1), device=images.device)
    rows, columns = moved + torch.arange(side, device=images.device)
    example = torch.arange(count, device=images.device)[:, None, None]
    return padded[example, 0, rows[:, :, None], columns[:, None, :]][:, None]


@torch.inference_mode()
def accuracy(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """The share of examples that a model is right on."""
    model.eval()
    parts = zip(inputs.split(AT_ONCE), targets.split(AT_ONCE), strict=True)
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in parts)
    return right / len(targets)


def learn_language(flags: Flags, data_dir: str, to: str) -> dict[str, Any]:
    """Train the Transformer on characters; its least loss in validation."""
    texts = [
        torch_records.text(data_dir, flags["dataset"], part)
        for part in ("train", "validation")
    ]
    known = {symbol: i for i, symbol in enumerate(sorted(set("".join(texts))))}
    train, held = (torch.tensor([known[c] for c in text]).to(to) for text in texts)
    context, size = flags["context"], flags["batch_size"]
    cut = range(0, len(held) - 1, context)
    validation = [(held[i : i + context], held[i + 1 : i + context + 1]) for i in cut]
    *whole, last = validation
    stacked = [torch.stack(parts) for parts in zip(*whole, strict=True)]
    model = TransformerLM(
        len(known), flags["width"], flags["layers"], flags["heads"], context, "learned"
    ).to(to)
    begin_as_jaxdl(model)

    def batch(step: int) -> Batch:
        del step
        at = torch.randint(len(train) - context, (size, 1), device=to)
        at = at + torch.arange(context + 1, device=to)
        return train[at[:, :-1]], train[at[:, 1:]]

    @torch.inference_mode()
    def score() -> float:
        model.eval()
        parts = list(zip(*(part.split(64) for part in stacked), strict=True))
        parts.append((last[0][None, : len(last[1])], last[1][None]))
        sums = [float(loss_of(model, x, y, "sum")) for x, y in parts]
        return -sum(sums) / (len(held) - 1)

    steps = flags["max_steps"]
    seconds = fit(model, flags, steps, batch, score)
    return {"reached": -score(), "training": seconds, "steps": steps}


def begin_as_jaxdl(model: nn.Module) -> None:
    """Initial weights of the deviations that jaxdl draws them with, and no biases."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            places = name.startswith("added")
            std = 0.02 if places else parameter.shape[1] ** -0.5
            nn.init.normal_(parameter, std=std)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def loss_of(
    model: nn.Module, inputs: Tensor, targets: Tensor, reduction: str = "mean"
) -> Tensor:
    """Cross entropy of classes [batch], or of tokens [batch, time]."""
    logits = model(inputs)
    flat = logits.flatten(0, -2)
    return F.cross_entropy(flat, targets.flatten(), reduction=reduction)


def fit(
    model: nn.Module,
    flags: Flags,
    steps: int,
    batch: Callable[[int], Batch],
    score: Callable[[], float],
) -> float:
    """Train a model, and leave it with the parameters of the best score; seconds."""
    optimizer = make_optimizer(model, flags)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, factor(flags, steps))
    best, kept = -math.inf, model.state_dict()
    began = time.perf_counter()
    for step in range(steps):
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss_of(model, *batch(step)).backward()
        if flags.get("clip_norm"):
            nn.utils.clip_grad_norm_(model.parameters(), flags["clip_norm"])
        optimizer.step()
        rate.step()
        if (step + 1) % flags["evaluate_every"] == 0 or step + 1 == steps:
            reached = score()
            if reached > best:
                best, kept = reached, copy.deepcopy(model.state_dict())
    seconds = time.perf_counter() - began
    model.load_state_dict(kept)
    return seconds


def make_optimizer(model: nn.Module, flags: Flags) -> torch.optim.Optimizer:
    """Adam, or AdamW that spares biases and norms."""
    if flags["optimizer"] == "adam":
        return torch.optim.Adam(model.parameters(), flags["learning_rate"])
    groups = [
        {
            "params": [p for p in model.parameters() if (p.ndim > 1) == decays],
            "weight_decay": flags["weight_decay"] if decays else 0.0,
        }
        for decays in (True, False)
    ]
    return torch.optim.AdamW(groups, flags["learning_rate"])


def factor(flags: Flags, steps: int) -> Callable[[int], float]:
    """Of the learning rate at a step: a straight line up, then half a cosine to 0."""
    assert flags["schedule"] == "warmup_cosine"
    warmup = flags["warmup_steps"]

    def at(step: int) -> float:
        done = max(step - warmup, 0) / (steps - warmup)
        return min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * done)) / 2

    return at


RUNS = {"image_classification": classify, "language_model": learn_language}


def main(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the run of a recipe reached, the seconds and steps of its training."""
    torch.set_num_threads(asked["cores"])
    torch.manual_seed(0)
    to = "cuda" if asked["device"] == "gpu" else "cpu"
    found = RUNS[asked["experiment"]](asked["flags"], asked["data_dir"], to)
    return {**found, "versions": {"torch": torch.__version__}}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
