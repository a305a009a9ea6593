"""Processes that share one training: one that is gone is one sentence in the others."""

import socket

import pytest
from wording import says

from tfprune.backend import tf
from tfprune.engine.workers import PeerLost, peers_watched
from tfprune.training import meeting
from tfprune.training.cluster import Worker


def raise_in(worker, error):
    with peers_watched(worker):
        raise error


@pytest.fixture
def two():
    """A process whose one peer is there, and whose other is not."""
    with (
        socket.create_server(("localhost", 0)) as here,
        socket.create_server(("localhost", 0)) as s,
    ):
        gone = f"localhost:{s.getsockname()[1]}"
        s.close()
        yield Worker(peers={"chief 0": f"localhost:{here.getsockname()[1]}", "worker 1": gone})


@pytest.mark.parametrize("kind", [tf.errors.UnavailableError, tf.errors.InternalError])
def test_a_peer_that_is_gone_is_named(two, kind):
    with pytest.raises(PeerLost) as lost:
        raise_in(two, kind(None, None, "Collective ops is aborted by: recvmsg"))
    assert says(str(lost.value), two.peers["worker 1"], "is gone", "last checkpoint")
    assert "chief 0" not in str(lost.value)


def test_errors_of_ones_own_stay_what_they_are(two, monkeypatch):
    monkeypatch.setattr(meeting, "_PATIENCE_SECONDS", 0.01)
    here = Worker(peers={"chief 0": two.peers["chief 0"]})
    with pytest.raises(tf.errors.InternalError):
        raise_in(here, tf.errors.InternalError(None, None, "a bug"))
    with pytest.raises(PeerLost, match=r"another .* does not answer"):
        raise_in(here, tf.errors.UnavailableError(None, None, "Connection reset by peer"))
    with pytest.raises(ValueError, match="else"):
        raise_in(here, ValueError("something else"))
