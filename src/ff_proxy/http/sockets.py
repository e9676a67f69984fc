"""Creates listening sockets: for one address, all addresses or a Unix path; one or several per port."""

import errno
import os
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ff_proxy.errors import StartupError

_BACKLOG: Final = 4096
_UNIX_MODE: Final = 0o660

Listening = Sequence[socket.socket]
"""The sockets of one listener: ``localhost`` may need one per address family."""


def bind(port: int, host: str | Path = "", *, shared: bool = False, option: str = "port") -> Listening:
    """Create listening sockets.

    Args:
        port: the port; ignored for a path.
        host: an address, a name, the path of a Unix socket, or empty for all addresses, IPv4 and IPv6.
        shared: set ``SO_REUSEPORT``: several of our processes listen on the port, and the kernel spreads
            connections among them.
        option: the name of the option that sets the port, for error messages.

    Raises:
        StartupError: the address is in use or cannot be used.
    """
    if isinstance(host, Path):
        return [_bind_path(host)]
    try:
        if host:
            return _bind_host(host, port, shared=shared)
        if not socket.has_dualstack_ipv6():
            return [_create(("", port), socket.AF_INET, shared=shared)]
        try:
            return [_create(("", port), socket.AF_INET6, shared=shared, dual=True)]
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            # IPv6 is compiled in but disabled.
            return [_create(("", port), socket.AF_INET, shared=shared)]
    except OSError as error:
        variable = option.upper().replace("-", "_")
        where = f"port {port} of {host}" if host else f"port {port}"
        raise StartupError(
            f"{where} {_reason(error)}; choose another one with -{option} or {variable}"
        ) from error


def bind_each(port: int, processes: int, host: str | Path = "") -> list[Listening]:
    """Create sockets on one port for each of our processes; raises ``StartupError``.

    On Linux each process gets its own: the kernel spreads connections evenly, so long-lived streams do not
    gather at the process that accepts fastest, and waiting connections survive their process. On other
    systems all processes share one socket.
    """
    # Bind without sharing first, to fail if another program, or another proxy, has the port.
    first = bind(port, host)
    if isinstance(host, Path) or not sys.platform.startswith("linux"):
        return [first] * processes
    taken = first[0].getsockname()[1]
    for one in first:
        one.close()
    return [bind(taken, host, shared=True) for _ in range(processes)]


def stop_listening(listening: Listening) -> None:
    """Stop listening until ``listen`` is called again; waiting clients are refused and can retry."""
    for one in listening:
        with suppress(OSError):  # it was not listening
            one.shutdown(socket.SHUT_RD)


def _bind_host(host: str, port: int, *, shared: bool) -> Listening:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families = {family: address for family, _, _, _, address in reversed(found)}
    bound: list[socket.socket] = []
    for family, address in families.items():
        # With port 0, all families use the port that the first one got.
        chosen = bound[0].getsockname()[1] if bound and not port else port
        try:
            bound.append(_create((address[0], chosen, *address[2:]), family, shared=shared))
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and len(families) > 1:
                continue  # the name also has an address that this machine lacks
            for one in bound:
                one.close()
            raise
    if not bound:
        raise OSError(errno.EADDRNOTAVAIL, "this machine has no such address")
    return bound


def _create(
    address: tuple[object, ...], family: socket.AddressFamily, *, shared: bool, dual: bool = False
) -> socket.socket:
    made = socket.create_server(
        address,
        family=family,
        backlog=_BACKLOG,
        reuse_port=shared,
        dualstack_ipv6=dual,
    )
    made.setblocking(False)
    return made


def _bind_path(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        made.bind(str(path))
        path.chmod(_UNIX_MODE)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        message = f"the socket {path} {_reason(error)}; choose another one with -host or HOST"
        raise StartupError(message) from error
    return made


def _reason(error: OSError) -> str:
    return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror or error}"


def _remove_stale(path: Path) -> None:
    """Remove a socket left behind by a dead process."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116  (its errors are ours)
            raise OSError(errno.EEXIST, "there is a file of that name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
                path.unlink()
