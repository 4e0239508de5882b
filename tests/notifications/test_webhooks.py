"""One call of a webhook: to the address that was looked at and no other, within its time, with little read."""

import ipaddress
import ssl
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.notifications.addresses import Address, BadTarget, endpoint_of, refused
from console.notifications.webhooks import Undelivered, post
from tests.notifications.receivers import (
    LOCAL,
    Receiver,
    answers,
    closed_port,
    drips,
    hangs,
    pours,
    receiver,
    says,
)

HEADERS = [("Content-Type", "application/json")]


def call(url: str, *, within_s: float = 5.0, allow_private: bool = True, **more: object) -> tuple[int, str]:
    answer = post(url, HEADERS, b"{}", allow_private=allow_private, within_s=within_s, **more)  # type: ignore[arg-type]
    return answer.status, answer.text


def to(*texts: str) -> object:
    """A resolver that knows one answer."""

    def resolve(host: str, port: int) -> Sequence[Address]:
        return [ipaddress.ip_address(text) for text in texts]

    return resolve


PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0",
    "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
    "fc00::1", "fd12::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:a00:1::1",
    "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
NEVER = ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
         "255.255.255.255"]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_private_and_special_addresses_are_refused(text: str) -> None:
    assert refused(ipaddress.ip_address(text), allow_private=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_not(text: str) -> None:
    assert not refused(ipaddress.ip_address(text), allow_private=False)


@pytest.mark.parametrize("text", NEVER)
def test_some_are_refused_whatever_is_allowed(text: str) -> None:
    assert refused(ipaddress.ip_address(text), allow_private=True)


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "fd12::1", "::1"])
def test_private_ones_may_be_allowed(text: str) -> None:
    assert not refused(ipaddress.ip_address(text), allow_private=True)


@pytest.mark.parametrize("url", [
    "http://example.com/", "ftp://example.com/", "//example.com/", "example.com", "", "https://", "https:///x",
    "https://user@example.com/", "https://user:secret@example.com/", "https://example.com:0/",
    "https://example.com:99999/", "https://example.com:x/", "https://127.0.0.1/", "https://[::1]/", "https://[::1",
    "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://exa mple.com/",
    "https://example.com/a b", "https://example.com/\r\nX: y", "https://exämple.com/", "https://-x.com/",
    "https://169.254.169.254/latest/meta-data", "https://[fe80::1%25eth0]/", "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 130 + "com/", "https://example.com/" + "x" * 1000, "javascript:alert(1)", "https://exa_mple\t.com/",
])  # fmt: skip
def test_what_is_no_address_for_a_webhook_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(BadTarget) as error:
        endpoint_of(url, allow_private=False)
    assert str(error.value)


def test_an_address_is_taken_apart() -> None:
    one = endpoint_of("https://Hooks.Example.com:8443/a/b?c=d#e", allow_private=False)
    assert (one.host, one.port, one.path, one.authority) == ("hooks.example.com", 8443, "/a/b?c=d", "hooks.example.com:8443")  # fmt: skip
    assert endpoint_of("https://example.com", allow_private=False).path == "/"
    assert endpoint_of("http://[::1]:80/", allow_private=True).authority == "[::1]"


def test_an_answer_is_heard(hook: Receiver) -> None:
    hook.replies = [answers(202, b"thanks")]
    assert call(hook.url) == (202, "thanks")
    (got,) = hook.got
    assert (got.method, got.path, got.body) == ("POST", "/hook", b"{}")
    assert got.headers["host"] == f"{LOCAL}:{hook.port}"


def test_a_name_that_resolves_to_a_private_address_is_refused_when_it_is_called(hook: Receiver) -> None:
    with pytest.raises(Undelivered, match=r"refused: 127\.0\.0\.1 is this machine itself"):
        call(f"https://hooks.example.com:{hook.port}/", allow_private=False, resolve=to(LOCAL))
    assert hook.got == []


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1"])
def test_other_spellings_of_this_machine_are_refused(hook: Receiver, spelling: str) -> None:
    with pytest.raises(Undelivered, match="refused"):
        call(f"https://{spelling}:{hook.port}/", allow_private=False)
    assert hook.got == []


