"""Servers that answer late, long, wrong or elsewhere: each is one sentence, and costs no more than was allowed."""

import asyncio
import gzip
import json
import os
import socket
from typing import Any

import pytest
from aiohttp import web

from prompt_operator.evaluation.readings import Reading
from prompt_operator.evaluation.sources.addresses import AddressRules
from prompt_operator.evaluation.sources.turns import Limits
from tests.unit.evaluation.sources.places import (
    LOOPBACK,
    RawAnswerer,
    answering,
    asked,
    http,
    listening,
    prometheus,
    reading,
    sample,
    serving,
    silent,
    vector,
)

GOOD = {"candidate": {"value": 7}}
METADATA = "169.254.169.254"
REAL_LOOKUP = socket.getaddrinfo


async def read(url: str, rules: AddressRules = LOOPBACK, timeout: int = 30, **more: Any) -> Reading:
    """Read a Value from an HTTP endpoint."""
    wanted = http(url, "Value", timeoutSeconds=timeout)
    async with reading(rules, **more) as reader:
        return await reader.read(asked(wanted, control=False), wanted)


async def read_bytes(answer: RawAnswerer, **more: Any) -> Reading:
    async with listening(answer) as url:
        return await read(url, **more)


def saying(*pieces: bytes, end: bool = True) -> RawAnswerer:
    """Say these bytes to whoever asks; then close, or keep silent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if not end:
            await asyncio.Event().wait()

    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = json.dumps(GOOD).encode()


async def test_a_good_server_is_read():
    got = await read_bytes(saying(OK, b"Content-Length: %d\r\n\r\n" % len(BODY), BODY))
    assert got.problem == ""
    assert got.candidate is not None
    assert got.candidate.value == 7


# --- late -------------------------------------------------------------------------------------------------------------


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never stop, and never come to an end: a byte of a header now and then."""
    writer.write(OK)
    while True:
        writer.write(b"X-Slow: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def dripping_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [silent, dripping_body, saying(OK, b"Content-Length: 10\r\n\r\n{", end=False), saying(OK, end=False)],
    ids=["no word", "slow body", "half a body", "half of the headers"],
)
async def test_a_slow_answer_counts_as_missing_after_its_timeout(answer: RawAnswerer):
    got = await read_bytes(answer, timeout=1)
    assert "gave no whole answer within 1 s. See why it is slow, or set timeoutSeconds higher." in got.problem


async def test_slow_headers_end_by_the_timeout_or_because_they_are_too_many():
    got = await read_bytes(dripping, timeout=1)
    assert "within 1 s" in got.problem or "does not answer as HTTP has it" in got.problem


async def test_a_server_that_takes_no_connections_is_told_apart():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        taken = [socket.socket() for _ in range(4)]  # more than fit: the rest of the world gets no answer at all
        for one in taken:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        got = await read(f"http://127.0.0.1:{port}", limits=Limits(connect_seconds=0.5))
        for one in taken:
            one.close()
    assert "cannot be connected to: no answer" in got.problem


# --- long -------------------------------------------------------------------------------------------------------------


async def endless(sent: list[int], writer: asyncio.StreamWriter, head: bytes, frame: tuple[bytes, bytes]) -> None:
    """Send 100 MB, or as much of it as is taken."""
    writer.write(head)
    piece = b" " * 65536
    for _ in range(1600):
        writer.write(frame[0] + piece + frame[1])
        await writer.drain()
        sent.append(len(piece))


@pytest.mark.parametrize("chunked", [True, False])
async def test_100_mb_are_cut_off_early(chunked: bool):
    sent: list[int] = []
    head = OK + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
    frame = (b"10000\r\n", b"\r\n") if chunked else (b"", b"")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await endless(sent, writer, head, frame)

    got = await read_bytes(answer)
    assert "has more than 1,048,576 bytes. Ask for less" in got.problem
    assert sum(sent) < 50_000_000


async def test_an_answer_that_says_it_has_100_mb_is_not_read_at_all():
    got = await read_bytes(saying(OK, b"Content-Length: 100000000\r\n\r\n", end=False))
    assert "has more than 1,048,576 bytes" in got.problem


async def test_an_answer_of_exactly_the_limit_is_read_and_of_one_byte_more_is_not():
    limit = Limits().body_bytes
    for more, problem in ((0, ""), (1, "has more than")):
        body = BODY + b" " * (limit - len(BODY) + more)
        async with serving(answering(body)) as url:
            assert problem in (await read(url)).problem
            assert bool((await read(url)).problem) is bool(problem)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP, identity"])
async def test_compressed_answers_are_refused_unread_as_they_were_not_asked_for(encoding: str):
    asked_for: list[str | None] = []
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < Limits().body_bytes

    async def answer(request: web.Request) -> web.StreamResponse:
        asked_for.append(request.headers.get("Accept-Encoding"))
        return web.Response(body=bomb, headers={"Content-Encoding": encoding})

    async with serving(answer) as url:
        got = await read(url)
    assert asked_for == ["identity"]
    assert f"sends a compressed answer ({encoding.lower()}), which was not asked for" in got.problem


@pytest.mark.parametrize("header", [b"X-Long: " + b"a" * 5_000_000, b"\r\n".join(b"X-%d: 1" % i for i in range(5000))])
async def test_headers_are_limited_as_well(header: bytes):
    got = await read_bytes(saying(OK, header, b"\r\n\r\n"))
    assert "does not answer as HTTP has it" in got.problem


# --- wrong ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([], "closed the connection before its answer was complete"),
        ([OK, b"Content-Length: 100\r\n\r\n{"], "closed the connection before its answer was complete"),
        ([OK, b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"], "closed the connection before its answer was complete"),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"], "does not answer as HTTP has it"),
        ([b"SSH-2.0-OpenSSH_9.9\r\n\r\n"], "does not answer as HTTP has it"),
        ([OK, b"Content-Length: -1\r\n\r\n"], "does not answer as HTTP has it"),
        ([OK, b"\r\n<html>"], "did not answer with JSON"),
        ([OK, b"\r\n"], "did not answer with JSON"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], "answered 204, not 200"),
        ([b"HTTP/1.1 500 Internal\r\n\r\n", BODY], "answered 500, not 200"),
    ],
)
async def test_what_is_not_a_whole_answer_is_told(pieces: list[bytes], problem: str):
    assert problem in (await read_bytes(saying(*pieces))).problem


