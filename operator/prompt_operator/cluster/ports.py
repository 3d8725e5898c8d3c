"""Loopback ports that nobody else takes between the choice and the use."""

import contextlib
import socket
from typing import Self

LOOPBACK = "127.0.0.1"


class PortReservation(contextlib.AbstractContextManager["PortReservation"]):
    """Hold a free loopback TCP port until the server that shall listen on it does.

    The socket is bound but never listens, and shares its port (SO_REUSEPORT) with a server of the same user that
    asks for sharing as well, as kube-apiserver does with --permit-port-sharing. Others find the port taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((LOOPBACK, port))
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    @classmethod
    def prefer(cls, port: int | None) -> Self:
        """Reserve this port, or any other when it is taken."""
        if port:
            with contextlib.suppress(OSError), contextlib.closing(socket.socket()) as probe:
                # Without sharing: a server of the same user that shares its port counts as taken, too.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, port))
                probe.close()
                return cls(port)
        return cls()

    def close(self) -> None:
        self._socket.close()

    def __exit__(self, *_: object) -> None:
        self.close()
