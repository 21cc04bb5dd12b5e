"""Self-hosted machines through the whole pipeline: files and reference tables in, the marts' dollars out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.integration.nights import home_settings, land, night, published, refer

DEPLOYMENTS = (
    "deployment,model,gpu_type,gpu_count,purchase_type,capacity_units_per_gpu_hour,w_input,w_cached,w_output,"
    "valid_from,valid_to\n"
)
RATES = "gpu_type,purchase_type,usd_per_gpu_hour,valid_from,source\n"
NOV_3 = datetime(2026, 11, 3, 12, tzinfo=UTC)


def ask(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with published(settings) as marts:
        return marts.sql(sql).fetchall()


def usage_lines(rows: Iterable[tuple[str, str, int, int]], account: str = "chat") -> list[dict[str, object]]:
    """Lines of a usage table: time, feature, uncached input and output tokens."""
    return [
        {
            "started_at": at,
            "provider": "self_hosted",
            "account": account,
            "model": "m",
            "feature_tag": feature,
            "input_uncached_tokens": uncached,
            "output_tokens": output,
        }
        for at, feature, uncached, output in rows
    ]


@pytest.mark.real_data
def test_a_week_of_ragpulse_costs_its_rent_and_silent_hours_stay_idle(tmp_path: Path, shared_data: Path) -> None:
    """168 hours at $2.69 are $451.92; hours 65, 136, 159 and 161 have no request: 4 × 2.69 = $10.76."""
    land(tmp_path, "usage_table/rag/trace.jsonl", (shared_data / "traces" / "ragpulse_0_trace.jsonl").read_text())
    land(
        tmp_path,
        "usage_table/rag/mapping.toml",
        '[columns]\nstarted_at = "timestamp"\ninput_tokens = "input_length"\noutput_tokens = "output_length"\n'
        'feature_tag = "hash_ids.sys_prompt[0]"\nsession_id = "session_id"\n'
        '[constants]\nprovider = "self_hosted"\nmodel = "rag"\naccount = "rag"\n'
        '[time]\nunit = "seconds"\norigin = "2026-11-01T00:00:00Z"\n',
    )
    refer(tmp_path, "deployments", f"{DEPLOYMENTS}rag,rag,ONE,1,on_demand,,1,0.1,5,2026-11-01,2026-11-08\n")
    refer(tmp_path, "gpu_rates", f"{RATES}ONE,on_demand,2.69,2026-11-01,test\n")
    settings = home_settings(tmp_path)
    night(settings)
    features = {
        feature: (requests, tokens, usd)
        for feature, requests, tokens, usd in ask(
            settings,
            "select feature, sum(requests), sum(total_tokens), sum(effective_cost_usd)"
            " from mart__feature_cost_daily group by 1",
        )
    }
    assert {name: row[0] for name, row in features.items()} == {"8302": 5448, "8308": 1402, "8325": 256, "__idle__": 0}
    assert sum(row[1] for row in features.values()) == 20_917_099 + 2_012_676
    assert sum(row[2] for row in features.values()) == Decimal("451.92")
    assert features["__idle__"][2] == Decimal("10.76")
    loaded = "select sum(fully_loaded_cost_usd), sum(usage_cost_usd) from mart__self_hosted_feature_cost_daily"
    assert ask(settings, loaded) == [(Decimal("451.92"), Decimal("451.92"))]
    assert ask(settings, "select distinct load_basis, weights_basis from mart__infrastructure_cost_daily") == [
        ("none", "declared")
    ]
    assert ask(settings, "select count(*) from mart__infrastructure_cost_daily where idle_cost_usd > 0") == [(3,)]


def test_a_day_of_deepseek_splits_by_published_throughputs(tmp_path: Path) -> None:
    """226.75 nodes × 8 GPUs × $2 × 24 h = $87,072 (DeepSeek, inference system overview, 2025).

    73,700 input and 14,800 output tokens a second and node: an output token takes 4.97973 times an input token's time,
    so 608 G input and 168 G output tokens are 36,646.8 and 50,425.2 dollars of it. Input served from the cache is in
    the 73,700.
    """
    lines = []
    for hour in range(24):
        at = f"2026-11-01T{hour:02d}:00:00Z"
        lines += usage_lines([(at, "prefill", 608 * 10**9 // 24, 0), (at, "decode", 0, 168 * 10**9 // 24)], "v3")
    land(tmp_path, "usage_table/day.jsonl", lines)
    refer(tmp_path, "deployments", f"{DEPLOYMENTS}v3,m,H800,1814,on_demand,,1,1,4.97972973,2026-11-01,2026-11-02\n")
    refer(tmp_path, "gpu_rates", f"{RATES}H800,on_demand,2,2026-11-01,test\n")
    settings = home_settings(tmp_path, NOV_3)
    night(settings)
    found = dict(ask(settings, "select feature, sum(effective_cost_usd) from mart__feature_cost_daily group by 1"))
    assert sum(found.values()) == Decimal(87072)
    assert abs(found["prefill"] - Decimal("36646.8")) < Decimal("0.05")
    assert abs(found["decode"] - Decimal("50425.2")) < Decimal("0.05")


def test_a_deployment_without_any_file_accrues_to_the_last_complete_day(tmp_path: Path) -> None:
    refer(tmp_path, "deployments", f"{DEPLOYMENTS}lonely,m,ONE,2,reserved,,,,,2026-10-31,\n")
    refer(tmp_path, "gpu_rates", f"{RATES}ONE,reserved,1.5,2026-10-01,test\n")
    settings = home_settings(tmp_path, NOV_3)
    night(settings)
    days = ask(settings, "select usage_date, all_in_cost_usd, idle_cost_usd from mart__infrastructure_cost_daily")
    assert [(str(day), usd, idle) for day, usd, idle in days] == [
        ("2026-10-31", 72, 72),
        ("2026-11-01", 72, 72),
        ("2026-11-02", 72, 72),
    ]
    idle = "select distinct feature, account, cost_status from mart__feature_cost_daily"
    assert ask(settings, idle) == [("__idle__", "lonely", "final")]


def counter(name: str, values: list[tuple[int, int]], **labels: str) -> dict[str, Any]:
    """One series of a range query; times are seconds after 2026-11-01."""
    origin = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
    return {"metric": {"__name__": name, **labels}, "values": [[origin + at, str(value)] for at, value in values]}


def telemetry(*series: dict[str, Any]) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(series)}, "warnings": []})


def owned_home(home: Path) -> None:
    """One owned GPU: $1 an hour, 100 to 900 W and 100 W of host, 20 cents a kWh; room for 1,000 units an hour."""
    refer(home, "deployments", f"{DEPLOYMENTS}chat,m,OWN,1,owned,1000,1,0.1,5,2026-11-01,2026-11-02\n")
    refer(
        home,
        "gpu_rates",
        "gpu_type,purchase_type,purchase_price_usd,salvage_usd,useful_life_years,idle_w,max_w,host_w_per_gpu,valid_from,source\n"
        "OWN,owned,43800,0,5,100,900,100,2026-01-01,test\n",
    )
    refer(home, "energy", "site,usd_per_kwh,pue,valid_from\n*,0.2,1.5,2026-01-01\n")


def minutes(first: int, last: int, per_minute: int, start: int = 0) -> list[tuple[int, int]]:
    """A counter that grows by `per_minute`, told once a minute from minute `first` to `last`."""
    return [(60 * minute, start + per_minute * (minute - first)) for minute in range(first, last + 1)]


def test_telemetry_measures_and_its_absence_is_modelled_and_named(tmp_path: Path) -> None:
    """Hour 0: 500 tokens, half the capacity. GPUs by counter: 0.4 kWh; by model: 500 W for an hour, 0.5 kWh. Host 0.1
    kWh."""
    log = usage_lines([("2026-11-01T00:10:00Z", "chat", 500, 0)])
    # 0.4 kWh = 1.44 MJ = 1.44e9 mJ over 60 minutes; two files, cut in the middle of the hour
    energy = minutes(0, 60, 24_000_000, start=7)
    found = {}
    for name, files in {"with": [energy[:30], energy[30:]], "without": []}.items():
        home = tmp_path / name
        owned_home(home)
        land(home, "usage_table/log.jsonl", log)
        for number, values in enumerate(files):
            series = [
                counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", values, UUID="GPU-1", pod=pod) for pod in ("a", "b")
            ]
            land(home, f"prometheus/chat/{number}.json", telemetry(*series))
        settings = home_settings(home, NOV_3)
        night(settings)
        hours = Lake(settings.lake).read("int__infrastructure_cost_hourly", "2026-11")
        assert hours is not None
        assert len(hours) == 24
        found[name] = hours.row(0, named=True)
    assert (found["with"]["power_basis"], found["with"]["energy_kwh"]) == ("counter", Decimal("0.5"))
    assert (found["without"]["power_basis"], found["without"]["energy_kwh"]) == ("modelled", Decimal("0.6"))
    # × 1.5 × $0.20
    assert found["with"]["energy_cost_usd"] == Decimal("0.15")
    assert found["without"]["energy_cost_usd"] == Decimal("0.18")
    assert found["with"]["utilisation"] == found["without"]["utilisation"] == Decimal("0.5")


def test_counters_of_the_engine_show_what_the_log_does_not(tmp_path: Path) -> None:
    """The engine counted 600 tokens through a restart, the log knows 300: 300 are unlogged, and pay half of what is
    busy.

    600 of 1,000 units: busy cost is 0.6 of one dollar, 30 cents each; 24 hours at one dollar in all.
    """
    refer(tmp_path, "deployments", f"{DEPLOYMENTS}chat,m,ONE,1,on_demand,1000,1,0.1,5,2026-11-01,2026-11-02\n")
    refer(tmp_path, "gpu_rates", f"{RATES}ONE,on_demand,1,2026-11-01,test\n")
    land(tmp_path, "usage_table/log.jsonl", usage_lines([("2026-11-01T00:10:00Z", "chat", 300, 0)]))
    prompt = minutes(0, 30, 10, start=5000) + minutes(31, 59, 10, start=10) + [(3600, 300)]
    land(
        tmp_path,
        "prometheus/chat/engine.json",
        telemetry(
            counter("vllm:prompt_tokens_total", prompt, engine="0"),
            counter("vllm:generation_tokens_total", minutes(0, 60, 0), engine="0"),
        ),
    )
    settings = home_settings(tmp_path, NOV_3)
    night(settings)
    found = dict(ask(settings, "select feature, sum(effective_cost_usd) from mart__feature_cost_daily group by 1"))
    assert found == {"chat": Decimal("0.3"), "__unlogged__": Decimal("0.3"), "__idle__": Decimal("23.4")}
    day = "select logged_tokens, unlogged_tokens, tokens from mart__infrastructure_cost_daily"
    assert ask(settings, day) == [(300, 300, 600)]


def test_files_in_any_order_give_the_same_hours(tmp_path: Path) -> None:
    """Three files of one counter, overlapping and out of order, one night each, against all of them in one night."""
    whole = minutes(0, 3000, 3, start=100)
    pieces = [whole[1400:2100], whole[:1440], whole[2050:]]
    digests = []
    for name, nights in {"together": [[0, 1, 2]], "apart": [[0], [2], [1]]}.items():
        home = tmp_path / name
        owned_home(home)
        settings = home_settings(home, NOV_3)
        for batch in nights:
            for number in batch:
                land(
                    home,
                    f"prometheus/chat/{number}.json",
                    telemetry(counter("vllm:generation_tokens_total", pieces[number], engine="0")),
                )
            night(settings)
        lake = Lake(settings.lake)
        frames = [lake.read("core__infrastructure", day) for day in lake.partitions("core__infrastructure")]
        digests.append([(frame["measured_quantity"].sum(), len(frame)) for frame in frames if frame is not None])
        # 3 tokens a minute: 1,440 whole intervals on each of two days, 120 on the third
        assert [total for total, _ in digests[-1]] == [4320, 4320, 360]
        with published(settings) as marts:
            status = marts.sql(
                "select accepted + duplicate, records from mart__data_status where source = 'prometheus'"
            ).fetchall()
            # 700 + 1,440 + 951 samples
            assert status == [(3091, 3091)]
    assert digests[0] == digests[1]


def test_new_bytes_at_a_known_path_replace_the_old_samples(tmp_path: Path) -> None:
    """First 100 tokens a minute, by mistake; then 3 at the same path. The log knows 60 of 6,000, and 60 of 180."""
    owned_home(tmp_path)
    land(tmp_path, "usage_table/log.jsonl", usage_lines([("2026-11-01T00:10:00Z", "chat", 0, 60)]))
    settings = home_settings(tmp_path, NOV_3)
    told = []
    for per_minute in (100, 3):
        engine = [
            counter("vllm:generation_tokens_total", minutes(0, 60, per_minute), engine="0"),
            counter("vllm:prompt_tokens_total", minutes(0, 60, 0), engine="0"),
        ]
        land(tmp_path, "prometheus/chat/day.json", telemetry(*engine))
        night(settings)
        told += ask(settings, "select logged_tokens, unlogged_tokens from mart__infrastructure_cost_daily")
    assert told == [(60, 5940), (60, 120)]


def test_opencost_replaces_the_rate_of_the_hours_that_it_covers(tmp_path: Path) -> None:
    """A day of $36 in OpenCost, of which $12 are volumes, against $9 an hour; the second day has only the rate."""
    refer(tmp_path, "deployments", f"{DEPLOYMENTS}chat,m,ONE,1,on_demand,,,,,2026-11-01,2026-11-03\n")
    refer(tmp_path, "gpu_rates", f"{RATES}ONE,on_demand,9,2026-11-01,test\n")
    window = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}
    chat = {"name": "chat", "window": window, **window, "gpuCost": 24, "pvCost": 12, "totalCost": 36}
    land(tmp_path, "opencost/day.json", json.dumps({"code": 200, "status": "success", "data": [{"chat": chat}]}))
    settings = home_settings(tmp_path, NOV_3)
    night(settings)
    days = "select hardware_cost_usd, network_storage_cost_usd, hardware_basis from mart__infrastructure_cost_daily"
    assert ask(settings, days) == [(24, 12, "opencost"), (216, 0, "rented")]


def test_rent_in_a_cloud_bill_counts_once(tmp_path: Path) -> None:
    """The bill has $48 of GPU rent and $7 of object storage. The rent is the ledger's: 24 h × $2."""
    refer(
        tmp_path,
        "deployments",
        "deployment,provider,model,bill_match,gpu_type,gpu_count,purchase_type,valid_from,valid_to\n"
        "chat,aws,m,*i-0abc*,ONE,1,on_demand,2026-11-01,2026-11-02\n",
    )
    refer(tmp_path, "gpu_rates", f"{RATES}ONE,on_demand,2,2026-11-01,test\n")
    columns = (
        "BillingAccountId,BilledCost,EffectiveCost,BillingCurrency,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,"
        "ProviderName,ServiceName,ServiceCategory,ResourceId,SubAccountId,BillingPeriodStart,BillingPeriodEnd,ChargeDescription"
    )
    period = "2026-11-01T00:00:00Z,2026-11-02T00:00:00Z"
    month = "2026-11-01T00:00:00Z,2026-12-01T00:00:00Z"
    lines = [
        f"b,48,48,USD,Usage,{period},AWS,Amazon EC2,Compute,i-0abc,acct,{month},p5 instance hours",
        f"b,7,7,USD,Usage,{period},AWS,Amazon S3,Storage,bucket,acct,{month},storage",
    ]
    land(tmp_path, "focus/november.csv", "\n".join([columns, *lines]) + "\n")
    settings = home_settings(tmp_path, NOV_3)
    night(settings)
    found = ask(
        settings,
        "select provider, feature, sum(effective_cost_usd) from mart__feature_cost_daily group by 1, 2 order by 1",
    )
    assert sum(row[2] for row in found) == 55
    assert [(row[0], row[1], row[2]) for row in found if row[0] == "self_hosted"] == [("self_hosted", "__idle__", 48)]


