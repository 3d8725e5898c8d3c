"""What kubectl complains of, as sentences."""

import pytest

from prompt_operator.cli.plugin.complaints import explain
from prompt_operator.cli.plugin.exits import Exit

LOG = 'E1123 20:42:57.467046   13756 memcache.go:381] "Couldn\'t get current server API group list" err="…"\n'
FORBIDDEN = (
    'Error from server (Forbidden): promptdeployments.promptoperator.io is forbidden: User "bob" cannot list resource '
    '"promptdeployments" in API group "promptoperator.io" in the namespace "x"'
)
CASES = [
    (LOG * 5 + "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
     Exit.NO_CLUSTER, "No cluster answers at localhost:8080."),
    ("Unable to connect to the server: dial tcp: lookup nosuch.invalid on 10.0.0.1:53: no such host",
     Exit.NO_CLUSTER, "there is no host nosuch.invalid"),
    ("Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown authority",
     Exit.NO_CLUSTER, "its certificate is not trusted"),
    ('error: the server doesn\'t have a resource type "promptdeployments"', Exit.NO_CLUSTER, "kinds are not installed"),
    ("error: You must be logged in to the server (Unauthorized)", Exit.NO_RIGHTS, "Log in again"),
    (FORBIDDEN,
     Exit.NO_RIGHTS, 'bob may not list promptdeployments.promptoperator.io in the namespace "x". Ask'),
    ('Error from server (NotFound): promptdeployments.promptoperator.io "x" not found', Exit.USAGE, "There is no PromptDeployment x."),
    ('The AgentRollback "x-1" is invalid: \n* spec: Invalid value: "object": takes at most one\n* spec.reason: Too long: may not be more than 8192 bytes',
     Exit.FAILED, "AgentRollback x-1 is refused: spec: takes at most one; spec.reason: Too long: may not be more than 8192 bytes."),
    ('Error from server (BadRequest): error when creating "STDIN": strict decoding error', Exit.FAILED, "refuses: strict decoding error."),
    ("Error from server (Conflict): Operation cannot be fulfilled", Exit.FAILED, "Try again."),
    ('error: error loading config file "/x/y": yaml: line 1', Exit.NO_CLUSTER, "The kubeconfig /x/y cannot be read."),
    ("", Exit.FAILED, "did not say why"),
]  # fmt: skip


@pytest.mark.parametrize(("complaint", "code", "sentence"), CASES)
def test_a_complaint_becomes_a_sentence_with_an_exit_code(complaint: str, code: Exit, sentence: str):
    problem = explain(complaint)
    assert problem.code is code
    assert sentence in str(problem)
    assert "memcache" not in str(problem)
    assert "\n" not in str(problem)


def test_a_wrong_context_is_answered_with_those_that_are_near():
    problem = explain('error: context "prodd" does not exist', contexts=lambda: ["prod", "staging"])
    assert problem.code is Exit.NO_CLUSTER
    assert "no context 'prodd'. Did you mean prod?" in str(problem)
