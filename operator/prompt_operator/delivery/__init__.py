"""How the live prompt reaches the agents: what the ConfigMap holds."""