async def test_a_connection_that_is_reset_is_told():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    assert "closed the connection" in (await read_bytes(answer)).problem


async def test_nobody_listening_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert f"127.0.0.1:{port} cannot be connected to: " in (await read(f"http://127.0.0.1:{port}")).problem


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced():
    """As when a server is restarted between two looks; a POST is not sent again by the HTTP library."""
    told = json.dumps(vector(sample("5"))).encode()
    requests = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        requests.append(head)
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(told) + told)
        await reader.read(1)  # the next request: end without a word

    async with reading() as reader, listening(answer) as url:
        wanted = prometheus(url, "Value")
        for _ in range(3):
            got = await reader.read(asked(wanted, control=False), wanted)
            assert got.problem == ""
    assert len(requests) == 3


# --- elsewhere --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
async def test_redirects_are_not_followed_but_told(status: int):
    place = f"http://user:pass@{METADATA}/latest/meta-data?token=x"
    async with serving(answering("", status=status, Location=place)) as url:
        got = await read(url)
    assert f"redirects to http://{METADATA}/latest/meta-data, and redirects are not followed" in got.problem


async def test_a_redirect_to_the_server_itself_is_not_followed_either():
    requests = []

    async def answer(request: web.Request) -> web.StreamResponse:
        requests.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(answer) as url:
        got = await read(f"{url}/here")
        assert f"redirects to {url}/elsewhere" in got.problem
    assert requests == ["/here"]


@pytest.mark.parametrize(
    "host",
    [
        METADATA,
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0.0.0.0",
        "127.0.0.1",
        "[::1]",
        "[fe80::1]",
        "localhost",
        "LocalHost",
    ],
)
async def test_what_only_the_machine_or_its_cloud_should_be_asked_is_not_connected_to(host: str):
    got = await read(f"http://{host}/latest/meta-data", rules=AddressRules())
    assert "which a metric source must not have" in got.problem
    assert "--metric-source-allow" in got.problem


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "127.1", "0"])
async def test_other_ways_to_write_an_address_do_not_get_around_it(host: str):
    got = await read(f"http://{host}/", rules=AddressRules())
    refusals = ("which a metric source must not have", "is not a host that can be asked", "cannot be resolved")
    assert any(refusal in got.problem for refusal in refusals)


def lookups(*answers: list[str]) -> tuple[Any, list[str]]:
    """A DNS that answers in turn; the last answer stays. Also every name that was looked up."""
    asked_for: list[str] = []

    def lookup(host: str, port: int, _family: socket.AddressFamily) -> list[tuple[Any, ...]]:
        asked_for.append(host)
        addresses = answers[min(len(asked_for), len(answers)) - 1]
        found = [REAL_LOOKUP(a, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0] for a in addresses]
        return list(found)

    return lookup, asked_for


@pytest.mark.parametrize("addresses", [[METADATA], ["10.1.2.3", METADATA], ["::ffff:169.254.169.254"]])
async def test_a_name_with_a_forbidden_address_is_refused_even_if_it_has_others(addresses: list[str]):
    lookup, _ = lookups(addresses)
    got = await read("http://metrics.example.test/", lookup=lookup)
    assert f"metrics.example.test resolves to {addresses[-1]}, a link-local address" in got.problem


async def test_a_name_is_looked_up_once_and_connected_to_where_it_was_checked():
    """Whoever answers the second lookup differently (DNS rebinding) is not asked."""
    lookup, asked_for = lookups(["127.0.0.1"], [METADATA])
    async with serving(answering(GOOD)) as url:
        got = await read(url.replace("127.0.0.1", "metrics.example.test"), lookup=lookup)
    assert got.problem == ""
    assert asked_for == ["metrics.example.test"]


async def test_an_unknown_name_is_told():
    def lookup(*_: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    got = await read("http://metrics.example.test/", lookup=lookup)
    assert got.problem == ("The name of metrics.example.test:80 cannot be resolved: Name or service not known.")


async def test_no_proxy_and_no_netrc_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        return web.json_response(GOOD)

    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", os.fspath(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(answer) as url:
        assert (await read(url)).problem == ""
    assert "Authorization" not in seen[0]


async def test_cookies_are_not_kept():
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Cookie"))
        response = web.json_response(GOOD)
        response.set_cookie("session", "1")
        return response

    async with reading() as reader, serving(answer) as url:
        wanted = http(url.replace("127.0.0.1", "localhost"), "Value")
        for _ in range(2):
            assert (await reader.read(asked(wanted, control=False), wanted)).problem == ""
    assert seen == [None, None]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://user:secret@h/", "holds a user or a password"),
        ("http://secret@h/", "holds a user or a password"),
        ("http://h:99999/", "is not a URL"),
        ("http://h:0/", "is not a URL of a server"),
        ("http://good\\@bad/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
    ],
)
async def test_urls_that_are_none_or_hold_a_password_are_refused(url: str, problem: str):
    got = await read(url)
    assert problem in got.problem
    assert "secret" not in got.problem
