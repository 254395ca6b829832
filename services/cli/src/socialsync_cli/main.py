"""The `socialsync` command: what each subcommand takes. The work is in the other modules."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import psycopg
import typer
from rich.table import Table
from rich.text import Text

from socialsync_cli import demo, queues, replay, tenants
from socialsync_cli import run as running_system
from socialsync_cli.chat import chat as talk
from socialsync_cli.console import err, out
from socialsync_cli.folder import DEFAULT, DataFolder, Running
from socialsync_cli.sandbox import SandboxClient
from socialsync_common.contracts import Platform
from socialsync_common.errors import ConfigError, SocialSyncError
from socialsync_common.migrate import Phase, read_url
from socialsync_common.migrate import migrate as apply_migrations

app = typer.Typer(
    name="socialsync",
    help="Answers customers on WhatsApp, Instagram and Messenger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
accounts_app = typer.Typer(no_args_is_help=True, help="Connect accounts, list them, make API keys.")
app.add_typer(accounts_app, name="accounts")
queues_app = typer.Typer(help="Show what waits, what runs and which conversations are due.")
app.add_typer(queues_app, name="queues")

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The data folder of `socialsync run`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The tenant's name.")]


@app.command()
def run(
    data: Data = DEFAULT,
    *,
    once: Annotated[bool, typer.Option("--once", help="Play the demo, check it, stop everything.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65_435,
            help="The gateway's; the sandbox's is 100 higher.",
            show_default="8000",
        ),
    ] = None,
    with_demo: Annotated[
        bool,
        typer.Option(
            "--demo/--no-demo", help="Connect a bakery; play a conversation, a post and its comments."
        ),
    ] = True,
) -> None:
    """Bring everything up on this machine, and play a conversation, a post and its comments through.

    DATABASE_URL, CELERY_BROKER_URL, AI_BASE_URL and META_GRAPH_URL replace each the embedded one by the real thing.
    """
    running_system.run(data, port=port, once=once, with_demo=with_demo)


@app.command()
def migrate(
    phase: Annotated[
        str, typer.Option(help="pre, post or all: pre may run while the old version serves.")
    ] = "all",
) -> None:
    """Bring the database's schema up to date.

    MIGRATION_DATABASE_URL is the owner's; the role of DATABASE_URL is let in.
    """
    phases: dict[str, Phase] = {"pre": "pre", "post": "post", "all": "all"}
    if phase not in phases:
        raise ConfigError(f"--phase: {phase} is none of {', '.join(phases)}")
    owner_url = os.environ.get("MIGRATION_DATABASE_URL")
    if not owner_url:
        raise ConfigError("MIGRATION_DATABASE_URL: is not set (the URL of the database's owner)")
    service = read_url("DATABASE_URL", os.environ.get("DATABASE_URL", ""))
    user, password = service.get("user"), service.get("password")
    try:
        applied = apply_migrations(
            owner_url, str(user) if user else None, str(password) if password else None, phases[phase]
        )
    except psycopg.OperationalError as error:
        raise ConfigError(f"MIGRATION_DATABASE_URL: cannot connect: {str(error).splitlines()[0]}") from None
    for name in applied:
        out.print(f"applied {name}")
    if not applied:
        out.print("up to date")


@accounts_app.command("connect")
def connect(
    tenant: Tenant,
    platform: Annotated[Platform, typer.Option(help="Where the account is.")],
    external_id: Annotated[
        str, typer.Option("--id", help="Phone number id, Instagram account id or Page id.")
    ],
    name: Annotated[str, typer.Option(help="What people call it.")],
    token: Annotated[
        str,
        typer.Option(
            envvar="ACCOUNT_TOKEN",
            prompt="Access token",
            hide_input=True,
            help="Better from the environment or the prompt.",
        ),
    ],
    instructions: Annotated[
        Path | None,
        typer.Option(
            help="A text file: what the AI needs to know of the business.", exists=True, dir_okay=False
        ),
    ] = None,
    data: Data = DEFAULT,
) -> None:
    """Connect an account, or refresh its name, token and instructions."""
    _use(DataFolder(data).running())
    with tenants.connection() as opened:
        account = tenants.connect(
            opened,
            tenant=tenant,
            platform=platform,
            external_id=external_id,
            name=name,
            token=token,
            instructions=instructions.read_text("utf-8") if instructions else "",
        )
    out.print(f"connected {account.platform} {account.external_id} as {account.id}")


@accounts_app.command("list")
def list_accounts(tenant: Tenant = demo.TENANT, *, as_json: Json = False, data: Data = DEFAULT) -> None:
    """List a tenant's accounts."""
    _use(DataFolder(data).running())
    with tenants.connection() as opened:
        rows = tenants.list_accounts(opened, tenant)
    if as_json:
        sys.stdout.write(f"{json.dumps(rows)}\n")
        return
    if not rows:
        out.print(f"{tenant} has no account: `socialsync accounts connect` makes one")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("PLATFORM", "ID", "NAME", "STATUS"):
        table.add_column(column)
    for row in rows:
        status = row["status"] if not row["status_reason"] else f"{row['status']}: {row['status_reason']}"
        table.add_row(row["platform"], row["external_id"], Text(row["name"]), Text(status))
    out.print(table)


