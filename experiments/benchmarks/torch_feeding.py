"""Data into the step of a small CNN by PyTorch's ``DataLoader``."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from experiments.benchmarks import cases, torch_records
from experiments.benchmarks.peer_torch import SimpleCNN
from experiments.benchmarks.worker import Task

WORKERS = (0, 2)


def take(task: Task) -> dict[str, Any]:
    """As ``feeding.take``; the faster number of workers counts, for each figure."""
    torch.set_num_threads(task.cores)
    rates = [_rate(_batches(task, workers), task) for workers in WORKERS]
    runs = [_train(_batches(task, workers), task) for workers in WORKERS]
    waited, spent = min(runs, key=lambda run: run[1])
    faster = WORKERS[rates.index(max(rates))], WORKERS[runs.index((waited, spent))]
    return {
        "losses": [],
        "examples_a_second": max(rates),
        "wait_percent": 100 * waited / spent,
        "milliseconds": 1e3 * spent / cases.FED_STEPS,
        "told": "feeds fastest with {} workers, trains with {}".format(*faster),
        "versions": {"torch": torch.__version__},
    }


def _batches(task: Task, workers: int) -> Iterator[Any]:
    """Batches without end, each pass in an order of its own."""
    asked = (task.data_dir, "mnist", "train")
    data: Dataset = (
        TensorDataset(*torch_records.images(*asked))
        if task.case == "mnist_memory"
        else torch_records.Images(*asked)
    )
    loader = DataLoader(
        data,
        cases.FED_BATCH,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
        # A fork of a process that reads ArrayRecord does not outlive its first read.
        multiprocessing_context="spawn" if workers else None,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


def _rate(batches: Iterator[Any], task: Task) -> float:
    """Examples a second, once the first batch is there."""
    next(batches)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < task.seconds:
        count += len(next(batches)[1])
    return count / (time.perf_counter() - began)


def _train(batches: Iterator[Any], task: Task) -> tuple[float, float]:
    """Seconds that steps waited for their batches, and seconds of both; the first
    batch, with which workers begin, is left out."""
    to = "cuda" if task.device == "gpu" else "cpu"
    model: Any = SimpleCNN(10)
    model = model.to(to, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), cases.LEARNING_RATE)
    images, targets = next(batches)
    _step(model, optimizer, images, targets, to)
    waited, began = 0.0, time.perf_counter()
    for _ in range(cases.FED_STEPS):
        asked = time.perf_counter()
        images, targets = next(batches)
        waited += time.perf_counter() - asked
        loss = _step(model, optimizer, images, targets, to)
    loss.item()
    return waited, time.perf_counter() - began


def _step(
    model: nn.Module, optimizer: Any, images: Tensor, targets: Tensor, to: str
) -> Tensor:
    # About MNIST's mean and deviation, as jaxdl's run fits them.
    inputs = ((images.to(to).float() - 33.3) / 78.6)[:, None]
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(inputs), targets.to(to))
    loss.backward()
    optimizer.step()
    return loss
