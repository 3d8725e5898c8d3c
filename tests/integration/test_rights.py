"""No right too few, none too many: what all tests before made the operators do, by the API server's audit log.

The operators of the integration tests run with the rights of the service account that the manifests install. These
tests are run after all others of this directory.
"""

from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from tests.support.installation import GRANTED_APART, Installation
from tests.support.operator_process import OperatorProcess
from tests.support.rights import lines, refused, requests_of_operators, used, without
from tests.support.whole_run import WholeRun

pytestmark = pytest.mark.integration


def test_the_shared_operator_is_who_the_manifests_make_it_and_was_refused_nothing(
    installation: Installation, shared_operator: OperatorProcess
):
    requests = list(installation.requests())
    assert requests, "the audit log has no request of the operator's account"
    assert refused(requests, GRANTED_APART) == []


def test_whatever_else_the_operator_did_everybody_may_do(installation: Installation, shared_operator: OperatorProcess):
    roles = used(installation.requests())
    assert installation.name in roles
    assert [role for role in roles if not role.startswith((installation.name, "system:"))] == []


def test_every_right_that_the_manifests_grant_was_used_by_an_operator_of_these_tests(
    request: pytest.FixtureRequest, installation: Installation, shared_operator: OperatorProcess
):
    whole_run = request.config.pluginmanager.get_plugin(WholeRun.NAME)
    if lacks := whole_run.lacks(Path(__file__)):
        pytest.skip(f"unused rights show in a whole run of these tests only: {lacks}")
    quiet_cluster: Cluster = request.getfixturevalue("quiet_cluster")
    left = installation.grants
    for log in (installation.cluster.audit_log, quiet_cluster.audit_log):
        left = without(left, used(requests_of_operators(log)).get("prompt-operator", {}))
    assert lines(left) == [], "drop these rights from RIGHTS in preflight.py, or test what needs them"
