"""The same epochs in PyTorch, as a measure: `python benchmarks/torch_peer.py --help`.

A script of its own, for a Python that has PyTorch; it imports nothing of tfprune, which needs no
PyTorch. It does what `benchmarks.epochs` does: uint8 images stay on the device, a step gathers,
shifts, flips and normalizes a batch, takes a step of SGD with momentum and weight decay and masks
the kernels; then train and test images are evaluated. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

EVALUATION_BATCH = 1024
CLASSES = 10
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)


def conv_bn(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution without bias and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block of two convolutions, with a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first, self.second = conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def resnet(widths: tuple[int, ...], blocks: int) -> nn.Sequential:
    """A residual network for small images."""
    layers: list[nn.Module] = [conv_bn(3, widths[0]), nn.ReLU()]
    inputs = widths[0]
    for stage, outputs in enumerate(widths):
        for block in range(blocks):
            layers.append(Block(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, *_head(inputs))


def vgg16() -> nn.Sequential:
    """VGG-16 with batch norm and one dense layer; 0 is a max-pool."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in VGG16:
        layers += [conv_bn(inputs, outputs), nn.ReLU()] if outputs else [nn.MaxPool2d(2)]
        inputs = outputs or inputs
    return nn.Sequential(*layers, *_head(inputs))


def lenet() -> nn.Sequential:
    """LeNet-300-100."""
    sizes = (784, 300, 100)
    pairs = itertools.pairwise(sizes)
    hidden = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], CLASSES))


def _head(inputs: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet_300_100": lenet,
    "resnet20": lambda: resnet((16, 32, 64), 3),
    "resnet18": lambda: resnet((64, 128, 256, 512), 2),
    "vgg16": vgg16,
}


class Peer:
    """A network with all that an epoch needs.

    Args:
      options: of the command.
    """

    def __init__(self, options: argparse.Namespace):
        torch.manual_seed(0)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._is_small = options.network == "lenet_300_100"
        self._batch, self._amp = options.batch_size, options.dtype == "mixed_bfloat16"
        self._layout = (
            torch.channels_last
            if options.channels_last and not self._is_small
            else torch.contiguous_format
        )
        shape = (1, 28, 28) if self._is_small else (3, 32, 32)
        self.splits = {
            "train": self._images(options.train_examples, shape),
            "test": self._images(options.test_examples, shape),
        }
        network = NETWORKS[options.network]().to(self._device, memory_format=self._layout)
        self._network = network
        self._forward = torch.compile(network) if options.compile else network
        self._optimizer = torch.optim.SGD(
            network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, foreach=True
        )
        self._kernels = [value for value in network.parameters() if value.ndim > 1]
        self._masks = [torch.ones_like(kernel) for kernel in self._kernels]
        self.weights = sum(value.numel() for value in network.parameters())

    def _images(self, count: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, device=self._device)
        return images, torch.randint(0, CLASSES, (count,), device=self._device)

    def epoch(self) -> None:
        """Trains on every example once, then evaluates both splits."""
        self._network.train()
        images, labels = self.splits["train"]
        for rows in torch.randperm(len(images), device=self._device).split(self._batch):
            self._step(self._inputs(images[rows], augment=True), labels[rows])
        self._network.eval()
        found = [self._evaluate(*split) for split in self.splits.values()]
        [value.item() for values in found for value in values]

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = F.cross_entropy(self._forward(inputs), labels)
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_mul_(self._kernels, self._masks)

    def _evaluate(self, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        """Mean loss and accuracy."""
        losses, right = [], []
        with torch.no_grad(), self._autocast():
            for rows in self._in_order(len(images)):
                logits = self._forward(self._inputs(images[rows], augment=False)).float()
                losses.append(F.cross_entropy(logits, labels[rows], reduction="sum"))
                right.append((logits.argmax(1) == labels[rows]).sum())
        return [torch.stack(values).sum() / len(images) for values in (losses, right)]

    def _in_order(self, count: int) -> Iterator[slice]:
        starts = range(0, count, EVALUATION_BATCH)
        return (slice(start, start + EVALUATION_BATCH) for start in starts)

    def _autocast(self) -> Any:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._amp)

    def _inputs(self, images: torch.Tensor, augment: bool) -> torch.Tensor:
        if augment and not self._is_small:
            images = self._shifted(images)
        return images.float().sub(127.5).div(63.75).contiguous(memory_format=self._layout)

    def _shifted(self, images: torch.Tensor) -> torch.Tensor:
        """Each image shifted by up to 4 pixels and perhaps flipped."""
        count, channels, height, width = images.shape
        padded = F.pad(images, (4, 4, 4, 4))
        down, right = (torch.randint(0, 9, (count, 1), device=self._device) for _ in range(2))
        columns = torch.arange(width, device=self._device)
        flips = torch.rand(count, 1, device=self._device) < 0.5
        columns = torch.where(flips, columns.flip(0), columns) + right
        rows = torch.arange(height, device=self._device) + down
        each = torch.arange(count, device=self._device)[:, None, None, None]
        channel = torch.arange(channels, device=self._device)[None, :, None, None]
        return padded[each, channel, rows[:, None, :, None], columns[:, None, None, :]]


def main() -> int:
    """Trains the epochs and prints their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--dtype", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--train_examples", type=int, default=50_000)
    parser.add_argument("--test_examples", type=int, default=10_000)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    parser.add_argument("--channels_last", action="store_true", help="images as [N, H, W, C]")
    options = parser.parse_args()
    peer = Peer(options)
    seconds = []
    for _ in range(options.epochs):
        started = time.perf_counter()
        peer.epoch()  # It ends with numbers that have come from the device.
        seconds.append(time.perf_counter() - started)
    found = {"seconds": seconds, "weights": peer.weights, "torch": torch.__version__}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
