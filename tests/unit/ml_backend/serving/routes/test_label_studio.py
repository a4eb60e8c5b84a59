"""The contract's bodies are read by the route of their own; more is in tests/integration."""

from __future__ import annotations

from flask.testing import FlaskClient


def test_the_contract_is_answered_in_json_even_to_a_browser(
    client: FlaskClient, browser: dict[str, str]
) -> None:
    project = {"project": "1.1700000000"}
    health = client.get("/health", headers=browser).get_json()
    assert [state["version"] for state in health["projects"]] == ["1-untrained"]
    versions = client.get("/versions", headers=browser).get_json()
    assert versions == {"versions": ["1-untrained"]}
    setup = client.post("/setup", json=project, headers=browser).get_json()
    assert setup == {"model_version": "1-untrained"}
    predict = client.post("/predict", json={**project, "tasks": [{}]}, headers=browser).get_json()
    assert predict == {"results": [[]]}
    event = {**project, "action": "TASKS_CREATED"}
    webhook = client.post("/webhook", json=event, headers=browser).get_json()
    assert webhook == {"status": "noted", "action": "TASKS_CREATED"}
