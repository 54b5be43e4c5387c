"""The script: what is asked on both sides, in this order.

It reads. The one thing that it makes is a customer, because creating one, and creating it again, is worth comparing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from leanflow.errors import CallFailed

from ._script import UNDER_WAY, Plan, Played, Script, word_of
from ._sides import Side, token_call

__all__ = ["play"]

_PAGES = 20  # of entities that are looked through for a live one
_SPAN = timedelta(days=365)  # in which it was connected
_OF_ACCOUNT = (
    "balances", "transactions", "identities", "beneficiaries", "direct-debits", "scheduled-payments", "standing-orders",
)  # fmt: skip
_OF = {"entity_id": "{entity}"}


async def play(side: Side, plan: Plan) -> Played:
    """Play the script on one side.

    Raises:
        CallFailed: there was no answer, or no token.
    """
    script = Script(side, plan)
    if side.credentials.secret:
        await _token(script)
    await _banks(script)
    await _customer(script)
    await _entities(script)
    for api in plan.apis:
        await (_wrong_v1(script) if api == "v1" else _wrong_v2(script))
    if "entity" not in script.ids:
        script.played.skipped.append("data calls: no live entity was found; connect one, or name it")
        return script.played
    for api in plan.apis:
        if not await _live(script, api):
            break
        await (_data_v1(script) if api == "v1" else _data_v2(script))
    if "v2" in plan.apis:
        await _refreshes_and_events(script)
    return script.played


async def _token(script: Script) -> None:
    credentials, line = script.side.credentials, "POST /oauth2/token"
    await script.send("token, wrong secret", line, token_call(credentials, {"client_secret": "wrong"}))
    await script.send("token, wrong grant", line, token_call(credentials, {"grant_type": "password"}))
    said = await script.send("token", line, token_call(credentials))
    token = said.get("access_token") if isinstance(said, dict) else None
    if not isinstance(token, str):
        status = script.played.answers["token"].status
        raise CallFailed(f"the token endpoint answered {status} and no token", maybe_sent=True)
    script.bearer = {"authorization": f"Bearer {token}"}


async def _banks(script: Script) -> None:
    await script.ask("banks", "GET /banks/v1")
    await script.ask("banks, no credentials", "GET /banks/v1", headers={})
    await script.ask("banks, wrong token", "GET /banks/v1", headers={"authorization": "Bearer wrong"})
    await script.ask("banks, wrong method", "POST /banks/v1", body={})
    await script.ask("unknown path", "GET /data/v2/coffee")


async def _customer(script: Script) -> None:
    made = await script.ask("customer, new", "POST /customers/v1/", body={"app_user_id": "{app_user_id}"})
    await script.ask("customer, again", "POST /customers/v1/", body={"app_user_id": "{app_user_id}"})
    await script.ask("customer, no app_user_id", "POST /customers/v1/", body={})
    await script.ask("customer by app_user_id", "GET /customers/v1/app-user-id/{app_user_id}")
    await script.ask("customer, unknown", "GET /customers/v1/{nobody}")
    await script.ask("customers", "GET /customers/v1", {"page_number": "0", "page_size": "10"})
    script.ids["new customer"] = str(made.get("customer_id")) if isinstance(made, dict) else "{nobody}"
    await script.ask("customer by id", "GET /customers/v1/{new customer}")
    await script.ask("entities of a new customer", "GET /customers/v1/{new customer}/entities")


async def _entities(script: Script) -> None:
    line, today = "GET /customers/v1/entities", script.plan.today
    await script.ask("entities, no dates", line)
    span = {"start_date": str(today - _SPAN), "end_date": str(today)}
    for number in range(_PAGES):
        step = "entities" if number == 0 else f"entities, page {number}"
        body = await script.ask(step, line, {**span, "page_number": str(number), "page_size": "100"})
        items = _items(body, "data")
        found = next((one for one in items if _suits(one, script.ids.get("entity"))), None)
        if found is not None:
            script.played.bank_type = str(found.get("bank_type", ""))
            script.ids |= {"entity": str(found["id"]), "customer": str(found["customer_id"])}
            await script.ask("entities of a customer", "GET /customers/v1/{customer}/entities")
            await script.ask("entity", "GET /customers/v1/{customer}/entities/{entity}")
            await script.ask("entity, unknown", "GET /customers/v1/{customer}/entities/{nobody}")
            return
        if len(items) < 100:
            break
    script.played.skipped.append("the entity itself: it is not among those of the past year")


def _suits(one: Any, wanted: str | None) -> bool:
    """Return whether it is the entity that was named, or any live one."""
    if not (isinstance(one, dict) and {"id", "customer_id"} <= one.keys()):
        return False
    return one["id"] == wanted if wanted else one.get("status") == "ACTIVE"


def _items(body: Any, *names: str) -> list[Any]:
    for name in names:
        body = body.get(name) if isinstance(body, dict) else None
    return body if isinstance(body, list) else []


# data calls that cannot work


async def _wrong_v2(script: Script) -> None:
    line, nobody = "GET /data/v2/accounts", "{nobody}"
    await script.ask("v2 accounts, no credentials", line, {"entity_id": nobody}, headers={})
    await script.ask("v2 accounts, no entity", line)
    await script.ask("v2 accounts, entity is no id", line, {"entity_id": "coffee"})
    await script.ask("v2 accounts, unknown entity", line, {"entity_id": nobody})
    await script.ask("v2 results, unknown", "GET /data/v2/results/{nobody}")
    await script.ask("v2 results, no id", "GET /data/v2/results/coffee")
    await script.ask("v2 refreshes, no entity", "GET /data/v2/refreshes")
    await script.ask("v2 refreshes, unknown entity", "GET /data/v2/refreshes", {"entity_id": nobody})
    await script.ask("v2 refresh, unknown", "GET /data/v2/refreshes/{nobody}")


async def _wrong_v1(script: Script) -> None:
    line = "POST /data/v1/accounts"
    await script.ask("v1 accounts, no credentials", line, api="v1", headers={}, body={"entity_id": "{nobody}"})
    await script.ask("v1 accounts, no entity", line, api="v1", body={})
    await script.ask("v1 accounts, entity is no id", line, api="v1", body={"entity_id": "coffee"})
    await script.ask("v1 accounts, unknown entity", line, api="v1", body={"entity_id": "{nobody}"})
    await script.ask("v1 results, unknown", "GET /v1/results/{nobody}", api="v1")


# data calls that should


async def _live(script: Script, api: str) -> bool:
    """Ask for accounts; let the user reconnect if that is wanted. Return whether the bank lets the entity in."""
    wanted = await _accounts(script, api, f"{api} accounts")
    if word_of(wanted) != "RECONNECT_REQUIRED":
        return True
    # What answers is remembered under another name: where nobody is wanted, the step has the data.
    script.rename(f"{api} accounts", f"{api} accounts, user wanted")
    script.played.user_wanted = True
    payload = wanted.get("payload")
    reconnect_id = payload.get("reconnect_id") if isinstance(payload, dict) else wanted.get("results_id")
    script.played.user_came = await script.side.reconnect(str(reconnect_id))
    if not script.played.user_came:
        script.played.skipped.append("data: the entity wants its user, and nobody was there to reconnect")
        return False
    await _results(script, api, f"{api} results, reconnected", wanted)
    return word_of(await _accounts(script, api, f"{api} accounts")) != "RECONNECT_REQUIRED"


async def _accounts(script: Script, api: str, step: str) -> Any:
    if api == "v1":
        return await script.ask(step, "POST /data/v1/accounts", api="v1", body=_OF)
    return await script.ask(step, "GET /data/v2/accounts", _OF)


async def _results(script: Script, api: str, step: str, answered: Any) -> None:
    results_id = answered.get("results_id") if isinstance(answered, dict) else None
    line = "GET /v1/results/{results}" if api == "v1" else "GET /data/v2/results/{results}"
    if results_id is None:
        script.played.skipped.append(f"{step}: there was no id to ask for")
    else:
        await script.results(step, line, str(results_id), api=api)


async def _data_v2(script: Script) -> None:
    await script.ask("v2 identity", "GET /data/v2/identity", _OF)
    first = await script.ask("v2 accounts, a page of one", "GET /data/v2/accounts", {**_OF, "page": "0", "size": "1"})
    await script.ask("v2 accounts, size 0", "GET /data/v2/accounts", {**_OF, "size": "0"})
    await script.ask("v2 accounts, meta", "GET /data/v2/accounts", {**_OF, "meta": '{"key": "value"}'})
    later = await script.ask("v2 identity, async", "GET /data/v2/identity", {**_OF, "async": "true"})
    if word_of(later) in UNDER_WAY:
        await _results(script, "v2", "v2 results, async", later)
    script.ids["account"] = _account(_items(first, "data", "accounts"))
    if not script.ids["account"]:
        script.played.skipped.append("v2 data of an account: the entity has none")
        return
    for name in _OF_ACCOUNT:
        await script.ask(f"v2 {name}", f"GET /data/v2/accounts/{{account}}/{name}", _OF)
    line = "GET /data/v2/accounts/{account}/transactions"
    today = script.plan.today
    wrong = {"start_date": str(today), "end_date": str(today - timedelta(days=1))}
    await script.ask("v2 transactions, end before start", line, {**_OF, **wrong})
    await script.ask("v2 transactions, no date", line, {**_OF, "start_date": "coffee"})
    await script.ask("v2 balances, unknown account", "GET /data/v2/accounts/{nobody}/balances", _OF)


async def _data_v1(script: Script) -> None:
    await script.ask("v1 identity", "POST /data/v1/identity", api="v1", body=_OF)
    first = await script.ask("v1 accounts, once more", "POST /data/v1/accounts", api="v1", body=_OF)
    script.ids["account"] = _account(_items(first, "payload", "accounts"))
    if not script.ids["account"]:
        script.played.skipped.append("v1 data of an account: the entity has none")
        return
    of_account = {**_OF, "account_id": "{account}"}
    for name in ("balance", "transactions"):
        await script.ask(f"v1 {name}", f"POST /data/v1/{name}", api="v1", body=of_account)
    nobody = {**_OF, "account_id": "{nobody}"}
    await script.ask("v1 balance, unknown account", "POST /data/v1/balance", api="v1", body=nobody)


def _account(accounts: list[Any]) -> str:
    return next((str(one["account_id"]) for one in accounts if isinstance(one, dict) and "account_id" in one), "")


async def _refreshes_and_events(script: Script) -> None:
    body = await script.ask("v2 refreshes", "GET /data/v2/refreshes", {**_OF, "page": "0", "size": "10"})
    done = [one for one in _items(body, "content") if isinstance(one, dict) and one.get("status") != "PENDING"]
    if done:
        script.ids["refresh"] = str(done[0].get("refresh_id"))
        await script.ask("v2 refresh", "GET /data/v2/refreshes/{refresh}")
    await script.ask("events", "GET /events/v1", {"page": "0", "size": "100"})
    await script.ask("events, wrong page", "GET /events/v1", {"page": "coffee", "size": "10"})