def test_an_api_is_compared_at_its_public_price_and_the_purchase_pays_back(tmp_path: Path) -> None:
    """10 M input and 1 M output tokens on November 1st. The named API takes $2 and $10 a million: 20 + 10 = $30.

    The machine costs $24 a day and no power: 30 days are $720, while 330 M tokens a month at 30/11 dollars a million
    are $900. Break-even: 720 / (30/11) = 264 M tokens a month.
    """
    refer(tmp_path, "deployments", f"{DEPLOYMENTS}chat,m,OWN,1,owned,,1,0.1,5,2026-11-01,2026-11-02\n")
    refer(
        tmp_path,
        "gpu_rates",
        "gpu_type,purchase_type,purchase_price_usd,salvage_usd,useful_life_years,valid_from,source\nOWN,owned,43800,0,5,2026-01-01,test\n",
    )
    refer(
        tmp_path,
        "model_equivalents",
        "model,equivalent_provider,equivalent_model,quality_ratio\nm,xai,twin-1,0.95\n",
    )
    prices = tmp_path / "reference" / "model_prices"
    prices.mkdir(parents=True)
    header = (
        "price_id,provider,model,component,price_usd,per_units,unit,"
        "valid_from,valid_from_basis,recorded_at,layer,source"
    )
    rows = [
        f"twin-{component},xai,twin-1,{component},{usd},1000000,tokens,2026-01-01,documented,2026-01-01,curated,test"
        for component, usd in (("input_uncached", 2), ("output", 10))
    ]
    (prices / "twin.csv").write_text("\n".join([header, *rows]) + "\n")
    land(tmp_path, "usage_table/log.jsonl", usage_lines([("2026-11-01T00:10:00Z", "chat", 10**7, 10**6)]))
    settings = home_settings(tmp_path, NOV_3)
    night(settings)
    compared = ask(
        settings,
        "select equivalence, equivalent_model, quality_ratio, all_in_cost_usd, api_cost_usd,"
        " api_cost_at_todays_price_usd, saving_usd from mart__self_hosted_vs_api",
    )
    assert compared == [("named", "twin-1", Decimal("0.95"), 24, 30, 30, 6)]
    options = ask(
        settings,
        "select option, break_even_tokens_per_month, tokens_per_month, purchase_usd, round(payback_months, 4)"
        " from mart__break_even",
    )
    # $43,800 ÷ ($900 − nothing to run)
    assert options == [("as_is", 264_000_000, 330_000_000, 43800, Decimal("48.6667"))]
