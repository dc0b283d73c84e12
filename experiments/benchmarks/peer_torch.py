"""PyTorch, eager or compiled, as its tutorials write a model and its step.

Convolutions are channels-last, the faster layout on a CPU.
"""

import math
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks.cases import (
    CODE,
    LATENTS,
    LEARNING_RATE,
    Arrays,
    Case,
    Side,
    load_parameters,
    make_batches,
    make_latents,
)

EPSILON = 1e-6  # of Flax's layer norm; PyTorch's own default is 1e-5


class MLP(nn.Module):
    def __init__(self, inputs: int, classes: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.Dense_0 = nn.Linear(inputs, hidden[0])
        self.Dense_1 = nn.Linear(hidden[0], hidden[1])
        self.output = nn.Linear(hidden[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(F.relu(self.Dense_1(F.relu(self.Dense_0(x)))))


class SimpleCNN(nn.Module):
    def __init__(self, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.Conv_0 = nn.Conv2d(1, 30, 5)
        self.Dense_0 = nn.Linear(30 * 12 * 12, 100)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.output = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.Conv_0(x)), 2)
        # Channels last, as they lie in memory: a view, and the order of jaxdl.
        x = self.dropout(x.permute(0, 2, 3, 1).flatten(1))
        return self.output(self.dropout(F.relu(self.Dense_0(x))))


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_0 = ConvNorm(inputs, outputs, stride)
        self.conv_1 = ConvNorm(outputs, outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_1(F.relu(self.conv_0(x)))
        if self.more:
            strided = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(strided, (0, 0, 0, 0, 0, self.more))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16)
        self.names, inputs = [], 16
        for stage in range(3):
            for block in range(3):
                self.names.append(f"stage_{stage}_block_{block}")
                outputs, stride = 16 * 2**stage, 2 if stage and not block else 1
                self.add_module(self.names[-1], Residual(inputs, outputs, stride))
                inputs = outputs
        self.output = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.output(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).split(width, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(y.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, EPSILON)
        self.attention = Attention(width, heads)
        self.dense_norm = nn.LayerNorm(width, EPSILON)
        self.dense_in = nn.Linear(width, 4 * width)
        self.dense_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm(x))
        y = F.gelu(self.dense_in(self.dense_norm(x)), approximate="tanh")
        return x + self.dense_out(y)


class TransformerLM(nn.Module):
    def __init__(
        self,
        classes: int,
        width: int,
        layers: int,
        heads: int,
        max_length: int,
        positions: str,
    ) -> None:
        super().__init__()
        assert positions == "learned"
        self.table = nn.Embedding(classes, width)
        self.added = nn.Embedding(max_length, width)
        self.blocks = [Block(width, heads) for _ in range(layers)]
        for i, block in enumerate(self.blocks):
            self.add_module(f"blocks_{i}", block)
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.table(tokens) * self.table.embedding_dim**0.5 + self.added(places)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.table.weight)


class LSTM(nn.Module):
    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes, width)
        self.recurrent_0 = nn.LSTM(width, width, batch_first=True)
        # PyTorch adds two biases; the model compared has one.
        self.recurrent_0.bias_hh_l0.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.recurrent_0(self.table(tokens) * self.table.embedding_dim**0.5)
        return F.linear(x, self.table.weight)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Dense_0 = nn.Linear(LATENTS, 7 * 7 * 128, bias=False)
        self.BatchNorm_0 = nn.BatchNorm2d(128)
        self.ConvTranspose_0 = nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False)
        self.BatchNorm_1 = nn.BatchNorm2d(64)
        self.ConvTranspose_1 = nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False)
        self.BatchNorm_2 = nn.BatchNorm2d(32)
        self.Conv_0 = nn.Conv2d(32, 1, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.Dense_0(z).view(-1, 7, 7, 128).permute(0, 3, 1, 2)
        x = F.leaky_relu(self.BatchNorm_0(x), 0.2)
        x = F.leaky_relu(self.BatchNorm_1(self.ConvTranspose_0(x)), 0.2)
        x = F.leaky_relu(self.BatchNorm_2(self.ConvTranspose_1(x)), 0.2)
        return torch.tanh(self.Conv_0(x))


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(1, 32, 3, 1, 1)
        self.conv_1 = nn.Conv2d(32, 64, 4, 2, 1)
        self.conv_2 = nn.Conv2d(64, 128, 4, 2, 1)
        self.output = nn.Linear(7 * 7 * 128, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv_0, self.conv_1, self.conv_2):
            x = F.leaky_relu(layer(x), 0.2)
        return self.output(x.permute(0, 2, 3, 1).flatten(1))[:, 0]


class DCGAN(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        assert shape == (28, 28, 1)
        self.generator = Generator()
        self.discriminator = Discriminator()


class VAE(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        pixels = math.prod(shape)
        self.encoder = MLP(pixels, 2 * CODE, (500, 500))
        self.images = MLP(CODE, pixels, (500, 500))


MODELS: dict[str, Any] = {
    "mlp": MLP,
    "vae_mlp": VAE,
    "simple_cnn": SimpleCNN,
    "resnet20": ResNet20,
    "transformer_lm": TransformerLM,
    "lstm_lm": LSTM,
    "dcgan": DCGAN,
}


def make(
    case: Case, parameters: Path, cores: int, device: str, compiled: bool = False
) -> Side:
    """The case with the parameters of the file.

    Raises:
      LookupError: it is not written here.
    """
    torch.set_num_threads(cores)
    if case.model not in MODELS:
        raise LookupError(f"torch has no case {case.name}")
    to = "cuda" if device == "gpu" else "cpu"
    given = load_parameters(parameters)
    steps = [_step(case, given, to, compiled) for _ in range(case.folds)]
    batches = [tensors(batch, to) for batch in make_batches(case)]
    calls = count()

    def take() -> Tensor:
        inputs, targets = batches[next(calls) % len(batches)]
        if case.folds == 1:
            return steps[0](inputs, targets)
        folds = zip(steps, inputs, targets, strict=True)
        taken = [step(x, y) for step, x, y in folds]
        return torch.stack([loss.detach() for loss in taken]).mean()

    def losses(loss: Tensor) -> list[float]:
        return [loss.item()]

    return Side(take, losses, 1, {"torch": torch.__version__})


def filled(case: Case, given: Arrays, to: str) -> Any:
    """The case's model with the given parameters, on a device."""
    sizes = {"inputs": case.shape[0]} if case.model == "mlp" else {}
    model = MODELS[case.model](**sizes, **case.arguments)
    _fill(model, given)
    return model.to(to, memory_format=torch.channels_last)


def _step(case: Case, given: Arrays, to: str, compiled: bool) -> Any:
    model = filled(case, given, to)
    if case.kind == "adversarial":
        return _adversarial(model, torch.from_numpy(make_latents(case)).to(to))
    if case.kind == "variational":
        return _variational(model, torch.from_numpy(make_latents(case)).to(to))
    return _supervised(model, torch.compile(model) if compiled else model)


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    learned = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.Adam(learned, LEARNING_RATE)


def _supervised(model: nn.Module, run: Any) -> Callable[[Tensor, Tensor], Tensor]:
    optimizer = _adam(model)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        logits = run(inputs)
        loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss

    return step


def _variational(model: VAE, noise: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    optimizer = _adam(model)

    def step(images: Tensor, targets: Tensor) -> Tensor:
        del targets
        x = images.flatten(1)
        mean, log_variance = model.encoder(x).chunk(2, dim=1)
        logits = model.images(mean + torch.exp(log_variance / 2) * noise)
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
        loss = (loss + kl) / len(x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    return step


def _adversarial(model: DCGAN, z: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The critic's update, then the generator's; no gradient that is not used."""
    generator, critic = model.generator, model.discriminator
    of_generator, of_critic = _adam(generator), _adam(critic)

    def step(real: Tensor, targets: Tensor) -> Tensor:
        del targets
        with torch.no_grad():
            made = generator(z)
        scores = critic(torch.cat([real, made]))
        loss = F.softplus(-scores[: len(z)]).mean()
        loss = loss + F.softplus(scores[len(z) :]).mean()
        of_critic.zero_grad(set_to_none=True)
        loss.backward()
        of_critic.step()
        critic.requires_grad_(False)
        fooled = F.softplus(-critic(generator(z))).mean()
        of_generator.zero_grad(set_to_none=True)
        fooled.backward()
        of_generator.step()
        critic.requires_grad_(True)
        return loss.detach() + fooled

    return step


def tensors(batch: Arrays, to: str) -> tuple[Tensor, Tensor]:
    """Inputs, images with their channels first to see and last in memory; targets."""
    inputs = torch.from_numpy(np.ascontiguousarray(batch["inputs"]))
    if inputs.ndim == 4:
        inputs = inputs.permute(0, 3, 1, 2)
    elif inputs.dtype == torch.int32:
        inputs = inputs.long()
    return inputs.to(to), torch.from_numpy(batch["targets"].astype(np.int64)).to(to)


def _fill(model: nn.Module, given: Arrays) -> None:
    """Write the parameters; names are jaxdl's, but for those of three layers."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = _value(name.replace(".", "/"), given)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def _value(name: str, given: Arrays) -> np.ndarray:
    layer, _, kind = name.rpartition("/")
    if layer.endswith("/qkv"):
        parts = [given[f"{layer[:-4]}/{of}/kernel"] for of in ("query", "key", "value")]
        return np.concatenate(parts, axis=1).T
    if kind == "bias_hh_l0":
        return np.zeros_like(given[f"{layer}/bias"])
    kinds = {
        "weight_ih_l0": "kernel",
        "weight_hh_l0": "recurrent_kernel",
        "bias_ih_l0": "bias",
    }
    if kind != "weight":
        value = given[f"{layer}/{kinds.get(kind, kind)}"]
        return value.T
    for own in ("scale", "embedding"):
        if f"{layer}/{own}" in given:
            return given[f"{layer}/{own}"]
    kernel = given[f"{layer}/kernel"]
    if "ConvTranspose" in layer:  # jaxdl's is that of a convolution, not turned about
        return kernel[::-1, ::-1].transpose(2, 3, 0, 1)
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
