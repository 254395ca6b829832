"""``python -m socialsync_sandbox``."""

from __future__ import annotations

import argparse

import uvicorn

from socialsync_common.errors import ConfigError
from socialsync_common.logging import configure_logging
from socialsync_common.settings import exit_on_config_error, load
from socialsync_sandbox.app import create_app
from socialsync_sandbox.settings import SandboxSettings


def main() -> None:
    parser = argparse.ArgumentParser(prog="socialsync_sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    options = parser.parse_args()
    try:
        settings = load(SandboxSettings)
    except ConfigError as error:
        exit_on_config_error(error)
    configure_logging("sandbox")
    uvicorn.run(
        create_app(settings),
        host=options.host,
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        backlog=2048,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,  # held requests must not keep the process
    )


if __name__ == "__main__":
    main()
