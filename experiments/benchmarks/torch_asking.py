"""PyTorch's side where nothing is learned: what a model says, and what it writes."""

from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.benchmarks.cases import (
    Case,
    Side,
    digest,
    load_parameters,
    make_batches,
)
from experiments.benchmarks.peer_torch import Block, TransformerLM, filled, tensors


def make(case: Case, parameters: Path, cores: int, device: str, work: str) -> Side:
    """The case with the parameters of the file, eager and without gradients.

    Raises:
      LookupError: it is not written here.
    """
    torch.set_num_threads(cores)
    to = "cuda" if device == "gpu" else "cpu"
    model = filled(case, load_parameters(parameters), to).eval()
    batches, calls = [tensors(batch, to)[0] for batch in make_batches(case)], count()
    versions = {"torch": torch.__version__}
    if work == "inference":

        @torch.inference_mode()
        def ask() -> Tensor:
            return model(batches[next(calls) % len(batches)])

        return Side(ask, lambda x: [x.abs().mean().item()], 1, versions)
    total = case.shape[0]

    def losses(tokens: Tensor) -> list[float]:
        return digest(tokens[0].cpu().numpy())

    return Side(
        lambda: write(model, batches[0][:, :1], total), losses, total - 1, versions
    )


@torch.inference_mode()
def write(model: TransformerLM, token: Tensor, total: int) -> Tensor:
    """What follows a token [batch, 1], greedily, [batch, total - 1]; keys and values
    are kept in memory that is there from the beginning."""
    heads = model.blocks[0].attention.heads
    width = model.table.embedding_dim
    shape = (len(token), heads, total, width // heads)
    kept = [(torch.zeros(shape), torch.zeros(shape)) for _ in model.blocks]
    kept = [(k.to(token.device), v.to(token.device)) for k, v in kept]
    written = []
    for at in range(total - 1):
        place = torch.tensor([at], device=token.device)
        x = model.table(token) * width**0.5 + model.added(place)
        for block, (keys, values) in zip(model.blocks, kept, strict=True):
            x = _block(block, x, keys, values, at)
        logits = F.linear(model.norm(x), model.table.weight)
        token = logits[:, -1:].argmax(-1)
        written.append(token)
    return torch.cat(written, 1)


def _block(block: Block, x: Tensor, keys: Tensor, values: Tensor, at: int) -> Tensor:
    """The block for the token at a place; what it looks at is kept."""
    attention: Any = block.attention
    q, k, v = (
        part.view(len(x), 1, attention.heads, -1).transpose(1, 2)
        for part in attention.qkv(block.norm(x)).split(x.shape[-1], 2)
    )
    keys[:, :, at], values[:, :, at] = k[:, :, 0], v[:, :, 0]
    y = F.scaled_dot_product_attention(q, keys[:, :, : at + 1], values[:, :, : at + 1])
    x = x + attention.output(y.transpose(1, 2).reshape(x.shape))
    y = F.gelu(block.dense_in(block.dense_norm(x)), approximate="tanh")
    return x + block.dense_out(y)
