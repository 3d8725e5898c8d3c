"""Tokens and certificates: from Secrets of the namespace that are meant for it, sent where they may be, never shown."""

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from prompt_operator.api.gates import SecretKey
from prompt_operator.cluster.pki import Authority
from prompt_operator.evaluation.readings import Reading
from prompt_operator.evaluation.sources.addresses import AddressRules
from prompt_operator.evaluation.sources.credentials import LABEL, Credentials, context_of, refused, value_in
from prompt_operator.evaluation.sources.problem import SourceError
from tests.unit.evaluation.sources.places import (
    LOOPBACK,
    TOKEN,
    Secrets,
    answering,
    asked,
    http,
    listening,
    prometheus,
    reading,
    sample,
    serving,
    vector,
)

GOOD = {"candidate": {"value": 7}}
WHERE = {"name": "source", "key": "token"}
CA = {"name": "source", "key": "ca.crt"}


def secrets(token: bytes = TOKEN.encode(), ca: bytes = b"") -> Secrets:
    return Secrets({("team", "source", "token"): token, ("team", "source", "ca.crt"): ca})


async def read(
    url: str, given: Any = None, rules: AddressRules = LOOPBACK, namespace: str = "team", **more: Any
) -> Reading:
    wanted = http(url, "Value", **more)
    async with reading(rules, given or secrets()) as reader:
        return await reader.read(asked(wanted, control=False, namespace=namespace), wanted)


# --- what is a token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [TOKEN.encode(), f"  {TOKEN}\n".encode()])
async def test_the_token_of_the_secret_is_sent(stored: bytes):
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(GOOD)

    async with serving(answer) as url:
        assert (await read(url, secrets(stored), bearerToken=WHERE)).problem == ""
    assert seen == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("stored", [b"", b" \n", b"two words", b"a\r\nX-Evil: 1", b"\xff\xfe", "tökén".encode()])
async def test_what_is_no_token_is_not_sent_and_not_shown(stored: bytes):
    got = await read("http://127.0.0.1:9", secrets(stored), bearerToken=WHERE)
    assert got.problem == "Key token of Secret source holds no token: one word of visible characters."


async def test_only_secrets_of_the_own_namespace_are_asked_for():
    given = secrets()
    got = await read("http://127.0.0.1:9", given, namespace="other", bearerToken=WHERE)
    assert given.reads == [("other", "source", "token")]
    assert "unforeseen way (KeyError)" in got.problem


