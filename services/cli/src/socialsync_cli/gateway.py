"""The gateway's HTTP API, used as any client of it would."""

from __future__ import annotations

from typing import Any

import httpx

from socialsync_common.errors import SocialSyncError

_SECONDS = 30.0


class GatewayClient:
    """Raises SocialSyncError when the gateway is away or refuses."""

    def __init__(self, url: str, api_key: str) -> None:
        self._http = httpx.Client(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=_SECONDS,
            trust_env=False,
        )

    def __enter__(self) -> GatewayClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The body of a good answer; ``path`` below /api/v1, ``options`` as httpx takes them."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise SocialSyncError(f"the gateway is away: {type(error).__name__}") from None
        if not response.is_success:
            raise SocialSyncError(
                f"the gateway refused {path}: HTTP {response.status_code}: {response.text[:300]}"
            )
        return response.json()

    def account_id(self, external_id: str) -> str:
        """The id of the tenant's account with this id of the platform."""
        accounts = self.ask("GET", "/accounts")["items"]
        return next(str(one["id"]) for one in accounts if one["external_id"] == external_id)
