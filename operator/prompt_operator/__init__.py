"""Versioned, gated and audited deployments of LLM prompts on Kubernetes."""

__version__ = "0.1.0"