def stored(label: Any = "true", **data: bytes) -> dict[str, Any]:
    labels = {} if label is None else {LABEL: label}
    return {
        "metadata": {"name": "source", "labels": labels},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def test_a_secret_that_is_meant_for_metric_sources_gives_its_value():
    assert value_in(stored(token=b"x\n"), "token") == b"x\n"


@pytest.mark.parametrize("label", [None, "", "false", "True"])
def test_a_secret_that_is_not_meant_for_metric_sources_is_not_used(label: str | None):
    """Else the operator could be had to send any Secret to anybody, by whoever may not read it."""
    with pytest.raises(SourceError) as problem:
        value_in(stored(label, token=b"x"), "token")
    assert str(problem.value) == (
        "Secret source is not meant for metric sources. If it shall be: "
        "kubectl label secret source promptoperator.io/metric-source=true"
    )


@pytest.mark.parametrize(
    "secret", [stored(), stored(other=b"x"), stored() | {"data": None}, stored() | {"data": {"token": "?"}}]
)
def test_a_missing_or_broken_key_is_named(secret: dict[str, Any]):
    with pytest.raises(SourceError, match="Secret source has no key token"):
        value_in(secret, "token")


def test_a_missing_right_is_named_with_how_to_grant_it():
    assert str(refused(403, "team", "source")) == (
        "The operator may not read Secret source (403): by default it has no right to any. Grant it in namespace team: "
        "kubectl apply -n team -k manifests/metric-secrets"
    )
    assert "There is no Secret source in namespace team" in str(refused(404, "team", "source"))
    assert "the API server answered 500" in str(refused(500, "team", "source"))


async def test_what_a_reader_of_secrets_says_is_shown():
    async def read_secret(namespace: str, name: str, _key: str) -> bytes:
        raise refused(403, namespace, name)

    got = await read("http://127.0.0.1:9", read_secret, bearerToken=WHERE)
    assert "The operator may not read Secret source (403)" in got.problem


async def test_secrets_that_are_not_read_in_time_are_told():
    async def read_secret(_namespace: str, _name: str, _key: str) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    got = await read("http://127.0.0.1:9", read_secret, bearerToken=WHERE, timeoutSeconds=1)
    assert got.problem == "The Secrets of the source could not be read within 1 s."


# --- where it goes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["prometheus.monitoring", "example.test", "8.8.8.8", "[64:ff9b::808:808]"])
async def test_no_token_goes_by_plain_http_to_where_others_may_listen(host: str):
    got = await read(f"http://{host}/", rules=AddressRules(), bearerToken=WHERE)
    assert got.problem.startswith("The token is not sent to ")
    assert got.problem.endswith(
        "over plain http. Use https, or the name of a Service in full: http://NAME.NAMESPACE.svc"
    )


async def test_no_token_follows_a_redirect():
    seen = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response(GOOD)

    async with serving(elsewhere) as other, serving(answering("", status=302, Location=other)) as url:
        got = await read(url, bearerToken=WHERE)
    assert "redirects to" in got.problem
    assert seen == []


# --- what is shown ----------------------------------------------------------------------------------------------------


async def echo(request: web.Request) -> web.StreamResponse:
    """Repeat what was sent, as badly configured servers do."""
    said = {"status": "error", "error": f"bad header: {request.headers['Authorization']}"}
    return web.json_response(said, status=400)


async def redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"/login/{request.headers['Authorization'].split()[1]}"})


async def warn(request: web.Request) -> web.StreamResponse:
    return web.json_response(vector(sample("1"), warnings=[f"deprecated: {request.headers['Authorization']}"]))


@pytest.mark.parametrize("answer", [echo, redirect, warn])
async def test_a_server_that_repeats_the_token_does_not_get_it_into_status(answer: Any):
    async with reading(LOOPBACK, secrets()) as reader, serving(answer) as url:
        wanted = prometheus(url, "Value", bearerToken=WHERE)
        got = await reader.read(asked(wanted, control=False), wanted)
    assert "(token)" in got.problem
    assert TOKEN not in got.problem


