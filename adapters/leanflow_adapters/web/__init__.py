"""Webhook bindings: one module per web framework, each imported only by those who use that framework."""
