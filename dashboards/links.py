"""The ways from a board: to the page of an operation, and to its trace."""

import json
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard

PAGE: Final = "page"  # the variable with the address of the operations server
_JAEGER: Final = {"type": "jaeger", "uid": "jaeger"}


def page_of(operation: str) -> dashboard.DashboardLink:
    """To the operation's page; `operation` is what Grafana puts its id for."""
    return (
        dashboard.DashboardLink("Page of the operation")
        .url(f"${{{PAGE}}}/#/operations/{operation}")
        .target_blank(True)
    )


def trace_of(trace: str) -> dashboard.DashboardLink:
    """To the trace, in Grafana's own view of Jaeger; `trace` is what Grafana puts the id for."""
    left = {
        "datasource": _JAEGER["uid"],
        "queries": [{"refId": "A", "datasource": _JAEGER, "query": "TRACE"}],
        "range": {"from": "now-24h", "to": "now"},
    }
    url = "/explore?left=" + quote(json.dumps(left, separators=(",", ":")), safe="").replace("TRACE", trace)
    return dashboard.DashboardLink("Trace").url(url).target_blank(True)
