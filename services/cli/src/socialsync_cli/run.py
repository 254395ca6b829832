"""``socialsync run``: bring everything up, play the demo, stay until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from rich.text import Text

from socialsync_cli import demo, demo_comments, demo_post
from socialsync_cli.console import out, step
from socialsync_cli.folder import DEFAULT, DataFolder, Running
from socialsync_cli.gateway import GatewayClient
from socialsync_cli.sandbox import SandboxClient
from socialsync_cli.supervisor import Supervisor, Voice, interrupt_on_signals
from socialsync_cli.system import DEFAULT_PORT, NAMES, Ports, System, choose_ports
from socialsync_common.errors import ConfigError, SocialSyncError


def run(data: Path, *, port: int | None, once: bool, with_demo: bool) -> None:
    """Returns when stopped, or after the demo when ``once``.

    Raises:
        ConfigError: ports, data folder or settings are not usable.
        SocialSyncError: something did not come up, or (``once``) the demo did not end as it must.
    """
    sandbox = not os.environ.get("META_GRAPH_URL")
    _check_options(once=once, with_demo=with_demo, sandbox=sandbox)
    folder = DataFolder(data)
    interrupt_on_signals()
    with folder.locked():
        ports = choose_ports(port or DEFAULT_PORT, sandbox=sandbox, may_move=once and port is None)
        supervisor = Supervisor(Voice(out, NAMES))
        system = System(folder, ports, supervisor, os.environ)
        try:
            system.start()
            _serve(folder, ports, system, once=once, with_demo=with_demo)
        except KeyboardInterrupt:
            out.print()
            if once:
                raise SocialSyncError("interrupted before the demo was over") from None
        finally:
            step("stopping")
            supervisor.stop()


def _check_options(*, once: bool, with_demo: bool, sandbox: bool) -> None:
    if once and not with_demo:
        raise ConfigError("--once plays the demo: leave --no-demo out")
    if once and not sandbox:
        raise ConfigError("--once plays the demo in the sandbox: unset META_GRAPH_URL")


def _serve(folder: DataFolder, ports: Ports, system: System, *, once: bool, with_demo: bool) -> None:
    os.environ.update(system.environment)
    sandbox_url = ports.sandbox_url if system.with_sandbox else None
    folder.announce(Running(os.getpid(), ports.gateway_url, sandbox_url, system.shared_environment))
    step(f"ready at {ports.gateway_url}")
    api_key = None
    if with_demo and sandbox_url:
        with SandboxClient(sandbox_url) as sandbox:
            api_key = demo.set_up(folder, sandbox, ports.gateway_url)
            _play(sandbox, ports.gateway_url, api_key, once=once)
        if once:
            return
    elif with_demo:
        step("META_GRAPH_URL is set: no sandbox, so no demo")
    _say_what_next(folder, ports, api_key, system)
    while True:
        signal.pause()


def _play(sandbox: SandboxClient, gateway_url: str, api_key: str, *, once: bool) -> None:
    """One part after the other, each shown; checked where ``once``."""
    step("a customer writes two messages in a burst …")
    played = demo.play(sandbox)
    out.print(demo.conversation(played))
    if once:
        demo.check(played)
    with GatewayClient(gateway_url, api_key) as gateway:
        step(f"a post is scheduled, due in {demo_post.DUE_SECONDS} seconds …")
        posted = demo_post.play(sandbox, gateway)
        out.print(demo_post.story(posted))
        if once:
            demo_post.check(posted)
        if not posted.live:
            return
        step("one asks a question below it, and two talk to each other …")
        commented = demo_comments.play(sandbox, gateway, posted.live[0].media_id)
        out.print(demo_comments.thread(commented))
        if once:
            demo_comments.check(commented)


def _say_what_next(folder: DataFolder, ports: Ports, api_key: str | None, system: System) -> None:
    """Without a frame, so that the commands can be copied."""
    command = _this_command()
    data = "" if folder.path == DEFAULT.absolute() else f" --data {folder.path}"
    api = f"{ports.gateway_url}/api/v1/conversations"
    steps = [
        ("write as a customer", f"{command} chat{data} --platform whatsapp" if system.with_sandbox else None),
        ("see what went out", f"{ports.sandbox_url}/" if system.with_sandbox else None),
        ("ask the API", f"curl -H 'Authorization: Bearer {api_key}' {api}" if api_key else None),
        ("its reference", f"{ports.gateway_url}/docs"),
        ("replay webhooks", f"{command} replay{data} FILE…"),
        ("watch the queues", f"{command} queues{data}"),
        ("read the logs", f"{folder.logs}/*.log (more with LOG_LEVEL=INFO)"),
        ("stop", "Ctrl-C"),
    ]
    out.print(Text("\nWhat to try next", "bold"))
    for what, how in steps:
        if how:
            out.print(Text.assemble((f"  {what:<21}", "dim"), how), soft_wrap=True)


def _this_command() -> str:
    """How a shell in this folder calls this command."""
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
