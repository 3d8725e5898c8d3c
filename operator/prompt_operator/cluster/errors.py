"""What can go wrong with the embedded Kubernetes."""


class ClusterError(Exception):
    """Say what failed and what to do next, in a message meant for a person."""


class BinariesError(ClusterError):
    """The Kubernetes binaries could not be found or made."""
