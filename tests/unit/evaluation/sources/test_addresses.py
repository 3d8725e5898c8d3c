"""Which addresses sources may have, in all the forms that addresses have."""

import pytest
from click.testing import CliRunner

from prompt_operator.cli.main import main
from prompt_operator.evaluation.sources.addresses import AddressRules, keeps_plain_http_inside

DEFAULT = AddressRules()


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # metadata of most clouds
        "169.254.170.2",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "239.255.255.255",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "::ffff:169.254.169.254",  # mapped
        "::ffff:0:169.254.169.254",  # translated
        "::169.254.169.254",  # compatible
        "64:ff9b::169.254.169.254",  # NAT64
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",  # local NAT64
        "2002:a9fe:a9fe::1",  # 6to4
        "2001:0:102:304:0:0:5601:5601",  # Teredo, which inverts the bits
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "::ffff:100.100.100.200",
        "not an address",
        "",
    ],
)
def test_what_only_the_machine_or_its_cloud_should_be_asked_is_refused(address: str):
    assert DEFAULT.refusal(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.96.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fd12:3456::1",
        "8.8.8.8",
        "2606:4700::1111",
        "::ffff:10.0.0.1",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "100.100.100.201",
        "169.253.255.255",
        "169.255.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "fd00:ec3::1",
        "fdbf::1",
    ],
)
def test_pods_services_and_the_rest_of_the_world_are_allowed(address: str):
    assert DEFAULT.refusal(address) == ""


def test_what_is_refused_says_what_it_is_and_how_it_can_be_allowed():
    assert DEFAULT.refusal("169.254.169.254") == (
        "a link-local address, as metadata services have, which a metric source must not have. Name another address, "
        "or have whoever runs the operator allow it: --metric-source-allow 169.254.169.254"
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_what_is_allowed_explicitly_is_allowed_in_all_forms(address: str):
    assert AddressRules.parse(["127.0.0.0/8"]).refusal(address) == ""


def test_allowing_one_thing_allows_nothing_else():
    rules = AddressRules.parse(["127.0.0.1", "fe80::/10"])
    assert rules.refusal("fe80::1") == ""
    assert rules.refusal("127.0.0.2")
    assert rules.refusal("::1")
    assert rules.refusal("169.254.169.254")


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "127.0.0.0/33", "", "1"])
def test_what_is_no_network_is_named(text: str):
    with pytest.raises(ValueError, match=r"is not a network: .* Write an address or a CIDR, such as"):
        AddressRules.parse([text])


@pytest.mark.parametrize(
    "host",
    [
        "prometheus.monitoring.svc",
        "Prometheus.Monitoring.SVC.",
        "prometheus.monitoring.svc.cluster.local",
        "0.prometheus.monitoring.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "192.168.0.1",
        "fd12::1",
        "::1",
        "::ffff:10.0.0.1",
    ],
)
def test_a_token_may_go_by_plain_http_where_it_stays_inside(host: str):
    assert keeps_plain_http_inside(host)


@pytest.mark.parametrize(
    "host",
    [
        "prometheus.monitoring",
        "example.test",
        "svc",
        "svc.example.test",
        "a.svcs.b",
        "x.svc.attacker.example",
        "prometheus.monitoring.svc.cluster.local.attacker.example",
        "prometheus.monitoring.svc.cluster.locals",
        "8.8.8.8",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "",
    ],
)
def test_a_token_does_not_go_by_plain_http_anywhere_else(host: str):
    assert not keeps_plain_http_inside(host)


def test_the_command_refuses_what_is_no_network_before_it_starts_anything():
    done = CliRunner().invoke(
        main, ["run", "--metric-source-allow", "127.0.0.0/8", "--metric-source-allow", "localhost"]
    )
    assert done.exit_code == 2
    assert "'--metric-source-allow': localhost is not a network" in done.output
