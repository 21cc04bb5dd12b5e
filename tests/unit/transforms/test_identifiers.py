"""What may not be stored, and what stands in its place."""

from __future__ import annotations

import json

import polars as pl
import pytest

from pipelines.transforms.identifiers import hash_column, keyed_hash, scrub_column, scrub_tags

KEY = b"key of this home"


def scrubbed(*values: str | None) -> list[str | None]:
    return scrub_column(pl.DataFrame({"x": values}, schema={"x": pl.String}), "x", KEY)["x"].to_list()


def test_a_hash_is_hmac_sha256_with_the_home_key():
    # echo -n ann | openssl dgst -sha256 -hmac "key of this home"
    import hashlib
    import hmac

    assert keyed_hash("ann", KEY) == "h_" + hmac.new(KEY, b"ann", hashlib.sha256).hexdigest()[:24]
    assert keyed_hash("ann", b"other") != keyed_hash("ann", KEY)


def test_people_are_hashed_and_hashes_stay():
    known = keyed_hash("bob", KEY)
    frame = hash_column(pl.DataFrame({"user_id": ["ann", None, known, "ann"]}), "user_id", KEY)
    assert frame["user_id"].to_list() == [keyed_hash("ann", KEY), None, known, keyed_hash("ann", KEY)]


@pytest.mark.parametrize(
    "value",
    [
        "ann@example.com", "mail to ann.b@sub.example.co.uk please", "sk-abcdefghijklmnop", "rk-abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE", "AIzaSyA1234567890abcdefghijk", "ghp_abcdefghijklmnopqrst12", "xoxb-1234567890-abc",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIx", "Bearer abc", "x" * 129, "é" * 129,
    ],
)  # fmt: skip
def test_secrets_addresses_and_long_texts_are_replaced(value):
    assert scrubbed("fine", value, None) == ["fine", keyed_hash(value, KEY), None]


@pytest.mark.parametrize(
    "value", ["req_123", "task-sk-1", "x" * 128, "é" * 128, "a@b", "bearer", "AKIA", "msg_01ABCdef", "2026-06-01", ""]
)
def test_plain_identifiers_stay(value):
    assert scrubbed(value) == [value]


def test_one_secret_among_many_repeated_and_many_distinct_values_is_found():
    secret = "sk-abcdefghijklmnop"
    for values in (["same"] * 5_000, [f"id-{number}" for number in range(5_000)]):
        values[4_321] = secret
        found = scrubbed(*values)
        assert found[4_321] == keyed_hash(secret, KEY)
        assert found[:4_321] == values[:4_321]


def test_tags_are_scrubbed_inside():
    text = json.dumps({"owner": "ann@example.com", "team": "a"})
    frame = scrub_tags(pl.DataFrame({"tags": [text, '{"team":"a"}', None]}), KEY)
    assert json.loads(frame["tags"][0]) == {"owner": keyed_hash("ann@example.com", KEY), "team": "a"}
    assert frame["tags"].to_list()[1:] == ['{"team":"a"}', None]