@accounts_app.command("key")
def key(
    tenant: Tenant, name: Annotated[str, typer.Option(help="What it is for.")], data: Data = DEFAULT
) -> None:
    """Make an API key of a tenant. It is shown this once."""
    _use(DataFolder(data).running())
    with tenants.connection() as opened:
        made = tenants.new_api_key(opened, tenant, name)
    sys.stdout.write(f"{made}\n")


@queues_app.callback(invoke_without_command=True)
def show_queues(context: typer.Context, *, as_json: Json = False, data: Data = DEFAULT) -> None:
    """Show what waits, what runs and which conversations are due."""
    if context.invoked_subcommand is not None:
        return
    _use(DataFolder(data).running())
    found = queues.read_queues()
    if as_json:
        sys.stdout.write(f"{json.dumps(asdict(found))}\n")
    else:
        out.print(found.table())


@queues_app.command("explain")
def explain_queue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The SocialSyncQueue's name.")],
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="By default that of the current context.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show why a queue has the replicas that it has: every number on the way, and what limited it."""
    # only here: the Kubernetes client is large, and no other command needs it
    from socialsync_cli.explain import explanation, read_queue

    queue = read_queue(name, namespace)
    if as_json:
        sys.stdout.write(f"{json.dumps(queue.get('status', {}))}\n")
    else:
        out.print(explanation(queue))


@app.command()
def chat(
    platform: Annotated[Platform, typer.Option(help="Where to write.")] = Platform.WHATSAPP,
    contact: Annotated[
        str | None, typer.Option(help="Who writes; the same one keeps a conversation. A new one by default.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Whom to write to: the account's id. The demo's by default.")
    ] = None,
    data: Data = DEFAULT,
) -> None:
    """Write as a customer and see the answers. Lines may also come from a pipe."""
    folder = DataFolder(data)
    running = folder.running()
    if running is None:
        raise ConfigError(f"no `socialsync run` is up on {folder.path}: start it in another terminal")
    if running.sandbox_url is None:
        raise ConfigError("this system has no sandbox (META_GRAPH_URL is set): write from a real phone")
    who = contact or f"4917{secrets.randbelow(10**8):08}"
    with SandboxClient(running.sandbox_url) as sandbox:
        talk(sandbox, platform, account or demo.ACCOUNTS[platform], who)


@app.command("replay")
def replay_files(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Webhook bodies: JSON files or folders of them.")
    ],
    *,
    as_json: Json = False,
    url: Annotated[
        str | None, typer.Option(help="A gateway; by default the one of `socialsync run`.")
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use a gateway of its own, emptied before each file.")
    ] = False,
    data: Data = DEFAULT,
) -> None:
    """Post stored webhook bodies, signed, and show what the gateway decides for each item."""
    if embedded and url:
        raise ConfigError("--embedded and --url exclude each other")
    if embedded:
        with replay.embedded_gateway() as (gateway_url, fresh):
            sound = replay.replay(paths, gateway_url, as_json=as_json, fresh=fresh)
    else:
        gateway_url = replay.running_gateway(DataFolder(data), url)
        sound = replay.replay(paths, gateway_url, as_json=as_json, fresh=lambda: None)
    if not sound:
        raise typer.Exit(1)


def _use(running: Running | None) -> None:
    """Take from the running system what the environment does not say."""
    if running is not None:
        for name, value in running.environment.items():
            os.environ.setdefault(name, value)


def main() -> None:
    """Faults are one line on stderr: exit code 2 where a setting or option is at fault, 1 otherwise."""
    try:
        app()
    except ConfigError as error:
        _fail(f"configuration: {error}", 2)
    except SocialSyncError as error:
        _fail(str(error), 1)
    except psycopg.Error as error:
        _fail(f"Postgres: {str(error).splitlines()[0]}", 1)


def _fail(message: str, code: int) -> NoReturn:
    err.print(Text.assemble(("socialsync: ", "bold red"), message), soft_wrap=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
