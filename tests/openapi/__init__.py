"""Schemathesis against a running Mockbank: ``python -m tests.openapi`` in the environment of ``make openapi``."""
