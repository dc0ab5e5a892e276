"""The guard at the door: limits, records, log lines, and exact refusals of every wrong key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from cluster.clock import ManualClock
from cluster.errors import ConfigError
from cluster.monitoring.metrics import Metrics
from cluster.security.access import Access
from cluster.security.audit_chain import Signer
from cluster.security.audit_check import check_folder
from cluster.security.audit_read import records
from cluster.security.identity import Scope
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import REFRESH_S, KeyRing
from cluster.security.quota import Quota
from cluster.security.roles import Permission, Role
from cluster.settings import Settings
from serve_deployments.access_step import AccessStep, ModelAccessStep
from serve_deployments.guard import Guard
from serve_deployments.guard_spec import GuardSpec
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.service import Service
from serve_deployments.steps import chain

Connect = Callable[[Any], Any]
NOW_S = 1_700_000_000.0


class House:
    """A guarded API in this process, and all that belongs to it."""

    def __init__(self, service: Service, connect: Connect, folder: Path, *, scope: Scope | None = None) -> None:
        self.clock, self.folder = ManualClock(NOW_S), folder
        self.spec = GuardSpec(
            quota=Quota(per_minute=60, burst=10),
            rate_backend="memory",
            audit_dir=str(folder / "audit"),
            audit_key_file=str(folder / "audit.key"),
            log_format="json",
        )
        self.file = KeyFile(folder / "keys.json")
        self.key = self.file.change(
            lambda book: book.create("app", Role.PREDICTOR, now_s=NOW_S, scope=scope, lasts_s=3600)
        )
        self.guard = Guard(
            self.spec, application="test", replica="replica-1", clock=self.clock, metrics=service.metrics
        )
        access = Access(keys=KeyRing(self.file, self.clock), required=True, roles=True)
        service._steps = chain([*self.guard.steps, ModelAccessStep(access)], service._compute)
        door = [*self.guard.outside, AccessStep(access), *self.guard.inside]
        self.caller = connect(build_api(service, door=door))

    def post(self, body: Any, key: str | None = None, **headers: str) -> Response:
        sent = {"X-API-Key": self.key.text if key is None else key, **headers}
        response: Response = self.caller.post(FORECAST_PATH, json=body, headers=sent)
        return response

    def recorded(self) -> list[dict[str, Any]]:
        assert self.guard.audit is not None
        self.guard.audit.close()
        return list(records(self.folder / "audit"))[::-1]


@pytest.fixture
def house(service: Service, connect: Connect, tmp_path: Path) -> House:
    return House(service, connect, tmp_path)


def test_every_answer_tells_what_is_left_and_the_burst_ends_in_429(
    house: House, good_request: dict[str, Any]
) -> None:
    answers = [house.post(good_request) for _ in range(12)]
    assert [each.status_code for each in answers] == [200] * 10 + [429] * 2
    assert [each.headers["ratelimit-remaining"] for each in answers[:3]] == ["9", "8", "7"]
    assert answers[0].headers["ratelimit-policy"] == "60;w=60;burst=10"
    refused = answers[-1]
    assert refused.json()["type"].endswith(":rate-limited")
    assert (refused.headers["retry-after"], refused.headers["ratelimit-remaining"]) == ("1", "0")
    assert refused.headers["ratelimit-reset"] == "10"
    assert house.caller.get("/healthz").status_code == 200
    assert "ratelimit-limit" not in house.caller.get("/healthz").headers
    house.clock.advance(1.0)
    assert house.post(good_request).status_code == 200


def test_a_refused_caller_does_not_use_up_the_quota_of_others(house: House, good_request: dict[str, Any]) -> None:
    other = house.file.change(lambda book: book.create("other", Role.PREDICTOR, now_s=NOW_S))
    house.clock.advance(REFRESH_S)
    assert [house.post(good_request).status_code for _ in range(11)][-1] == 429
    assert house.post(good_request, other.text).status_code == 200


def test_every_request_is_recorded_with_ids_and_no_key(house: House, good_request: dict[str, Any]) -> None:
    house.post(good_request, **{"X-Request-ID": "good-1"})
    house.post({}, **{"X-Request-ID": "bad-1"})
    house.post(good_request, "hel_" + "A" * 43)
    house.caller.get("/metrics", headers={"X-API-Key": house.key.text})
    house.caller.get("/nowhere")
    good, bad, unknown, metrics, nowhere = house.recorded()
    told = {"key": house.key.key_id, "role": "predictor", "method": "POST", "route": FORECAST_PATH}
    assert good.items() >= {**told, "status": 200, "model": "nox", "version": "1.0.0", "reason": ""}.items()
    assert (good["request_id"], bad["request_id"]) == ("good-1", "bad-1")
    assert (bad["status"], bad["reason"], bad["model"]) == (422, "unreadable-request", "")
    assert (unknown["status"], unknown["reason"], unknown["key"]) == (401, "unauthenticated", "unknown")
    assert (metrics["route"], metrics["status"]) == ("/metrics", 200)
    assert (nowhere["route"], nowhere["status"]) == ("unknown", 404)
    text = "".join(path.read_text() for path in house.folder.glob("audit/**/*") if path.is_file())
    assert house.key.text[-43:] not in text
    report = check_folder(house.folder / "audit", Signer.from_file(house.folder / "audit.key"))
    assert (report.whole, report.findings) == (True, [])


def test_every_line_of_a_request_names_it_and_its_key(
    house: House, good_request: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    house.post(good_request, **{"X-Request-ID": "good-1"})
    house.post({**good_request, "version": "9.9.9"}, **{"X-Request-ID": "bad-1"})
    assert house.guard.lines is not None
    house.guard.lines.flush()
    text = capsys.readouterr().err
    good, bad = [json.loads(line) for line in text.splitlines()]
    told = {"request_id": "good-1", "key": house.key.key_id, "model": "nox", "version": "1.0.0", "status": 200}
    assert good.items() >= told.items()
    assert good["duration_ms"] > 0
    assert bad.items() >= {"request_id": "bad-1", "key": house.key.key_id, "status": 404}.items()
    assert house.key.text[-43:] not in text


WRONG_KEYS = {
    "empty bearer": "",
    "not a key": "secret",
    "no such id": "hel_0123456789ab_" + "A" * 43,
    "cut off": "hel_0123456789ab_" + "A" * 20,
    "longer": "hel_0123456789ab_" + "A" * 44,
    "oversized": "hel_" + "A" * 60_000,
    "latin-1": "hel_\u00e9\u00ff",
    "null byte inside": "hel_0123456789ab_" + "A" * 20 + "\x00" + "A" * 22,
    "two keys": "hel_0123456789ab_" + "A" * 43 + ", hel_0123456789ab_" + "A" * 43,
    "sql": "' OR 1=1 --",
    "traversal": "../../keys.json",
}


@pytest.mark.parametrize("text", list(WRONG_KEYS.values()), ids=list(WRONG_KEYS))
def test_a_forged_key_is_refused_and_not_repeated(house: House, good_request: dict[str, Any], text: str) -> None:
    sent = {b"authorization": b"Bearer " + text.encode("latin-1"), b"content-type": b"application/json"}
    response = house.caller.post(FORECAST_PATH, content=json.dumps(good_request), headers=list(sent.items()))
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == "Bearer"
    (fault,) = response.json()["errors"]
    assert fault["got"] in ("no key", "a text that is no key", "an unknown key")
    assert len(text) < 10 or text[4:60] not in response.text


def test_what_was_right_once_is_refused_by_name(house: House, good_request: dict[str, Any]) -> None:
    def got(key: str) -> str:
        response = house.post(good_request, key)
        assert response.status_code == 401
        return str(response.json()["errors"][0]["got"])

    rotated = house.file.change(lambda book: book.rotate(house.key.key_id, now_s=house.clock.now_s(), overlap_s=60))
    house.clock.advance(59)
    assert house.post(good_request).status_code == house.post(good_request, rotated.text).status_code == 200
    house.clock.advance(1)
    assert got(house.key.text) == "a key that was rotated"
    house.clock.advance(3600)
    assert got(rotated.text) == "an expired key"
    house.file.change(lambda book: (book.revoke(house.key.key_id, now_s=house.clock.now_s()), None))
    house.clock.advance(REFRESH_S)
    assert got(rotated.text) == "a revoked key"


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(models=("co-*",)), "model"),
        (Scope(routes=("/v2/*",)), FORECAST_PATH),
        (Scope(permissions=frozenset({Permission.READ_MODELS})), "forecast"),
    ],
)
def test_a_key_for_something_else_is_forbidden(
    service: Service, connect: Connect, tmp_path: Path, good_request: dict[str, Any], scope: Scope, expected: str
) -> None:
    house = House(service, connect, tmp_path, scope=scope)
    response = house.post(good_request)
    assert response.status_code == 403
    assert response.json()["errors"][0]["expected"] == expected
    (record,) = house.recorded()
    assert (record["key"], record["status"], record["reason"]) == (house.key.key_id, 403, "forbidden")


def test_a_guard_that_is_off_is_in_no_list() -> None:
    guard = Guard(GuardSpec(), application="test", replica="r", clock=ManualClock(), metrics=Metrics())
    assert (guard.outside, guard.inside, guard.steps, guard.audit) == ([], [], [], None)


def test_a_spec_survives_json_and_hides_the_password_of_redis(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "ML_PROFILE": "production",
            "ML_HOME": str(tmp_path),
            "ML_API_KEYS_FILE": str(tmp_path / "keys.json"),
            "ML_RATE_LIMIT_BACKEND": "redis",
            "ML_REDIS_URL": "redis://:hunter2@host/0",
        }
    )
    spec = GuardSpec.from_settings(settings)
    assert spec.quota == Quota(per_minute=1000, burst=100)
    assert (spec.audit_dir, spec.log_format) == (str(tmp_path / "audit"), "json")
    assert GuardSpec.from_json(json.loads(json.dumps(asdict(spec)))) == spec
    assert "hunter2" not in repr(spec)
    off = GuardSpec.from_settings(Settings.from_environment({}))
    assert off == GuardSpec()
    assert GuardSpec.from_json(asdict(off)) == off


def test_a_spec_that_contradicts_itself_is_refused() -> None:
    quota = Quota(per_minute=1, burst=1)
    with pytest.raises(ConfigError, match="ML_REDIS_URL"):
        GuardSpec(quota=quota, rate_backend="redis")
    with pytest.raises(ConfigError, match="ML_AUDIT_DIR"):
        replace(GuardSpec(), audit_dir="/a")
