"""What Django reads of an application."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["LeanflowConfig"]


class LeanflowConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """leanflow, as a Django application."""

    name = "leanflow_adapters.django"
    label = "leanflow"
    verbose_name = "leanflow"
