"""`/api/v1/notifications`, `/webhooks`, `/deliveries`: who may, what is answered, what is refused."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator

from console.common import clock
from console.notifications import delivering
from console.notifications.models import Channel, Delivery, Kind
from console.notifications.services import notify
from console.organizations.models import AuditEvent
from tests.cast import Cast
from tests.notifications.receivers import Receiver

pytestmark = pytest.mark.django_db

HOOKS, DELIVERIES, NOTIFICATIONS = "/api/v1/webhooks", "/api/v1/deliveries", "/api/v1/notifications"
GOOD = {"name": "pager", "url": "https://hooks.example.com/a", "kinds": ["SHORTAGE"]}


def tell(cast: Cast, kind: Kind = Kind.QUOTA_NOTICE, key: str = "k") -> None:
    notify(organization=cast.organization, kind=kind, key=key, subject="s", text="t", path="/quota", now=clock.now())


def test_a_webhook_is_made_changed_and_deleted(cast: Cast) -> None:
    api = cast.admin.api()
    answer = api.send("POST", HOOKS, GOOD)
    assert answer.status_code == 201
    made = answer.json()
    assert made.pop("secret").startswith("whsec_")
    assert {name: made[name] for name in GOOD} == GOOD
    assert api.get(HOOKS).json()["items"] == [made], "the secret is shown once"
    changed = api.send("PATCH", f"{HOOKS}/{made['id']}", {"enabled": False, "kinds": ["BUDGET", "SHORTAGE"]}).json()
    assert (changed["enabled"], changed["kinds"], changed["name"]) == (False, ["SHORTAGE", "BUDGET"], "pager")
    assert api.delete(f"{HOOKS}/{made['id']}").status_code == 204
    assert api.get(f"{HOOKS}/{made['id']}").status_code == 404
    assert api.get(HOOKS).json()["items"] == []
    actions = list(AuditEvent.objects.filter(object_id=made["id"]).order_by("id").values_list("action", flat=True))
    assert actions == ["channel.create", "channel.change", "channel.delete"]
    assert "whsec_" not in str(list(AuditEvent.objects.values()))


def test_without_kinds_it_wants_all(cast: Cast) -> None:
    made = cast.admin.api().send("POST", HOOKS, {"name": "all", "url": "https://hooks.example.com/"}).json()
    assert set(made["kinds"]) == set(Kind) - {Kind.TEST}


@pytest.mark.parametrize(("changes", "field"), [
    ({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": "a\nb"}, "name"), ({"name": 5}, "name"),
    ({"url": ""}, "url"), ({"url": "http://example.com/"}, "url"), ({"url": "https://127.0.0.1/"}, "url"),
    ({"url": "https://10.0.0.1/"}, "url"), ({"url": "https://[::ffff:127.0.0.1]/"}, "url"),
    ({"url": "https://localhost/"}, "url"), ({"url": "https://u:p@example.com/"}, "url"), ({"url": None}, "url"),
    ({"url": "https://example.com/\x00"}, "url"), ({"kinds": []}, "kinds"), ({"kinds": ["NONE"]}, "kinds"),
    ({"kinds": ["TEST"]}, "kinds"), ({"kinds": "SHORTAGE"}, "kinds"), ({"kinds": [1]}, "kinds[0]"),
])  # fmt: skip
def test_a_wrong_webhook_is_refused_on_its_field(cast: Cast, changes: dict[str, Any], field: str) -> None:
    answer = cast.admin.api().send("POST", HOOKS, {**GOOD, **changes})
    assert answer.status_code == 400
    fields = [one["field"] for one in answer.json()["details"][0]["fieldViolations"]]
    assert fields == [field]
    assert not Channel.objects.exists()


def test_there_is_an_end_to_webhooks(cast: Cast) -> None:
    api = cast.admin.api()
    for n in range(50):
        assert api.send("POST", HOOKS, {**GOOD, "name": f"n{n}"}).status_code == 201
    answer = api.send("POST", HOOKS, GOOD)
    assert (answer.status_code, answer.json()["code"]) == (412, 9)
    assert Channel.objects.count() == 50


def test_only_admins_see_where_things_are_sent(cast: Cast, channel: Channel) -> None:
    tell(cast)
    delivery = Delivery.objects.get()
    addresses = [("GET", HOOKS), ("POST", HOOKS), ("GET", f"{HOOKS}/{channel.id}"), ("PATCH", f"{HOOKS}/{channel.id}"),
                 ("DELETE", f"{HOOKS}/{channel.id}"), ("POST", f"{HOOKS}/{channel.id}/secret"),
                 ("POST", f"{HOOKS}/{channel.id}/test"), ("GET", DELIVERIES), ("GET", f"{DELIVERIES}/{delivery.pk}"),
                 ("POST", f"{DELIVERIES}/{delivery.pk}/replay")]  # fmt: skip
    before = list(Channel.objects.values()), list(Delivery.objects.values())
    for member in (cast.viewer, cast.billing):
        for method, path in addresses:
            assert member.api().send(method, path, {}).status_code == 403, (method, path)
    for method, path in addresses:
        if str(channel.id) in path or str(delivery.pk) in path.split("/"):
            assert cast.outsider.api().send(method, path, {}).status_code == 404, (method, path)
    assert cast.outsider.api().get(HOOKS).json()["items"] == []
    assert cast.outsider.api().get(DELIVERIES).json()["items"] == []
    assert (list(Channel.objects.values()), list(Delivery.objects.values())) == before


def test_notifications_are_for_all_and_those_about_money_for_who_sees_it(cast: Cast) -> None:
    for kind in (Kind.SHORTAGE, Kind.BUDGET, Kind.STATEMENT_CLOSED, Kind.TEST):
        tell(cast, kind, kind)

    def kinds(member: Any) -> list[str]:
        return [one["kind"] for one in member.api().get(NOTIFICATIONS).json()["items"]]

    assert kinds(cast.viewer) == ["SHORTAGE"]
    assert kinds(cast.billing) == ["STATEMENT_CLOSED", "BUDGET", "SHORTAGE"]
    assert kinds(cast.admin) == ["TEST", "STATEMENT_CLOSED", "BUDGET", "SHORTAGE"]
    assert kinds(cast.outsider) == []
    hidden = cast.admin.api().get(NOTIFICATIONS, {"kind": "BUDGET"}).json()["items"][0]["id"]
    assert cast.viewer.api().get(f"{NOTIFICATIONS}/{hidden}").status_code == 404
    assert cast.billing.api().get(f"{NOTIFICATIONS}/{hidden}").json()["kind"] == "BUDGET"


def test_notifications_and_deliveries_are_paged(cast: Cast, channel: Channel) -> None:
    for n in range(5):
        tell(cast, key=f"k{n}")
    api = cast.admin.api()
    for path in (NOTIFICATIONS, DELIVERIES):
        first = api.get(path, {"limit": 3}).json()
        rest = api.get(path, {"limit": 3, "after": first["nextCursor"]}).json()
        ids = [one["id"] for one in first["items"] + rest["items"]]
        assert ids == sorted(ids, reverse=True)
        assert (len(set(ids)), rest["nextCursor"]) == (5, None)
        for wrong in ("x", "WyJ4Il0", "WzEsMl0"):
            assert api.get(path, {"after": wrong}).status_code == 400
        with CaptureQueriesContext(
            connection,
        ) as few:
            api.get(path, {"limit": 1})
        with CaptureQueriesContext(connection) as many:
            api.get(path)
        assert len(few) == len(many)


@pytest.mark.parametrize(("path", "query"), [
    (NOTIFICATIONS, {"kind": "X"}), (NOTIFICATIONS, {"limit": "0"}), (DELIVERIES, {"state": "X"}),
    (DELIVERIES, {"webhook": "x"}), (DELIVERIES, {"notification": "1"}),
])  # fmt: skip
def test_a_filter_that_is_none_is_refused(cast: Cast, path: str, query: dict[str, str]) -> None:
    assert cast.admin.api().get(path, query).status_code == 400


@pytest.mark.parametrize("id", ["x", "0", "99999999999999999999999", "-1", "1.5"])
def test_what_is_no_delivery_is_not_found(cast: Cast, id: str) -> None:
    assert cast.admin.api().get(f"{DELIVERIES}/{id}").status_code == 404


def test_a_test_arrives_and_is_in_the_log(cast: Cast, channel: Channel, hook: Receiver) -> None:
    api = cast.admin.api()
    answer = api.send("POST", f"{HOOKS}/{channel.id}/test")
    assert answer.status_code == 202
    delivering.deliver_pass(now=clock.now())
    found = api.get(f"{DELIVERIES}/{answer.json()['id']}").json()
    assert (found["state"], found["lastStatus"], found["attempts"]) == ("DELIVERED", 200, 1)
    assert [(one["number"], one["ok"], one["answer"]) for one in found["log"]] == [(1, True, "ok")]
    assert hook.got[0].headers["webhook-id"] == found["messageId"]
    again = api.send("POST", f"{DELIVERIES}/{found['id']}/replay")
    assert (again.status_code, again.json()["state"]) == (202, "WAITING")
    delivering.deliver_pass(now=clock.now())
    assert len(hook.got) == 2
    assert AuditEvent.objects.filter(action="delivery.replay").exists()


def test_a_disabled_webhook_is_not_tested(cast: Cast, channel: Channel) -> None:
    api = cast.admin.api()
    api.send("PATCH", f"{HOOKS}/{channel.id}", {"enabled": False})
    assert api.send("POST", f"{HOOKS}/{channel.id}/test").status_code == 412
    assert not Delivery.objects.exists()


def test_every_endpoint_is_described() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    found = {path: verbs for path, verbs in schema["paths"].items()
             if path.startswith((NOTIFICATIONS, HOOKS, DELIVERIES))}  # fmt: skip
    assert len(found) == 9
    for path, verbs in found.items():
        for verb, operation in verbs.items():
            assert operation["description"], (path, verb)
