"""Certificates of one cluster."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from prompt_operator.cluster.pki import Authority, service_account_key


@pytest.fixture
def authority(tmp_path):
    return Authority.open(tmp_path)


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def verifier(authority, name):
    return PolicyBuilder().store(Store([load(authority.ca_file)])).build_server_verifier(x509.DNSName(name))


@pytest.mark.parametrize("name", ["localhost", "kubernetes.default.svc"])
def test_a_client_accepts_the_server_by_each_of_its_names(authority, name):
    serving = load(authority.server("apiserver").cert)
    assert verifier(authority, name).verify(serving, [])


def test_the_server_has_the_loopback_address(authority):
    names = load(authority.server("apiserver").cert).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(address) for address in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_server_of_another_cluster_is_refused(authority, tmp_path):
    (tmp_path / "other").mkdir()
    foreign = load(Authority.open(tmp_path / "other").server("apiserver").cert)
    with pytest.raises(VerificationError):
        verifier(authority, "localhost").verify(foreign, [])


def test_a_client_certificate_names_user_and_groups_and_cannot_serve(authority):
    pair = authority.client("alice", "alice", ["dev", "ops"])
    certificate = load(pair.cert)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "alice"
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [group.value for group in groups] == ["dev", "ops"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_key_and_certificate_belong_together_for_openssl(authority):
    pair = authority.client("admin", "admin")
    ssl.create_default_context(cafile=str(authority.ca_file)).load_cert_chain(pair.cert, pair.key)


def test_all_files_are_private(authority, tmp_path):
    authority.server("apiserver")
    service_account_key(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_restart_keeps_the_authority_and_the_service_account_key(authority, tmp_path):
    key = service_account_key(tmp_path).read_bytes()
    old = authority.client("old", "old")
    again = Authority.open(tmp_path)
    load(old.cert).verify_directly_issued_by(load(again.ca_file))
    load(again.client("new", "new").cert).verify_directly_issued_by(load(authority.ca_file))
    assert service_account_key(tmp_path).read_bytes() == key
    serialization.load_pem_private_key(key, password=None)
