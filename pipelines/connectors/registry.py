"""Which sources there are. One line per source: its folder name below landing/ is its module here.

What lives here: the list, and loading one connector on demand. What does not: any connector's code.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from pipelines.connectors.base import Connector, MergeRule, Role
from pipelines.errors import UsageError

SOURCES: dict[str, Role] = {
    "response_log": "log",
    "usage_table": "log",
    "litellm": "log",
    "langfuse": "log",
    "otel_genai": "log",
    "claude_code": "log",
    "codex_cli": "log",
    "openai_batch": "log",
    "anthropic_batch": "log",
    "openai_usage": "provider_usage",
    "anthropic_usage": "provider_usage",
    "openai_costs": "bill",
    "anthropic_costs": "bill",
    "focus": "bill",
    "prometheus": "infrastructure",
    "opencost": "infrastructure",
}


def connector(source: str) -> Connector:
    """The connector of a source. Raises UsageError for a name that is none."""
    if source not in SOURCES:
        raise UsageError(
            f"{source!r} is not a source", expected=", ".join(SOURCES), next_move="rename the folder below landing/"
        )
    loaded: Connector = import_module(f"pipelines.connectors.{source}").CONNECTOR
    return loaded


def merge_rules(sources: Iterable[str]) -> dict[str, MergeRule]:
    """How the rows with one id become one, for each of these request logs."""
    return {source: connector(source).merge for source in sorted(set(sources))}


def has_global_keys(source: str) -> bool:
    """True for request logs whose ids are unique for ever: one call may be told again on any later day."""
    return SOURCES.get(source) == "log" and connector(source).merge.window == "global"
