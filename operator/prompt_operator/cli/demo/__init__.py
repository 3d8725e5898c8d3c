"""``prompt-operator demo``: the whole story, told on the embedded Kubernetes with the real operator."""
