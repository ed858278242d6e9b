"""prefect.yaml: existing flows, valid schedules, and no path of a particular machine."""

import asyncio
import re
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ruamel.yaml import YAML

from medtune.config.project import PROJECT
from medtune.flows import bootstrap_server, stale_run_automation

FILE = PROJECT / "prefect.yaml"
ENTRIES = YAML(typ="safe", pure=True).load(FILE)["deployments"]
SCHEDULES = [schedule for entry in ENTRIES for schedule in entry["schedules"]]


def test_deployments__nightly_on_demand_and_benchmark() -> None:
    assert [entry["name"] for entry in ENTRIES] == ["nightly", "retrain", "benchmark"]
    assert [bool(entry["schedules"]) for entry in ENTRIES] == [True, False, False]
    assert {entry["work_pool"]["name"] for entry in ENTRIES} == {bootstrap_server.POOL}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_entrypoint__is_a_monitored_flow_that_notifies_about_failures(entry: dict[str, Any]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    from medtune.flows import hooks

    flow = load_flow_from_entrypoint(entry["entrypoint"])
    assert flow.name in stale_run_automation.SCHEDULED
    assert hooks.notify in flow.on_failure_hooks
    assert hooks.notify in flow.on_crashed_hooks


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["slug"])
def test_schedule__is_daily_in_a_configured_time_zone(schedule: dict[str, Any]) -> None:
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.server.schemas.schedules import CronSchedule as Clock

    assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).cron == schedule["cron"]
    start = datetime(2026, 3, 28, tzinfo=ZoneInfo(schedule["timezone"]))
    clock = Clock(cron=schedule["cron"], timezone=schedule["timezone"])
    dates = asyncio.run(clock.get_dates(n=4, start=start))
    assert [later - earlier for earlier, later in pairwise(dates)] == [timedelta(days=1)] * 3


def test_file__has_no_absolute_path_and_no_concurrency_limit() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.])/[a-z]+/", text) == []
    assert "{{ checkout.stdout }}" in text
    assert not any("concurrency_limit" in entry for entry in ENTRIES)
