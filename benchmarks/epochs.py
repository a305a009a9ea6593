"""Seconds of an epoch with both evaluations, beside PyTorch's: `python -m benchmarks.epochs`.

On whatever device there is: images of MNIST's and CIFAR-10's shape and number, augmented as the
papers do, batch 128, SGD with momentum and weight decay, masks on, every callback of a study. Each
machine has a file of its own in `benchmarks/epochs/`. Where this Python, or the one that `--peer`
names, has PyTorch, the same epochs run there too (`benchmarks/torch_peer.py`), each right after
ours, so that the ratio is of one run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.workloads import Workload, image_data
from tfprune.backend import tf
from tfprune.config import from_settings
from tfprune.training import command_buffers, runtime

FOLDER = Path(__file__).parent / "epochs"
PEER = Path(__file__).with_name("torch_peer.py")
NETWORKS = ("lenet_300_100", "resnet20", "resnet18", "vgg16")
DTYPES = ("float32", "mixed_bfloat16")
# What `torch_peer.py` can be asked for beside its eager mode.
PEER_MODES = {"eager": (), "channels_last": ("--channels_last",), "compile": ("--compile",)}


def main(argv: Sequence[str] | None = None) -> int:
    """Times the networks that `argv` names, prints a table and writes the machine's file."""
    options = _parse(argv)
    os.environ.update(command_buffers.environment(os.environ))  # As `run.py` does.
    runtime.configure(from_settings({}))
    about = {**machine.description(), "device": runtime.device_description(from_settings({}))}
    path = options.folder / f"{slug(about)}.json"
    rows: dict[str, dict[str, Any]] = {}
    for network in options.network:
        for dtype in options.dtype:
            row = measured(network, dtype, options)
            rows[f"{network} {dtype}"] = row
            write(path, about, rows)
        tf.keras.backend.clear_session()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table(rows))
    console.print(f"written to {path}")
    return 0


def measured(network: str, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row: our epochs, then the peer's in each of its modes."""
    row = {
        "code": machine.code(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "load_before": machine.load(),
        "train_examples": _examples(network, options)[0],
        "test_examples": _examples(network, options)[1],
        "seconds": {"tfprune": ours(network, dtype, options)},
    }
    for mode in options.peer_mode if options.peer else ():
        found = peers(network, dtype, mode, options)
        row["torch"] = found["torch"]
        row["seconds"][f"PyTorch, {mode}"] = found["seconds"]
    return row


def ours(network: str, dtype: str, options: argparse.Namespace) -> list[float]:
    """Seconds of each epoch; the first compiles."""
    is_small = network.startswith("lenet")
    data = image_data(*_examples(network, options), (28, 28, 1) if is_small else (32, 32, 3))
    settings = {
        "model": network,
        "dtype": dtype,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "augment": "none" if is_small else "flip_shift",
        "matmul": options.matmul,
    }
    with tempfile.TemporaryDirectory() as folder:
        return Workload.of(folder, data, **settings).train(options.epochs)


def peers(network: str, dtype: str, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """What `torch_peer.py` prints."""
    train, test = _examples(network, options)
    command = [
        *(options.peer, str(PEER), network, f"--dtype={dtype}", *PEER_MODES[mode]),
        *(f"--epochs={options.epochs}", f"--train_examples={train}", f"--test_examples={test}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def slug(about: dict[str, Any]) -> str:
    """A machine as the name of its file: its GPU, or its CPU and cores."""
    name = str(about["device"])
    if name.startswith("CPU"):
        name = f"{about['cpu']} {about['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.removeprefix("GPU ").lower()).strip("-")


def write(path: Path, about: dict[str, Any], rows: dict[str, dict[str, Any]]) -> None:
    """Writes the rows beside those of earlier runs on the machine; each says its code."""
    earlier = json.loads(path.read_text())["rows"] if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": about, "rows": {**earlier, **rows}}, indent=1) + "\n")


def table(rows: dict[str, dict[str, Any]]) -> Table:
    """The first epoch, the median of the others, and how many times as long the peer took."""
    shown = Table("network", "by", "first epoch", "later epochs", "times as long as ours")
    for name, row in rows.items():
        later = {who: statistics.median(of[1:] or of) for who, of in row["seconds"].items()}
        for who, seconds in row["seconds"].items():
            times = "" if who == "tfprune" else f"{later[who] / later['tfprune']:.2f}"
            shown.add_row(name, who, f"{seconds[0]:.2f} s", f"{later[who]:.3f} s", times)
    return shown


def _examples(network: str, options: argparse.Namespace) -> tuple[int, int]:
    """Of MNIST or CIFAR-10, or as many as were asked for."""
    train = options.train_examples or (60_000 if network.startswith("lenet") else 50_000)
    return train, options.test_examples


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epochs", description=__doc__)
    add = parser.add_argument
    add("network", nargs="*", default=NETWORKS, help=f"default: {' '.join(NETWORKS)}")
    add("--dtype", action="append", choices=DTYPES, help="may be repeated; default: both")
    add("--matmul", default="tf32", choices=("tf32", "ieee"), help="of our training steps")
    add("--epochs", type=int, default=4, help="of each; the first one is told apart")
    add("--train_examples", type=int, help="default: 60,000 for LeNet, 50,000 for the others")
    add("--test_examples", type=int, default=10_000)
    has_torch = importlib.util.find_spec("torch") is not None
    add("--peer", default=sys.executable if has_torch else "", help="a Python that has PyTorch")
    add("--peer_mode", action="append", choices=PEER_MODES, help="may be repeated; default: all")
    add("--folder", type=Path, default=FOLDER, help="for the machine's file")
    options = parser.parse_args(argv)
    options.dtype = options.dtype or DTYPES
    options.peer_mode = options.peer_mode or tuple(PEER_MODES)
    return options


if __name__ == "__main__":
    sys.exit(main())
