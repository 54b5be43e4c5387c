"""What a disturbance is not aimed at is untouched: the same bytes at the same times as without it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given, strategies as st

from leanflow._lean.signature import verify
from leanflow.mockbank import Disturbance
from tests.support.bank import BankClient

BANKS = ("LEANMB1", "MOCK_UAE")
RESOURCES = ("accounts", "identity")
EFFECTS: dict[str, st.SearchStrategy[Any]] = {
    "copies": st.integers(1, 2),
    "delay": st.sampled_from([1, 60, 7200]),
    "forgeries": st.just(1),
    "reconnect_id": st.sampled_from(["wrong", "stale"]),
    "retyped": st.just("test.other"),
    "replace": st.just({"more": 1}),
    **dict.fromkeys(
        ("drop", "reverse", "early", "wrong_signature", "unsigned", "without_event_id", "nanoseconds", "besides"),
        st.just(value=True),
    ),
}
AIMS = st.one_of(
    st.fixed_dictionaries({"bank": st.sampled_from(BANKS)}),
    st.fixed_dictionaries({"entity_id": st.sampled_from(BANKS)}),  # the entity at that bank
    st.fixed_dictionaries({"resource": st.sampled_from(RESOURCES)}),
    st.fixed_dictionaries({"bank": st.sampled_from(BANKS), "resource": st.sampled_from(RESOURCES)}),
)
EFFECT = st.fixed_dictionaries({}, optional=EFFECTS).filter(bool)


class Day:
    """A day of two customers at two banks; each webhook is noted with when it came and what it was about."""

    def __init__(self, aim: dict[str, str], effect: dict[str, Any]) -> None:
        self.lean = BankClient(seed=5)
        self.entities = {bank: self.lean.bank.connect(bank, bank=bank) for bank in BANKS}
        self.asked: dict[str, tuple[str, str]] = {}  # results and reconnect ids: of which bank, for what
        self.came: list[tuple[Any, ...]] = []
        self.take()
        if effect:
            where = {**aim, "entity_id": self.entities[aim["entity_id"]]} if "entity_id" in aim else aim
            self.lean.bank.disturb(Disturbance.of({**where, **effect}))
        self.pass_the_day()

    def take(self) -> None:
        """Note what is due; all of it is taken with 200."""
        while due := self.lean.bank.deliveries_due(self.lean.now):
            for one in due:
                good = verify(one.body, one.headers.get("lean-signature"), self.lean.bank.webhook_secret)
                body = json.loads(one.body)
                body["event_id"] = "event_id" in body  # a webhook that came besides took the next id
                self.came.append((self.lean.now, one.lane, one.attempt, good, json.dumps(body, sort_keys=True)))
                self.lean.bank.delivered(one.id, 200, self.lean.now)

    def pass_the_day(self) -> None:
        """Reconnect everybody for everything; revoke and renew the consents; switch the banks."""
        for resource in RESOURCES:
            for bank, entity in self.entities.items():
                self.lean.bank.expire_session(entity)
                asked = self.lean.ask("GET", f"/data/v2/{resource}", entity_id=entity)[1]["results_id"]
                self.asked[asked] = (bank, resource)
                self.lean.bank.submit_otp(asked, "1111", self.lean.now)
            self.take()
        for bank, entity in self.entities.items():
            self.lean.bank.revoke_consent(entity, self.lean.now)
            self.lean.bank.renew_consent(entity, self.lean.now)
            self.lean.bank.switch_bank(bank, self.lean.now, active_data=False)
        self.take()
        while (moment := self.lean.bank.next_due()) is not None:
            self.lean.now = moment
            self.take()

    def untouched(self, aim: dict[str, str]) -> list[tuple[Any, ...]]:
        """Return what came and was not aimed at."""
        return [one for one in self.came if not self._aimed(aim, *one)]

    def _aimed(self, aim: dict[str, str], _: Any, lane: str, *rest: Any) -> bool:
        here = next(bank for bank in BANKS if lane in (bank, self.entities[bank]))
        payload = json.loads(rest[-1])["payload"]
        named = self.asked.get(payload.get("reconnect_id") or payload.get("id", ""))
        wants = aim.get("resource")
        return (
            aim.get("bank") in (None, here)
            and ("entity_id" not in aim or lane == self.entities[aim["entity_id"]])
            and (wants is None or (named is not None and named[1] == wants))
        )


@given(aim=AIMS, effect=EFFECT)
def test_what_is_not_aimed_at_is_untouched(aim: dict[str, str], effect: dict[str, Any]) -> None:
    """Bytes, times and order are those of the same day without the disturbance; and what is aimed at is disturbed."""
    assume(effect.keys() != {"besides"} and effect.keys() - {"early", "reverse"})  # alone these alter no webhook
    if "resource" in aim:
        effect = {name: value for name, value in effect.items() if name != "reconnect_id"} or {"drop": True}
    calm, disturbed = Day(aim, {}), Day(aim, effect)
    assert disturbed.untouched(aim) == calm.untouched(aim)
    assert len(calm.untouched(aim)) >= 5
    if "besides" not in effect:
        assert disturbed.came != calm.came
