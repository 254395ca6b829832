"""``python -m socialsync_gateway``: serve until SIGTERM, then finish what is in flight."""

from __future__ import annotations

import argparse

import uvicorn

from socialsync_common.errors import ConfigError
from socialsync_common.logging import configure_logging
from socialsync_common.settings import exit_on_config_error
from socialsync_gateway.app import GatewaySettings, create_app
from socialsync_gateway.draining import DrainingServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="socialsync_gateway", description=__doc__)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a pod's only address
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--drain-seconds", type=float, default=0.0, help="serve on for so long after SIGTERM")
    options = parser.parse_args()
    configure_logging("gateway")
    try:
        app = create_app(GatewaySettings.load())
    except ConfigError as error:
        exit_on_config_error(error)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=20,
    )
    DrainingServer(config, options.drain_seconds).run()


if __name__ == "__main__":
    main()
