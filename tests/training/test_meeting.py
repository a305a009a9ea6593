"""Processes of one training find each other, or say in one line who is not there."""

import json
import socket
import threading
import time

import pytest
from processes import wait_long
from wording import says

from tfprune.errors import SettingError, Stopped
from tfprune.training import meeting
from tfprune.training.cluster import from_environment


@pytest.fixture
def workers():
    """Three processes of this machine, each at a port that is free."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(3)]
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    tasks = [("chief", 0), ("worker", 0), ("worker", 1)]
    return [
        from_environment(
            {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}
        )
        for kind, index in tasks
    ]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(meeting, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(meeting, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(meeting, "_ANSWER_SECONDS", 0.5)


def test_all_meet_in_whatever_order_they_come_and_leave_their_ports_free(workers):
    """The second of them comes last, and once the first has said that it waits for it."""
    said, errors = [], []

    def waits_for_the_second():
        return [line for line in said if line.startswith("chief 0 waits for worker 0")]

    def come(worker):
        if worker is workers[1]:
            wait_long(waits_for_the_second)
        try:
            meeting.meet(worker, 60, said.append)
        except SettingError as error:
            errors.append(error)

    threads = [threading.Thread(target=come, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert says(waits_for_the_second()[0], "(localhost:", ", 60 seconds at most")
    for worker in workers:
        meeting._Listener(worker).__enter__().__exit__()


def test_who_does_not_come_in_time_is_named_with_the_flag(workers):
    _, first, second = workers
    with pytest.raises(SettingError) as refused:
        meeting.meet(first, 0.2)
    assert says(str(refused.value), "peer_seconds=0.2", "chief 0", f"worker 1 ({second.address})")


def test_another_program_at_a_port_is_not_taken_for_a_process_of_the_training(workers):
    first, second, _ = workers
    port = int(second.address.rpartition(":")[2])
    with socket.create_server(("localhost", port)), pytest.raises(SettingError, match="worker 0"):
        meeting.meet(first, 0.2)


def test_a_signal_ends_the_waiting(workers):
    began = time.monotonic()

    def check_stop():
        if time.monotonic() > began + 0.1:
            raise Stopped(15)

    with pytest.raises(Stopped):
        meeting.meet(workers[0], 600, check_stop=check_stop)


def test_a_port_that_is_taken_is_one_line(workers):
    port = int(workers[0].address.rpartition(":")[2])
    with socket.create_server(("", port)), pytest.raises(SettingError) as refused:
        meeting.meet(workers[0], 60)
    assert says(str(refused.value), "strategy=multi_worker", workers[0].address, "must be free")


def test_a_process_alone_waits_for_nobody():
    environment = {"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}
    meeting.meet(from_environment({"TF_CONFIG": json.dumps(environment)}), 60)


def test_a_port_that_closes_a_moment_after_its_connections_is_still_found_gone(
    workers, monkeypatch
):
    monkeypatch.setattr(meeting, "_PATIENCE_SECONDS", 60)
    first, second, third = workers
    looks = []

    def listens(address):
        looks.append(address)
        return address != second.address or len(looks) < 6

    monkeypatch.setattr(meeting, "_listens", listens)
    assert meeting.absent(first) == [f"worker 0 ({second.address})"]
    assert looks == [second.address, third.address] * 4
