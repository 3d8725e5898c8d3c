"""From an edit to the ConfigMap, as a user sees it."""

import hashlib
import json

import pytest

from tests.support.manifests import deployment
from tests.support.user import User, condition_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]


def test_a_first_prompt_ships_and_the_config_map_holds_the_bytes_that_were_hashed(user: User):
    user.apply(deployment(text="You help with orders.", version="1.0.0"))
    pdep = user.wait_live("support", "You help with orders.")

    data = user.live("support")
    digest = hashlib.sha256(data["prompt.json"].encode()).hexdigest()
    metadata = json.loads(data["metadata.json"])
    assert pdep["status"]["activeHash"] == metadata["hash"] == f"sha256:{digest}"
    assert pdep["status"]["phase"] == "Shipped"
    assert pdep["spec"]["targetHash"] == f"sha256:{digest}"
    assert condition_of(pdep, "Ready")["status"] == "True"
    assert (metadata["revision"], metadata["version"], metadata["previousHash"]) == (1, "1.0.0", "")
    assert [h["by"] for h in pdep["status"]["history"]] == ["system:autoship"]
    assert user.get("promptrevision", "support-1")["status"]["message"].startswith("ABTestSkipped")


def test_an_edit_ships_and_archives_what_was_live(user: User):
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    user.apply(deployment(text="two"))
    pdep = user.wait_live("support", "two")

    stages = {r["spec"]["revision"]: r["status"]["stage"] for r in user.listed("promptrevisions")}
    assert stages == {1: "Archived", 2: "Published"}
    assert [h["revision"] for h in pdep["status"]["history"]] == [2, 1]