async def test_no_way_to_fail_shows_the_token(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]):
    async def broken(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async with listening(broken) as closed, serving(answering("x", status=500)) as wrong:
        urls = (closed, wrong, "http://127.0.0.1:1", "http://8.8.8.8", "https://127.0.0.1:1", f"{closed}/{{{{x}}}}")
        problems = [(await read(url, bearerToken=WHERE)).problem for url in urls]
    assert all(problems)
    shown = " ".join(problems) + caplog.text + "".join(capsys.readouterr())
    assert TOKEN not in shown


# --- how often it is read ---------------------------------------------------------------------------------------------


async def test_a_secret_is_read_once_for_many_readings():
    given = secrets()
    async with reading(LOOPBACK, given) as reader, serving(answering(GOOD)) as url:
        wanted = http(url, "Value", bearerToken=WHERE)
        got = await asyncio.gather(*(reader.read(asked(wanted, control=False), wanted) for _ in range(50)))
    assert {one.problem for one in got} == {""}
    assert given.reads == [("team", "source", "token")]


async def test_a_token_that_was_changed_is_used_after_the_old_one_was_refused():
    given = secrets(b"old")

    async def answer(request: web.Request) -> web.StreamResponse:
        known = request.headers["Authorization"] == "Bearer new"
        return web.json_response(GOOD) if known else web.Response(status=401)

    async with reading(LOOPBACK, given) as reader, serving(answer) as url:
        wanted = http(url, "Value", bearerToken=WHERE)
        assert "answered 401" in (await reader.read(asked(wanted, control=False), wanted)).problem
        given.values = secrets(b"new").values
        assert (await reader.read(asked(wanted, control=False), wanted)).problem == ""


async def test_a_secret_that_could_not_be_read_is_tried_again():
    given = Secrets({})
    async with reading(LOOPBACK, given) as reader, serving(answering(GOOD)) as url:
        wanted = http(url, "Value", bearerToken=WHERE)
        assert (await reader.read(asked(wanted, control=False), wanted)).problem != ""
        given.values = secrets().values
        assert (await reader.read(asked(wanted, control=False), wanted)).problem == ""


async def test_who_gives_up_does_not_spoil_it_for_others_and_closing_ends_what_is_read():
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def read_secret(*_: str) -> bytes:
        begun.set()
        await go_on.wait()
        return b"x"

    credentials = Credentials(read_secret)
    where = SecretKey(name="source", key="token")
    first, second = (asyncio.create_task(credentials.token("team", where)) for _ in range(2))
    await begun.wait()
    first.cancel()
    go_on.set()
    assert await second == "x"
    go_on.clear()
    credentials.forget("team", where)
    third = asyncio.create_task(credentials.token("team", where))
    await asyncio.sleep(0)
    await credentials.close()
    with pytest.raises(asyncio.CancelledError):
        await third


# --- whom to trust ----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "one").mkdir()
    return Authority.open(tmp_path / "one")


def server_context(authority: Authority, **named: Any) -> ssl.SSLContext:
    pair = authority.server("server", "metrics", **({"names": ["localhost"]} | named))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    return context


async def test_a_server_is_trusted_by_the_certificate_of_its_secret(authority: Authority):
    given = secrets(ca=authority.ca_file.read_bytes())
    async with serving(answering(GOOD), server_context(authority)) as url:
        assert (await read(url, given, caCertificate=CA, bearerToken=WHERE)).problem == ""
        assert (await read(url.replace("127.0.0.1", "localhost"), given, caCertificate=CA)).problem == ""


async def test_a_server_of_an_unknown_authority_is_not_trusted(authority: Authority, tmp_path: Path):
    (tmp_path / "two").mkdir()
    other = Authority.open(tmp_path / "two").ca_file.read_bytes()
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response(GOOD)

    async with serving(answer, server_context(authority)) as url:
        by_system = await read(url, bearerToken=WHERE)
        by_other = await read(url, secrets(ca=other), caCertificate=CA, bearerToken=WHERE)
    for got in (by_system, by_other):
        assert "is not trusted: " in got.problem
        assert "Name its CA in caCertificate." in got.problem
    assert seen == []


async def test_a_certificate_of_another_name_is_not_trusted(authority: Authority):
    given = secrets(ca=authority.ca_file.read_bytes())
    async with serving(answering(GOOD), server_context(authority, address="127.0.0.9")) as url:
        got = await read(url, given, caCertificate=CA)
    assert "is not trusted: IP address mismatch" in got.problem


async def test_a_server_without_tls_is_told(authority: Authority):
    given = secrets(ca=authority.ca_file.read_bytes())
    async with serving(answering(GOOD)) as url:
        got = await read(url.replace("http", "https"), given, caCertificate=CA)
    assert got.problem.startswith("No TLS with 127.0.0.1:")


@pytest.mark.parametrize(
    "ca", [b"", b"\n", b"no certificate", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
async def test_what_is_no_certificate_does_not_mean_to_trust_what_the_system_trusts(ca: bytes):
    got = await read("https://127.0.0.1:9", secrets(ca=ca), caCertificate=CA)
    assert got.problem == "What caCertificate names are no certificates in PEM."


def test_verification_is_never_off(authority: Authority):
    for certificates in (None, authority.ca_file.read_bytes()):
        context = context_of(certificates)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context_of(authority.ca_file.read_bytes()).get_ca_certs()) == 1
