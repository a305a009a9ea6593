"""Epochs of a machine and of the peer: what is written, and that both train the same networks."""

import json

import pytest

from benchmarks import epochs
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig

CPU = {"device": "CPU x86_64", "cpu": "AMD EPYC 7B12", "cores": 2}


def row(**seconds):
    return {"seconds": {"tfprune": [9.0, 2.0, 4.0, 3.0], **seconds}}


@pytest.mark.parametrize(
    ("about", "name"),
    [(CPU, "amd-epyc-7b12-2-cores"), ({**CPU, "device": "GPU NVIDIA H200"}, "nvidia-h200")],
)
def test_a_machines_file_is_named_by_its_gpu_or_its_cpu(about, name):
    assert epochs.slug(about) == name


def test_rows_are_kept_beside_those_of_earlier_runs(tmp_path):
    path = tmp_path / "there" / "machine.json"
    epochs.write(path, CPU, {"a": row(), "b": row()})
    epochs.write(path, CPU, {"b": {"date": "later"}})
    assert json.loads(path.read_text()) == {
        "machine": CPU,
        "rows": {"a": row(), "b": {"date": "later"}},
    }


def test_the_first_epoch_is_told_apart_and_the_peer_compared_by_medians():
    shown = epochs.table({"net": row(peer=[1.0, 6.0, 12.0, 5.0])})
    cells = [list(column.cells) for column in shown.columns]
    assert cells[2:] == [["9.00 s", "1.00 s"], ["3.000 s", "6.000 s"], ["", "2.00"]]


def test_our_epochs_are_timed_at_the_size_asked_for(tmp_path):
    flags = ("lenet_300_100", "--dtype=float32", "--epochs=2", "--peer=", "--matmul=ieee")
    sizes = ("--train_examples=150", "--test_examples=20", f"--folder={tmp_path}")
    assert epochs.main([*flags, *sizes]) == 0
    (path,) = tmp_path.iterdir()
    (timed,) = json.loads(path.read_text())["rows"].values()
    assert len(timed["seconds"]["tfprune"]) == 2
    assert (timed["train_examples"], timed["test_examples"]) == (150, 20)


@pytest.mark.parametrize("network", epochs.NETWORKS)
def test_the_peer_has_as_many_weights(network):
    torch_peer = pytest.importorskip("benchmarks.torch_peer", exc_type=ImportError)
    shape = (28, 28, 1) if network.startswith("lenet") else (32, 32, 3)
    ours = build_model(ModelConfig(model=network), shape, 10)
    theirs = sum(value.numel() for value in torch_peer.NETWORKS[network]().parameters())
    assert theirs == sum(weight.shape.num_elements() for weight in ours.trainable_weights)