def test_the_name_is_asked_for_once_and_that_answer_is_called(hook: Receiver) -> None:
    """A name that answers with this machine the second time it is asked gains nothing: nobody asks again."""
    asked = []

    def rebinding(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return [ipaddress.ip_address(LOCAL if len(asked) == 1 else "10.255.255.1")]

    assert call(f"http://hooks.test:{hook.port}/x", resolve=rebinding) == (200, "ok")
    assert asked == ["hooks.test"]
    assert hook.got[0].headers["host"] == f"hooks.test:{hook.port}"


def test_only_the_addresses_that_may_be_called_are(hook: Receiver) -> None:
    assert call(f"http://hooks.test:{hook.port}/", resolve=to("169.254.169.254", LOCAL)) == (200, "ok")


def test_the_next_address_is_tried_where_one_takes_no_connection(hook: Receiver) -> None:
    assert call(f"http://hooks.test:{hook.port}/", resolve=to("127.0.0.2", LOCAL))[0] == 200
    assert len(hook.got) == 1


def test_a_name_that_nobody_knows_says_so() -> None:
    with pytest.raises(Undelivered, match="No connection"):
        call("https://nobody.invalid/", allow_private=False)


def test_a_port_that_nobody_listens_on_says_so() -> None:
    with closed_port() as port, pytest.raises(Undelivered, match="No connection: Connection refused"):
        call(f"http://{LOCAL}:{port}/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(hook: Receiver, status: int) -> None:
    with receiver() as elsewhere:
        hook.replies = [answers(status, b"", Location=elsewhere.url)]
        assert call(hook.url)[0] == status
        assert elsewhere.got == []
    assert len(hook.got) == 1


def test_one_that_says_nothing_is_given_up_in_time(hook: Receiver) -> None:
    hook.replies = [hangs(3)]
    began = time.monotonic()
    with pytest.raises(Undelivered, match=r"No answer within 0\.5 s"):
        call(hook.url, within_s=0.5)
    assert time.monotonic() - began < 1.5


def test_one_that_goes_on_saying_a_little_is_given_up_in_time(hook: Receiver) -> None:
    hook.replies = [drips(5)]
    began = time.monotonic()
    with pytest.raises(Undelivered):
        call(hook.url, within_s=0.6)
    assert time.monotonic() - began < 1.5


def test_a_resolver_that_hangs_is_given_up_in_time() -> None:
    def slow(host: str, port: int) -> Sequence[Address]:
        time.sleep(2)
        return []

    began = time.monotonic()
    with pytest.raises(Undelivered, match="No answer within"):
        call("https://hooks.test/", within_s=0.4, resolve=slow)
    assert time.monotonic() - began < 1.2


def test_of_a_huge_answer_little_is_read(hook: Receiver) -> None:
    hook.replies = [pours(256)]
    status, text = call(hook.url)
    assert (status, len(text)) == (200, 500)
    time.sleep(0.2)
    assert hook.poured < 32 * 2**20, "the connection was closed on it"


def test_a_huge_head_is_refused(hook: Receiver) -> None:
    hook.replies = [says(b"HTTP/1.1 200 OK\r\n" + b"X-Much: " + b"x" * 2**20 + b"\r\n\r\n")]
    with pytest.raises(Undelivered):
        call(hook.url)


@pytest.mark.parametrize(
    "noise", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"\x00\xff\x00\xff\r\n\r\n", b"HTTP/1.1 9999 X\r\n\r\n"]
)
def test_what_is_no_http_is_refused(hook: Receiver, noise: bytes) -> None:
    hook.replies = [says(noise)]
    with pytest.raises(Undelivered):
        call(hook.url)


def test_one_that_hangs_up_is_refused(hook: Receiver) -> None:
    hook.replies = [says(b"")]
    with pytest.raises(Undelivered, match=r"closed without an answer|no HTTP|No connection"):
        call(hook.url)


def test_an_answer_with_what_cannot_be_stored_is_stored_without(hook: Receiver) -> None:
    hook.replies = [answers(400, b"a\x00b\xff")]
    assert call(hook.url) == (400, "ab�")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the name hooks.test, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=hooks.test",
         "-addext", "subjectAltName=DNS:hooks.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "cert.pem"))


def serving(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_with_tls_the_certificate_is_the_names_though_an_address_is_called(certificate: Path) -> None:
    with receiver(serving(certificate)) as safe:
        url = f"https://hooks.test:{safe.port}/hook"
        assert call(url, resolve=to(LOCAL), trust=trusting(certificate)) == (200, "ok")
        assert safe.names == ["hooks.test"]
        assert safe.got[0].headers["host"] == f"hooks.test:{safe.port}"
        with pytest.raises(Undelivered, match="TLS failed"):
            call(f"https://other.test:{safe.port}/", resolve=to(LOCAL), trust=trusting(certificate))
        with pytest.raises(Undelivered, match="TLS failed"):
            call(url, resolve=to(LOCAL))
        assert len(safe.got) == 1
