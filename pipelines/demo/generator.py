"""Making the demo: one coherent, synthetic quarter, landed in two nights.

What lives here: `write_demo`, which the CLI and tests call. What does not: content (the writers), expectations.
Everything is drawn from the seed: same seed, scale and night, same bytes. Nothing here reads the network, the clock or
the environment.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pipelines.demo.charges import usage_charges
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.scenario import DEMO_NIGHTS, DEMO_SEED, load_scenario
from pipelines.demo.traffic import build_calls
from pipelines.demo.writers_bills import write_anthropic_costs, write_openai_costs
from pipelines.demo.writers_claude_code import write_claude_code
from pipelines.demo.writers_focus import write_focus_bill
from pipelines.demo.writers_gateway import write_gateway_log
from pipelines.demo.writers_litellm import write_litellm_log
from pipelines.demo.writers_prometheus import write_prometheus
from pipelines.demo.writers_provider import write_anthropic_usage, write_openai_usage
from pipelines.demo.writers_reference import write_reference_tables
from pipelines.errors import UsageError

_LABEL = """# Synthetic demo data

Everything in this home was made by `tokenmart demo` from a seed. No company, person, key, prompt or bill in it is real;
list prices repeat public price lists. The quarter is July to September 2026, landed in two nights:

- Night 1 (clock {first}): logs, usage exports and bills of 1 July to 29 September, as known then.
- Night 2 (clock {second}): 30 September, a late gateway file for 12 September, the missing day of Anthropic usage, and
  OpenAI's restated costs for 20 to 26 September with a credit.

What to look for: the price cut of gpt-5.6-sol on 21 August; claude-sonnet-5, whose announced rise never came; a model
that no price list knows (gpt-7-preview-internal); traffic that no log holds; traffic without a tag; a priority tier
that no cost report bills and whose prices stand in a contract alone; DeepSeek's peak hours; a bill in euros;
duplicates, bad lines and reused ids in the gateway log; a rented fleet (chat-h100) that nobody asks at night and an
owned one (embed-l40s), both measured from 14 September on, with a restart, a NaN and a GPU that two pods tell.

Seed {seed}, scale {scale}.
"""


def write_demo(home: Path, *, night: int, seed: int = DEMO_SEED, scale: float = 1.0) -> None:
    """Land one night of the demo below `home`: landing/**, reference/*.csv and DEMO.md.

    `night` is a number of DEMO_NIGHTS; run the pipeline with that night's clock afterwards. `scale` multiplies the
    number of requests (1.0 is about 90,000). Raises UsageError for an unknown night or a scale that is not above zero.
    """
    clocks = dict(DEMO_NIGHTS)
    if night not in clocks or scale <= 0:
        raise UsageError(
            f"no demo for night {night} at scale {scale}",
            expected=f"a night of {sorted(clocks)} and a scale above 0",
            next_move="choose other values",
        )
    scenario = load_scenario()
    clock = datetime.fromisoformat(clocks[night])
    calls = build_calls(scenario, seed=seed, scale=scale)
    charges = usage_charges(calls, scenario)
    landing = LandingWriter(home / "landing", clock)
    write_gateway_log(calls, scenario, landing, night=night, seed=seed)
    write_litellm_log(calls, scenario, landing, night=night)
    write_claude_code(calls, landing, night=night, seed=seed)
    write_openai_usage(calls, scenario, landing, night=night)
    write_anthropic_usage(calls, scenario, landing, night=night)
    write_openai_costs(charges, scenario, landing, night=night)
    write_anthropic_costs(charges, scenario, landing, night=night)
    write_focus_bill(charges, scenario, landing, night=night)
    write_prometheus(calls, scenario, landing, night=night, seed=seed)
    write_reference_tables(charges, scenario, LandingWriter(home / "reference", clock), night=night)
    first, second = (instant for _, instant in DEMO_NIGHTS)
    label = _LABEL.format(first=first, second=second, seed=seed, scale=scale)
    LandingWriter(home, clock).write_bytes("DEMO.md", label.encode())
