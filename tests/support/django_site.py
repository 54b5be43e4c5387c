"""Django without a project: urls that are exchanged from test to test, behind the middleware that projects have."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.test.utils import override_settings

import tests.support.django as _configured  # noqa: F401 - settings are made once for each process

__all__ = ["MIDDLEWARE", "site"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",  # redirects to add slashes
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


@contextmanager
def site(urls: Sequence[Any], **settings: Any) -> Iterator[None]:
    """Have Django serve these urls."""
    urlconf = types.ModuleType("urls_of_a_test")
    urlconf.urlpatterns = list(urls)  # type: ignore[attr-defined]  # a module made here
    named = {"MIDDLEWARE": MIDDLEWARE, "ALLOWED_HOSTS": ["*"], "DEBUG": False, **settings}
    with override_settings(ROOT_URLCONF=urlconf, **named):
        yield
