"""Binds the sockets of operators; every function raises ``StartupError``."""

import socket

from ff_proxy.config.addresses import HostPort
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import GenerateOptions, ServingOptions
from ff_proxy.errors import StartupError
from ff_proxy.http.sockets import Listening, bind
from ff_proxy.telemetry import Logger


def bind_metrics(options: ServingOptions) -> socket.socket | None:
    """The socket of the metrics port, if there is one."""
    port = options.metrics_port
    return bind(port, option="prometheus-port")[0] if port else None


def bind_admin(loaded: Loaded, log: Logger) -> Listening | None:
    """The sockets of the admin address, if it is on (spec/behaviour#admin).

    If the default address is in use, this only logs a warning.
    """
    options = loaded.options
    if isinstance(options, GenerateOptions) or options.serving.admin.address is None:
        return None
    address = options.serving.admin.address
    try:
        listening = bind(address.port, address.host, option="admin-address")
    except StartupError as error:
        if options.serving.admin.explicit:
            raise
        log.warning("the admin address is not served", reason=str(error))
        return None
    port = listening[0].getsockname()[1]
    log.info("admin address", url=f"http://{HostPort(address.host, port)}/")
    return listening
