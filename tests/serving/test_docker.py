"""The container files, as far as they can be checked without Docker: their grammar, what they copy, what they call."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml

from serene.serving.uploads import Limits

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"}


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text()).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line and line[0] != "#")]


def test_the_dockerfile_installs_the_light_base_for_an_ordinary_user() -> None:
    found = instructions()
    assert {word for word, _ in found} == INSTRUCTIONS
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = (rest for word, rest in found if word == "RUN" and "pip install" in rest)
    (named,) = re.findall(r"\[(\w+)\]", installed)
    assert named == "serve" and not any("torch" in needed for needed in extras[named])
    words = [word for word, _ in found]
    assert words.index("USER") < words.index("ENTRYPOINT") and ("USER", "root") not in found
    (check,) = (rest for word, rest in found if word == "HEALTHCHECK")
    assert "/health" in json.loads(check.partition("CMD ")[2])[2]
    assert any(word == "ENV" and "OPENBLAS_NUM_THREADS=1" in rest.split() for word, rest in found)
    (entry,) = (json.loads(rest) for word, rest in found if word == "ENTRYPOINT")
    assert entry == ["serene", "serve", "--host", "0.0.0.0", "--port", "8000"]


def test_what_is_copied_exists_and_is_let_through() -> None:
    through = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    copied = {name for word, rest in instructions() if word == "COPY" for name in rest.split()[:-1]}
    assert copied == through
    assert all((ROOT / name).exists() for name in copied)


def test_the_proxys_limits_fit_the_services() -> None:
    text = re.sub(r"#.*", "", (DOCKER / "nginx.conf").read_text())
    said = {words[0]: words[1:] for words in (line.split() for line in re.split(r"[;{}]", text)) if words}
    limits = Limits()
    assert int(said["client_max_body_size"][0].removesuffix("m")) * 1e6 >= limits.upload
    assert said["client_body_buffer_size"] == said["client_max_body_size"]  # else an upload would touch a disk
    assert int(said["limit_conn"][1]) <= limits.per_address
    assert int(said["proxy_read_timeout"][0].removesuffix("s")) > limits.upload_seconds + limits.answer_seconds
    assert text.count("{") == text.count("}")
    assert re.search(
        r"proxy_set_header X-Forwarded-For \$remote_addr;", text
    )  # what a client says of itself is dropped
    assert re.search(r"proxy_set_header Host \$http_host;", text)


def test_the_compose_file_binds_to_this_machine_and_confines_the_service() -> None:
    composed = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    (service,) = composed["services"].values()
    assert (DOCKER / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["environment"]["SERENE_API_KEY"].startswith("${SERENE_API_KEY:?")
