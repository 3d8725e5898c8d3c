"""Ports that stay free until they are used."""

import socket

import pytest

from prompt_operator.cluster.ports import PortReservation


def bind(port, *, share=False):
    server = socket.socket()
    if share:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        server.bind(("127.0.0.1", port))
    except OSError:
        server.close()
        raise
    return server


def test_nobody_else_gets_a_reserved_port():
    with PortReservation() as reservation, pytest.raises(OSError, match="in use"):
        bind(reservation.port)


def test_the_server_that_shares_it_listens_on_it_and_is_reached():
    with PortReservation() as reservation, bind(reservation.port, share=True) as server:
        server.listen()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", reservation.port), timeout=5):
                server.accept()[0].close()


def test_many_reservations_never_coincide():
    reservations = [PortReservation() for _ in range(200)]
    assert len({reservation.port for reservation in reservations}) == 200
    for reservation in reservations:
        reservation.close()


def test_the_port_it_had_before_is_taken_again_when_free():
    with PortReservation() as first:
        port = first.port
    with PortReservation.prefer(port) as again:
        assert again.port == port


@pytest.mark.parametrize("share", [True, False])
def test_another_port_is_taken_when_the_one_before_is_in_use(share):
    with bind(0, share=share) as other:
        other.listen()
        taken = other.getsockname()[1]
        with PortReservation.prefer(taken) as reservation:
            assert reservation.port != taken


def test_only_loopback_is_reserved():
    with PortReservation() as reservation:
        assert reservation._socket.getsockname()[0] == "127.0.0.1"
