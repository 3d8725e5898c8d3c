"""Names that are part of the contract: group, kinds, labels, annotations, field managers."""

import hashlib
import json
from typing import Final

GROUP: Final = "promptoperator.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "prompts"

PROMPT_DEPLOYMENT: Final = "PromptDeployment"
PROMPT_REVISION: Final = "PromptRevision"
AGENT_ROLLBACK: Final = "AgentRollback"

PROMPT_DEPLOYMENTS: Final = "promptdeployments"
PROMPT_REVISIONS: Final = "promptrevisions"
AGENT_ROLLBACKS: Final = "agentrollbacks"
CONFIG_MAPS: Final = "configmaps"
SECRETS: Final = "secrets"
JOBS: Final = "jobs"
CRON_JOBS: Final = "cronjobs"
PODS: Final = "pods"

FIELD_MANAGER: Final = "prompt-operator"
#: Managers of people's one-off writes. They do not come back to re-assert a value, so they do not pin one.
ONE_OFF_MANAGERS: Final = frozenset({"kubectl-patch", "kubectl-edit", "kubectl-prompt"})

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_DEPLOYMENT: Final = f"{GROUP}/deployment"
LABEL_AGENT: Final = f"{GROUP}/agent"
ANNOTATION_HASH: Final = f"{GROUP}/hash"
ANNOTATION_REVISION: Final = f"{GROUP}/revision"
MANAGED_BY: Final = "prompt-operator"

#: What a CronJob must carry, with the value "true", so that tests may be cloned of it.
LABEL_TEST: Final = f"{GROUP}/test"
#: On the Job of a test: its name, and the number of the revision it is run on.
LABEL_TEST_RUN: Final = f"{GROUP}/test-run"
LABEL_REVISION: Final = f"{GROUP}/revision"
#: On a Job that a metric is read from: the name of the metric.
LABEL_METRIC_RUN: Final = f"{GROUP}/metric-run"
ANNOTATION_EXPERIMENT_STARTED: Final = f"{GROUP}/experiment-started"

#: Most characters of the name of a Job: with `-<index>` of an indexed one or the suffix of a pod it is a label still.
MAX_NAME: Final = 57
#: Leaves room for `-<revision>` and `-prompt` within the 63 characters of a label value.
MAX_DEPLOYMENT_NAME: Final = 52

PROMPT_JSON: Final = "prompt.json"
PROMPT_TXT: Final = "prompt.txt"
METADATA_JSON: Final = "metadata.json"
CANDIDATE_JSON: Final = "candidate.json"
EXPERIMENT_JSON: Final = "experiment.json"

#: An actor nobody vouches for: no admission policy stamped the identity.
UNVERIFIED: Final = "unverified"
AUTOSHIP: Final = "system:autoship"
AUTO_ROLLBACK: Final = "system:auto_rollback"


def config_map_name(deployment: str) -> str:
    """Return the name of the ConfigMap that carries the live prompt of a deployment."""
    return f"{deployment}-prompt"


def revision_name(deployment: str, number: int) -> str:
    """Return the name of one revision of a deployment."""
    return f"{deployment}-{number}"


def auto_rollback_name(deployment: str, revision: int) -> str:
    """Return the name of the AgentRollback the operator makes when a revision has regressed."""
    return f"{deployment}-auto-{revision}"


def rejection_name(deployment: str, revision: int) -> str:
    """Return the name of the AgentRollback the operator makes when a person rejects the revision that is live."""
    return f"{deployment}-reject-{revision}"


def test_run_name(deployment: str, revision: int, test: str) -> str:
    """Return the name of the Job of one test of one revision: a DNS label, and the same each time."""
    # "a-1" with 2 and "b" is the same text as "a" with 1 and "2-b": a test that begins with a digit is told apart.
    return _label(f"{deployment}-{revision}-{test}", deployment, revision, test, marked=test[:1].isdigit())


def metric_run_name(deployment: str, experiment: str, metric: str, moment: str) -> str:
    """Return the name of the Job of one look at one metric: a DNS label, and the same each time."""
    return _label(f"{deployment}-{metric}", deployment, experiment, metric, moment, marked=True)


def _label(text: str, *identity: str | int, marked: bool) -> str:
    """Return a text as a DNS label; with a digest of the identity when it was changed for that, or is ambiguous."""
    label = text.replace(".", "-")
    if label == text and not marked and len(text) <= MAX_NAME:
        return text
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:10]
    return f"{label[: MAX_NAME - len(digest) - 1].rstrip('-')}-{digest}"
