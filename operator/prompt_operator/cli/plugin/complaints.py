"""What kubectl and the API server complain of, as sentences that say what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

from prompt_operator.cli.plugin.exits import ChangedError, Exit, NotFoundError, PluginError, near

_LOG_LINE = re.compile(r"^[EWIF]\d{4} \d\d:\d\d:\d\d")
_SERVER = re.compile(
    r"^Error from server(?: \((?P<reason>\w+)\))?: (?:error when \w+ \"[^\"]*\": )?(?P<message>.*)", re.DOTALL
)
_CONTEXT = re.compile(r"context was not found for specified context: (\S+)|context \"([^\"]*)\" does not exist")
_MISSING = re.compile(r"(?P<kind>[a-z]+)(?:\.[\w.]+)? \"(?P<name>[^\"]*)\" not found")
_FORBIDDEN = re.compile(
    r"User \"(?P<user>[^\"]*)\" cannot (?P<verb>\w+) resource \"(?P<resource>[^\"]+)\""
    r"(?: in API group \"(?P<group>[^\"]*)\")?"
    r"(?: (?P<where>in the namespace \"[^\"]*\"|at the cluster scope))?"
)
_INVALID = re.compile(
    r"(?:Error from server \(Invalid\): .*?|)[Tt]he (?P<what>\w+) \"(?P<name>[^\"]*)\" is invalid:(?P<causes>.*)",
    re.DOTALL,
)
#: kubectl's words for a JSON patch of which a test does not hold, or of which a path is not there any more.
_PATCH_DOES_NOT_FIT = "The request is invalid: the server rejected our request due to an error in our request"
_CHANGED = "Somebody changed it at the same moment, so nothing was done. Try again."
_TYPED_VALUE = re.compile(r"Invalid value: (?:\"(?:[^\"\\]|\\.)*\"|[^:]*?): ")
_KINDS = {
    "promptdeployments": "PromptDeployment",
    "promptrevisions": "PromptRevision",
    "agentrollbacks": "AgentRollback",
    "namespaces": "namespace",
    "configmaps": "ConfigMap",
}


def explain(complaint: str, *, context: str = "", contexts: Callable[[], list[str]] = list) -> PluginError:
    """Turn what kubectl wrote on its standard error into one error; it never repeats kubectl's own log lines."""
    lines = [line for line in complaint.strip().splitlines() if not _LOG_LINE.match(line)]
    text = "\n".join(line for line in lines if not line.startswith("Warning:")).strip()
    if found := _CONTEXT.search(text):
        wanted = context or found[1] or found[2] or ""
        known = contexts()
        there = f" There is {', '.join(known[:10])}." if known and not near(wanted, known) else ""
        return PluginError(
            Exit.NO_CLUSTER, f"The kubeconfig has no context {wanted!r}.{near(wanted, known)}{there} Set --context."
        )
    if _PATCH_DOES_NOT_FIT in text:
        return ChangedError(_CHANGED)
    for look in (_unreachable, _no_crds, _invalid, _from_server):
        if problem := look(text):
            return problem
    return PluginError(Exit.FAILED, _sentence(text.removeprefix("error: ")) or "kubectl failed and did not say why.")


def _unreachable(text: str) -> PluginError | None:
    if found := re.search(r"connection to the server (\S+) was refused", text):
        return PluginError(
            Exit.NO_CLUSTER,
            f"No cluster answers at {found[1]}. Start it, or name another one with --context or --kubeconfig.",
        )
    if found := re.search(r"Unable to connect to the server: (.*)", text):
        return PluginError(
            Exit.NO_CLUSTER,
            f"The cluster cannot be reached: {_why(found[1])}. Check the network, --context and --kubeconfig.",
        )
    if re.search(r"i/o timeout|TLS handshake timeout|context deadline exceeded|Client\.Timeout", text):
        return PluginError(Exit.NO_CLUSTER, "The cluster does not answer in time. Try again, or check the network.")
    if found := re.search(r"error loading config file \"([^\"]*)\"|(?:stat|open) (\S+): no such file", text):
        path = found[1] or found[2]
        return PluginError(Exit.NO_CLUSTER, f"The kubeconfig {path} cannot be read. Correct --kubeconfig.")
    if "must be logged in" in text or "Unauthorized" in text or "getting credentials" in text:
        return PluginError(Exit.NO_RIGHTS, "The cluster does not know you. Log in again, or choose another --context.")
    return None


def _why(text: str) -> str:
    if "no such host" in text:
        host = re.search(r"lookup (\S+)", text)
        return f"there is no host {host[1]}" if host else "there is no such host"
    if "certificate" in text:
        return "its certificate is not trusted (" + text.rsplit(": ", maxsplit=1)[-1] + ")"
    return text.strip().rstrip(".")


def _no_crds(text: str) -> PluginError | None:
    if re.search(r"doesn't have a resource type|no matches for kind|could not find the requested resource", text):
        return PluginError(
            Exit.NO_CLUSTER,
            "prompt-operator's kinds are not installed in this cluster. Install them (kubectl apply --server-side -f "
            "crds/), or choose another --context.",
        )
    return None


def _invalid(text: str) -> PluginError | None:
    found = _INVALID.match(text)
    if found is None:
        return None
    causes = [c.strip().removeprefix("* ").strip() for c in found["causes"].strip().splitlines() if c.strip()]
    if any(c.startswith("spec.decisions[") and "Duplicate value" in c for c in causes):
        return ChangedError(_CHANGED)  # an entry of a list that somebody else added meanwhile
    told = "; ".join(_TYPED_VALUE.sub("", cause) for cause in causes)
    return PluginError(Exit.FAILED, _sentence(f"{found['what']} {found['name']} is refused: {told}"))


def _from_server(text: str) -> PluginError | None:
    found = _SERVER.match(text)
    if found is None:
        return None
    reason, message = found["reason"] or "", found["message"].strip()
    if reason == "NotFound":
        what = _MISSING.search(message)
        kind = _KINDS.get(what["kind"], what["kind"]) if what else ""
        return NotFoundError(f"There is no {kind} {what['name']}." if what else _sentence(message))
    if reason == "Forbidden":
        return PluginError(Exit.NO_RIGHTS, _forbidden(message))
    if reason == "AlreadyExists":
        return PluginError(Exit.FAILED, _sentence(message))
    if reason == "Conflict":
        return ChangedError(_CHANGED)
    if reason in ("ServiceUnavailable", "Timeout", "ServerTimeout", "TooManyRequests", "InternalError"):
        return PluginError(Exit.NO_CLUSTER, f"The API server is in trouble ({_sentence(message)}) Try again.")
    return PluginError(Exit.FAILED, f"The API server refuses: {_sentence(message)}")


def _forbidden(message: str) -> str:
    found = _FORBIDDEN.search(message)
    if found is None:
        return f"The cluster refuses: {_sentence(message)}"
    where = f" {found['where']}" if found["where"] else ""
    group = f".{found['group']}" if found["group"] else ""
    return (
        f"{found['user']} may not {found['verb']} {found['resource']}{group}{where}. Ask whoever runs the cluster for "
        f"the verb {found['verb']!r} on it."
    )


def _sentence(text: str) -> str:
    one = " ".join(text.split())
    return one if not one or one[-1] in ".!?)" else one + "."
