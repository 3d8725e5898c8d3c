"""A node in the embedded Kubernetes: kubelet, containerd and runc, so that pods really run.

All of it lives in namespaces of its own (processes, mounts, network) that the kernel ends with their first process,
the holder. So there is nothing to undo when everything was killed, but empty control groups: no mount, no sysctl,
no network interface and no process of the node is the machine's.
"""
