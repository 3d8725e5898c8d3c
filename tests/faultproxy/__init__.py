"""A proxy between the operator and a real kube-apiserver that records every request and injects faults.

with FaultProxy.in_front_of(admin_kubeconfig) as proxy:
    start_operator(kubeconfig=proxy.kubeconfig)
    lost = proxy.arm(Fault(match=Match(resource="configmaps", writes_only=True), action=lose_reply()))
    ...
    lost.wait()
    assert [write.label for write in proxy.trace.writes()] == [...]
"""

from .armed import Armed
from .frames import WatchEvent
from .kubeconfig import KubeconfigError
from .proxy import FaultProxy
from .resource import Resource
from .rules import (
    AFTER,
    BEFORE,
    CONTINUE,
    DROP,
    End,
    Fault,
    Match,
    Then,
    When,
    blackhole,
    call,
    cut,
    delay,
    drop_before,
    drop_events,
    hang,
    hold,
    inject_error,
    lose_reply,
    respond,
)
from .trace import Request, Trace
from .upstream import UpstreamAuth

__all__ = [
    "AFTER",
    "BEFORE",
    "CONTINUE",
    "DROP",
    "Armed",
    "End",
    "Fault",
    "FaultProxy",
    "KubeconfigError",
    "Match",
    "Request",
    "Resource",
    "Then",
    "Trace",
    "UpstreamAuth",
    "WatchEvent",
    "When",
    "blackhole",
    "call",
    "cut",
    "delay",
    "drop_before",
    "drop_events",
    "hang",
    "hold",
    "inject_error",
    "lose_reply",
    "respond",
]
