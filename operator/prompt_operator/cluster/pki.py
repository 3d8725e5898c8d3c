"""Keys and certificates of one cluster, made in milliseconds and never leaving its directory."""

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from prompt_operator.cluster.ports import LOOPBACK
from prompt_operator.cluster.state import write_private

_LIFETIME = dt.timedelta(days=365)
_CLOCK_SKEW = dt.timedelta(hours=1)
SERVER_NAMES: Sequence[str] = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class KeyPair:
    """PEM files of a certificate and its private key."""

    cert: Path
    key: Path


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,  # what kube-apiserver also takes as a service account key
        serialization.NoEncryption(),
    )


def _name(common_name: str, groups: Iterable[str] = ()) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ],
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


class Authority:
    """The cluster's own certificate authority."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, directory: Path) -> None:
        self._key = key
        self._certificate = certificate
        self._directory = directory
        self.ca_file = directory / "ca.crt"

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Load the authority of a directory, or make one there."""
        key_file, cert_file = directory / "ca.key", directory / "ca.crt"
        if key_file.exists() and cert_file.exists():
            loaded = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            return cls(loaded, x509.load_pem_x509_certificate(cert_file.read_bytes()), directory)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("prompt-operator embedded cluster")
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificate_authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(key_file, _pem(key))
        write_private(cert_file, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate, directory)

    def server(
        self,
        file_name: str,
        common_name: str = "kube-apiserver",
        *,
        names: Iterable[str] = SERVER_NAMES,
        address: str = LOOPBACK,
    ) -> KeyPair:
        """Issue the certificate of a server: the API server on loopback, unless another one is named."""
        return self._issue(
            file_name,
            _name(common_name),
            ExtendedKeyUsageOID.SERVER_AUTH,
            x509.SubjectAlternativeName(
                [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address(address))],
            ),
        )

    def client(self, file_name: str, user: str, groups: Iterable[str] = ()) -> KeyPair:
        """Issue a certificate by which the API server knows a user and their groups."""
        return self._issue(file_name, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        file_name: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None = None,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificate_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pair = KeyPair(self._directory / f"{file_name}.crt", self._directory / f"{file_name}.key")
        write_private(pair.key, _pem(key))
        write_private(pair.cert, certificate.public_bytes(serialization.Encoding.PEM))
        return pair


def service_account_key(directory: Path) -> Path:
    """Return the key that signs service account tokens; made when missing, kept so that tokens outlive a restart."""
    path = directory / "service-account.key"
    if not path.exists():
        write_private(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    return path


def _usage(*, certificate_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=certificate_authority,
        crl_sign=certificate_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
