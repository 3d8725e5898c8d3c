"""Names that are part of the contract: group, kinds, labels, annotations, field managers."""

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

#: Leaves room for `-<revision>` and `-prompt` within the 63 characters of a label value.
MAX_DEPLOYMENT_NAME: Final = 52

PROMPT_JSON: Final = "prompt.json"
PROMPT_TXT: Final = "prompt.txt"
METADATA_JSON: Final = "metadata.json"

#: An actor nobody vouches for: no admission policy stamped the identity.
UNVERIFIED: Final = "unverified"
AUTOSHIP: Final = "system:autoship"


def config_map_name(deployment: str) -> str:
    """Return the name of the ConfigMap that carries the live prompt of a deployment."""
    return f"{deployment}-prompt"


def revision_name(deployment: str, number: int) -> str:
    """Return the name of one revision of a deployment."""
    return f"{deployment}-{number}"
