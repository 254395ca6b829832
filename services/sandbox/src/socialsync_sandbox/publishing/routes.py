"""All publishing routes, in the order in which they are matched."""

from __future__ import annotations

from socialsync_sandbox.publishing import control, instagram, nodes, page

routes = [*instagram.routes, *page.routes, *nodes.routes, *control.routes]
