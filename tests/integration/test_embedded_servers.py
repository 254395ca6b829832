"""The servers from wheels: they start side by side, survive kill -9, and never outlive their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from socialsync_cli.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServer
from socialsync_cli.waiting import wait_until
from socialsync_common.errors import ConfigError

pytestmark = pytest.mark.integration


def test_postgres_keeps_what_it_has_committed_through_kill_9(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        url = server.url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.running, 5, "the kill")
        server.start()
        assert server.url == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_a_new_object_opens_the_folder_of_a_killed_one(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as first:
        first.ensure_database("shop")
        first.kill()
        # the dead server's pid is in use again: ours, as happens in containers
        pid_file = tmp_path / "data" / "postmaster.pid"
        pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text("utf-8").splitlines()[1:]]))
        with EmbeddedPostgres(tmp_path) as second:
            assert second.ensure_database("shop") == second.url_of("shop")


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as first:
        with pytest.raises(ConfigError, match=rf"pid {first.pid}\) runs on .*: stop it first"):
            EmbeddedPostgres(tmp_path).start()
        with psycopg.connect(first.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_many_start_at_once_and_outlive_the_thread_that_started_them(tmp_path: Path) -> None:
    servers = [
        EmbeddedPostgres(tmp_path / str(n), {"fsync": "off", "max_connections": "17"}) for n in range(3)
    ]
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(EmbeddedPostgres.start, servers))
        for server in servers:
            with psycopg.connect(server.url) as connection:
                assert connection.execute("SHOW max_connections").fetchone() == ("17",)
                connection.execute("CREATE EXTENSION vector")
    finally:
        for server in servers:
            server.stop()


def test_an_interrupted_initialisation_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "data" / "base").mkdir(parents=True)
    with EmbeddedPostgres(tmp_path, {"fsync": "off"}) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_redis_answers_on_both_addresses_and_forgets_when_killed(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        with (
            redis.Redis.from_url(server.url) as over_tcp,
            redis.Redis.from_url(server.unix_url) as over_socket,
        ):
            over_tcp.set("said", "hello")
            assert over_socket.get("said") == b"hello"
            assert over_tcp.config_get("maxmemory") == {"maxmemory": "0"}
        server.kill()
        assert server.socket_path.exists()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0
    assert not server.socket_path.exists()


def test_a_long_path_leaves_redis_its_socket(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / ("deep" * 30)) as server, redis.Redis.from_url(server.unix_url) as client:
        assert client.ping()


@pytest.mark.parametrize("server", [EmbeddedPostgres, EmbeddedRedis])
def test_it_dies_with_the_process_that_started_it(server: type[EmbeddedServer], tmp_path: Path) -> None:
    program = f"""
        import sys
        from socialsync_cli.embedded import {server.__name__}
        print({server.__name__}({str(tmp_path)!r}).start().pid, flush=True)
        sys.stdin.read()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    with owner.stdout, owner.stdin:
        pid = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
    wait_until(gone(pid), 10, "the orphan to leave")


def gone(pid: int) -> Callable[[], bool]:
    def is_gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    return is_gone
