"""Binding the sockets that the options name; everything here raises ``StartupError``."""

import socket
from pathlib import Path

from ff_proxy.config.records import ServingOptions
from ff_proxy.http.sockets import Listening, bind, bind_each


def bind_single(options: ServingOptions) -> Listening:
    """Where a single process accepts SDKs."""
    return bind(options.port, _host(options))


def bind_workers(options: ServingOptions) -> list[Listening]:
    """Where each of several workers accepts SDKs."""
    return bind_each(options.port, options.workers, _host(options))


def bind_metrics(options: ServingOptions) -> socket.socket | None:
    """Where metrics are read, if they have a port of their own."""
    port = options.metrics_port
    return bind(port, option="prometheus-port")[0] if port else None


def _host(options: ServingOptions) -> str:
    host = options.host
    return f"unix:{host}" if isinstance(host, Path) else host or ""
