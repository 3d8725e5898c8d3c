"""Names that are part of the contract: group, kinds, labels, annotations, field managers."""

import hashlib
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
ANNOTATION_EXPERIMENT_STARTED: Final = f"{GROUP}/experiment-started"

#: Most characters of the name of a Job, which becomes a label value.
MAX_NAME: Final = 63
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
    """Return the name of the Job of one test of one revision: at most 63 characters, and the same each time."""
    name = f"{deployment}-{revision}-{test}"
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: MAX_NAME - 11].rstrip('-.')}-{digest}"
