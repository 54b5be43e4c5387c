"""A Django backend in one file that loads a user's bank accounts: ``python -m examples.django_backend``.

Without Lean's keys in the environment (LEAN_APP, LEAN_SECRET, LEAN_WEBHOOK_SECRET) Mockbank plays Lean. With them, and
STORE, under gunicorn: ``gunicorn -w 4 --threads 8 examples.django_backend:application``, and the worker apart from it:
``python -m examples.django_backend leanflow_worker``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import execute_from_command_line
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from leanflow import Change, DataRequest, Resource, State
from leanflow.blocking import LeanFlow
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import lean_or_mockbank
from leanflow_adapters.web.django import DjangoHandlers, front_end_urls, lean_urls

PAGE = Path(__file__).with_name("page.html")
handlers = DjangoHandlers()  # the ORM may be used in them
urlpatterns: list[object] = []


@handlers.on(State.fetched, resource=Resource.accounts, name="store-accounts")
def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data. Called at least once for each change: `change.key` tells a second time from the first."""
    results = flows.results(change.request.id)
    print(f"{len(results.items)} accounts for {change.request.reference}", flush=True)


def user_of(http: HttpRequest) -> str:
    """Return who is logged in. Your session knows; here everybody is the same user, unless a cookie says otherwise."""
    return str(http.COOKIES.get("user", "user-17"))


def is_theirs(http: HttpRequest, record: DataRequest) -> bool:
    """Decide who may see a request, run its prompt, follow its progress."""
    return record.reference == user_of(http)


@require_GET  # type: ignore[untyped-decorator]  # Django has no types
@ensure_csrf_cookie  # type: ignore[untyped-decorator]  # Django has no types
def page(_http: HttpRequest) -> HttpResponse:
    """Serve the page."""
    return HttpResponse(PAGE.read_text(encoding="utf-8").replace("{{ sdk }}", os.environ["LEAN_SDK"]))


@require_POST  # type: ignore[untyped-decorator]  # Django has no types
def ask(http: HttpRequest) -> JsonResponse:
    """Ask for accounts. Asking again while a request is live returns that one."""
    whose = os.environ["ENTITY_ID"], os.environ["CUSTOMER_ID"]  # your tables know
    request = flows.request(Resource.accounts, entity_id=whose[0], customer_id=whose[1], reference=user_of(http))
    return JsonResponse({"id": request.id})


@require_GET  # type: ignore[untyped-decorator]  # Django has no types
def show(http: HttpRequest, request_id: str) -> JsonResponse:
    """Show what was fetched."""
    if not is_theirs(http, flows.get(request_id)):
        raise Http404
    return JsonResponse([{"name": one["nickname"]} for one in flows.results(request_id).items], safe=False)


def engine(workers: int = 0) -> LeanFlow:
    """Put the engine together. Nothing is opened before it is used: in a server that forks, after the fork."""
    env = os.environ
    name, url = env["LEAN_APP"], env.get("LEAN_URL")
    lean = LeanTransport(client_id=name, client_secret=env["LEAN_SECRET"], base_url=url, auth_url=url)
    store, secrets = open_store(env["STORE"]), [env["LEAN_WEBHOOK_SECRET"]]
    return LeanFlow(
        store=store, transport=lean, webhook_secrets=secrets, handlers=[handlers], app=name, workers=workers
    )


def project(workers: int = 0) -> WSGIHandler:
    """Put Django together: settings.py, urls.py and wsgi.py of a project."""
    global flows  # noqa: PLW0603 - in a project it is made in a module of its own, at module level
    flows = engine(workers)
    settings.configure(
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "only for trying it out"),
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        INSTALLED_APPS=["leanflow_adapters.django"],  # the command leanflow_worker
        LEANFLOW=f"{__name__}:flows",
    )
    django.setup()
    urlpatterns.extend(
        [
            path("", page),
            path("accounts", ask),
            path("accounts/<request_id>", show),
            path("lean/", include(lean_urls(flows))),
            path("requests/", include(front_end_urls(flows, authorise=is_theirs))),
        ]
    )
    return WSGIHandler()


flows: LeanFlow
if __name__ == "__main__":
    port = os.environ.get("PORT", "8000")
    with lean_or_mockbank(os.environ, f"http://127.0.0.1:{port}/lean/webhooks") as found:
        os.environ.update(found)
        project(workers=1)
        execute_from_command_line([sys.argv[0], *(sys.argv[1:] or ["runserver", "--noreload", port])])
elif "LEAN_APP" in os.environ:
    application = project()
