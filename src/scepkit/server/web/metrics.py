"""Prometheus metrics: requests, their outcomes and their durations.

Labels take only values of ours, never a peer's, so that their number is bounded.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter(
    "scep_requests",
    "SCEP operations answered.",
    ["endpoint", "operation", "message_type", "outcome"],
)
SECONDS = Histogram(
    "scep_request_seconds",
    "Seconds from the whole request to the answer.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LEGACY = Counter(
    "scep_legacy_uses", "Requests that use a legacy algorithm or form.", ["endpoint", "name"]
)

CMP = Counter("scep_cmp_responses", "CMP requests answered.", ["endpoint", "outcome"])

OCSP = Counter("scep_ocsp_responses", "OCSP requests answered.", ["endpoint", "outcome", "kept"])

FETCHES = Counter("scep_fetches", "Requests for CRLs and CA certificates.", ["what", "status"])

LOST = Counter("scep_log_lines_lost", "Lines of the log that could not be written.")

BOUNDS = Counter("scep_bounds", "Times that a bound was reached.", ["bound"])


def render(*more: Collector) -> tuple[bytes, str]:
    """Return the metrics of all worker processes, and their media type.

    Args:
        more: what is to be collected beside them.
    """
    return generate_latest(registry(*more)), CONTENT_TYPE_LATEST


def registry(*more: Collector) -> CollectorRegistry:
    """Return the registry of the metrics of all worker processes.

    Args:
        more: what is to be collected beside them.
    """
    collected = CollectorRegistry()
    for collector in more:
        collected.register(collector)
    if os.environ.get(MULTIPROCESS):
        MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
        return collected
    for metric in (REQUESTS, SECONDS, LEGACY, CMP, OCSP, FETCHES, LOST, BOUNDS):
        collected.register(metric)
    return collected
