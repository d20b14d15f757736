"""The compose file: its services fit together, and its settings are settings of ours."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import Config
from core.config import leaves

DEPLOY = Path(__file__).parents[2] / "deploy"
VARIABLES = {leaf.variable for leaf in leaves(Config())}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


def test_every_setting_is_one_of_ours(compose: dict[str, Any]) -> None:
    given = set(compose["services"]["flowledger"]["environment"])
    given |= {
        line.partition("=")[0]
        for line in (DEPLOY / "secrets.example.env").read_text().splitlines()
        if line.startswith("FLOWLEDGER_")
    }
    assert given <= VARIABLES
    assert "FLOWLEDGER_STORE__URL" in given


def test_no_secret_stands_in_the_files(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert not [name for name in service.get("environment", {}) if "PASSWORD" in name]
        if "env_file" in service:
            assert service["env_file"] == "secrets.env"
    for line in (DEPLOY / "secrets.example.env").read_text().splitlines():
        assert line.startswith("#") or line.endswith("=")


def test_services_and_volumes_that_are_named_exist(compose: dict[str, Any]) -> None:
    named = set(compose["volumes"])
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in named
        for other in service.get("depends_on", ()):
            assert "healthcheck" in compose["services"][other]
        if "image" in service:
            version = service["image"].rpartition(":")[2]
            assert version[0].isdigit(), "an image needs a version"


def test_only_datagrams_come_from_outside(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", ()):
            assert port.endswith("/udp") or port.startswith("127.0.0.1:")


def test_the_image_starts_a_command_of_ours() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["/opt/flowledger/flowledger"]' in text
    assert 'CMD ["serve", "--data", "/var/lib/flowledger"' in text
    assert "USER flowledger" in text
