"""Claims: one process at a time, freed by its death, on disks and on Cloud Storage."""

import csv
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
from datetime import datetime, timezone

import pytest
from etils import epath
from processes import wait_long

from tfprune import claims, layout
from tfprune.claims import claim, exclusively
from tfprune.errors import CannotWrite, InputError


def start(program, *arguments):
    """A Python process of its own; it says a line when it is ready."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


HOLD = """
    import sys
    from tfprune.claims import claim
    with claim(sys.argv[1]) as mine:
        print(mine, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    process = start(HOLD, tmp_path / "claims" / "a.lock")
    assert process.stdout.readline() == "True\n"
    yield tmp_path / "claims" / "a.lock", process
    process.kill()
    process.communicate()


def test_of_two_processes_one_gets_it_until_it_lets_go(holder):
    path, process = holder
    with claim(path) as mine, claim(path.parent / "b.lock") as other:
        assert (mine, other) == (False, True)
    process.communicate("\n")
    with claim(path) as mine:
        assert mine
        with claim(path) as again:
            assert not again


def test_a_killed_holders_claim_is_free_at_once(holder):
    path, process = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    with claim(path) as mine:
        assert mine


def test_exclusively_waits_for_the_holder_and_says_when_it_takes_too_long(holder):
    path, process = holder
    began = time.monotonic()
    with (
        pytest.raises(InputError, match=r"held .*a\.lock for 0\.2 seconds"),
        exclusively(path, timeout_seconds=0.2),
    ):
        pytest.fail("two have it")
    timer = threading.Timer(0.4, process.communicate, ["\n"])
    timer.start()
    with exclusively(path):
        assert time.monotonic() - began > 0.6
        with claim(path) as mine:
            assert not mine
    timer.join()


def test_what_stands_in_a_folders_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file is a file, and must be a folder"):
        claim(tmp_path / "file" / "a.lock").__enter__()


MERGE = """
    import sys
    from tfprune.store import merge_rows
    print("ready", flush=True)
    sys.stdin.readline()
    for level in range(50):
        row = {"experiment": "e", "trial": "t", "seed": sys.argv[2], "branch": "", "level": level}
        merge_rows(sys.argv[1], [row])
"""


def test_two_processes_that_write_one_table_lose_no_row(tmp_path):
    writers = [start(MERGE, tmp_path, seed) for seed in (0, 1)]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, text = writer.communicate()
        assert writer.returncode == 0, text
    with (tmp_path / layout.RESULTS).open() as file:
        rows = [(int(row["seed"]), int(row["level"])) for row in csv.DictReader(file)]
    assert rows == [(seed, level) for seed in (0, 1) for level in range(50)]


class Bucket(http.server.ThreadingHTTPServer):
    """As much of Cloud Storage's JSON API as claims use: generations, and writes that expect one.

    Attributes:
      objects: (generation, time of the last write, content) by name.
      requests: what was asked for.
      lose_next: how many answers to successful writes to lose.
      broken: whether every request fails.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Requests)
        self.lock = threading.Lock()
        self.objects = {}
        self.requests = []
        self.generation = 1000
        self.lose_next = 0
        self.broken = False

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def write(self, name, content):
        self.generation += 1
        self.objects[name] = (self.generation, time.time(), content)

    def age(self, name, seconds):
        generation, written, content = self.objects[name]
        self.objects[name] = (generation, written - seconds, content)


class _Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, content=b"{}", kind="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def metadata(self, name):
        generation, written, content = self.server.objects[name]
        updated = datetime.fromtimestamp(written, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        about = {"name": name, "bucket": "bucket", "generation": str(generation)}
        return json.dumps({**about, "updated": updated, "size": str(len(content))}).encode()

    def parts(self):
        parsed = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parsed.query))
        name = urllib.parse.unquote(parsed.path.rpartition("/o/")[2])
        return parsed.path, name, query

    def expects_another(self, name, query):
        expected = query.get("ifGenerationMatch")
        return expected is not None and int(expected) != self.server.objects.get(name, (0,))[0]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, _, query = self.parts()
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
        about, content = (
            part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            for part in body.split(b"--" + boundary)[1:3]
        )
        name = query.get("name") or json.loads(about)["name"]
        with self.server.lock:
            self.server.requests.append(("write", name))
            if self.server.broken:
                return self.answer(403)
            if self.expects_another(name, query):
                return self.answer(412)
            self.server.write(name, content)
            if self.server.lose_next:
                self.server.lose_next -= 1
                return self.answer(503)
            return self.answer(200, self.metadata(name))

    def do_GET(self):
        _, name, query = self.parts()
        with self.server.lock:
            if self.server.broken:
                return self.answer(403)
            if name not in self.server.objects:
                return self.answer(404)
            if query.get("alt") == "media":
                return self.answer(200, self.server.objects[name][2], "text/plain")
            return self.answer(200, self.metadata(name))

    def do_DELETE(self):
        _, name, query = self.parts()
        with self.server.lock:
            if name not in self.server.objects:
                return self.answer(404)
            if self.expects_another(name, query):
                return self.answer(412)
            del self.server.objects[name]
            return self.answer(204, b"")


@pytest.fixture
def bucket(monkeypatch):
    server = Bucket()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    yield server
    server.shutdown()
    server.server_close()


CLAIM = "gs://bucket/runs/.claims/a.lock"
NAME = "runs/.claims/a.lock"


def test_on_cloud_storage_a_claim_is_an_object_that_names_its_owner_and_goes_with_it(bucket):
    with claim(CLAIM) as mine:
        assert mine
        assert f"process {os.getpid()}".encode() in bucket.objects[NAME][2]
        with claim(CLAIM) as other:
            assert not other
    assert bucket.objects == {}


def test_on_cloud_storage_of_two_processes_one_gets_it(bucket):
    holder = start(HOLD, CLAIM)
    assert holder.stdout.readline() == "True\n"
    with claim(CLAIM) as mine:
        assert not mine
    holder.communicate("\n")
    with claim(CLAIM) as mine:
        assert mine


def test_of_many_who_create_it_at_once_one_gets_it(bucket):
    assert sorted(at_once(6)) == [False] * 5 + [True]


def test_of_many_who_find_it_stale_one_takes_it_over(bucket):
    bucket.write(NAME, b"a machine that is gone")
    with claim(CLAIM) as mine:
        assert not mine
    bucket.age(NAME, claims.STALE_SECONDS + 1)
    assert sorted(at_once(6)) == [False] * 5 + [True]


def at_once(count):
    """Who of so many got the claim, all of them trying before any lets go."""
    results = []
    ready, tried = threading.Barrier(count), threading.Barrier(count)

    def attempt():
        ready.wait()
        with claim(CLAIM) as mine:
            results.append(mine)
            tried.wait()

    threads = [threading.Thread(target=attempt) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_held_claim_is_renewed_and_so_never_stale(bucket, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    with claim(CLAIM) as mine:
        assert mine
        first = bucket.objects[NAME][0]
        bucket.age(NAME, claims.STALE_SECONDS + 1)
        wait_long(lambda: bucket.objects[NAME][0] > first)
        with claim(CLAIM) as other:
            assert not other
    assert bucket.objects == {}


def test_renewing_outlives_a_time_without_network(bucket, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    with claim(CLAIM):
        bucket.broken = True
        asked = len(bucket.requests)
        wait_long(lambda: len(bucket.requests) > asked)
        bucket.broken = False
        generation = bucket.objects[NAME][0]
        wait_long(lambda: bucket.objects[NAME][0] > generation)


def test_a_claim_taken_over_by_another_is_left_to_it(bucket):
    with claim(CLAIM) as mine:
        assert mine
        bucket.write(NAME, b"another machine")
    assert bucket.objects[NAME][2] == b"another machine"


def test_a_write_whose_answer_was_lost_counts(bucket):
    """The client writes again, which fails because the first one did not."""
    bucket.lose_next = 1
    with claim(CLAIM) as mine:
        assert mine
        assert bucket.requests.count(("write", NAME)) == 2
    assert bucket.objects == {}


def test_exclusively_waits_on_cloud_storage_too(bucket, monkeypatch):
    monkeypatch.setattr(claims, "_CLOUD_POLL_SECONDS", 0.05)
    bucket.write(NAME, b"another machine")
    threading.Timer(0.3, bucket.objects.clear).start()
    with exclusively(CLAIM):
        assert f"process {os.getpid()}".encode() in bucket.objects[NAME][2]


def test_a_bucket_that_refuses_is_one_line(bucket):
    bucket.broken = True
    with pytest.raises(CannotWrite, match=r"cannot write .* in gs://bucket") as error:
        claim(CLAIM).__enter__()
    assert "\n" not in str(error.value)


def test_without_the_client_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    monkeypatch.delattr("google.cloud.storage", raising=False)
    with pytest.raises(InputError, match=r"pip install 'tfprune\[gcs\]'"):
        claim(epath.Path(CLAIM)).__enter__()


def test_a_path_in_the_cloud_asks_for_credentials_before_anything_is_tried(monkeypatch):
    from google.auth import exceptions
    from google.cloud import storage

    def nobody():
        raise exceptions.DefaultCredentialsError("none were found")

    monkeypatch.setattr(storage, "Client", nobody)
    claims.check_cloud("/a/folder")
    with pytest.raises(InputError, match=r"credentials \(none were found\): gcloud auth"):
        claims.check_cloud("gs://bucket/runs")
