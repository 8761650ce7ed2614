"""What runs before a commit: the file is pre-commit's, its commands exist, and they are those of `make lint`."""

import re
import shlex
from pathlib import Path

from pre_commit.clientlib import load_config

HOOKS = [hook for repo in load_config(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]


def test_nothing_is_downloaded():
    assert [repo["repo"] for repo in load_config(".pre-commit-config.yaml")["repos"]] == ["local"]
    assert {hook["language"] for hook in HOOKS} <= {"system", "unsupported"}


def test_every_command_is_there():
    commands = {hook["id"]: shlex.split(hook["entry"])[0] for hook in HOOKS}
    assert set(commands.values()) == {"build/venv/bin/ruff", "build/venv/bin/mypy"}
    assert {command for command in commands.values() if not Path(command).is_file()} == set()


def test_they_are_those_of_lint():
    rule = re.search(r"^lint:.*\n((?:\t.*\n)+)", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert rule
    linted = {
        match.replace(" --check", "") for match in re.findall(r"-m (ruff check|ruff format --check|mypy)\b", rule[1])
    }
    hooked = {" ".join(re.findall(r"ruff check|ruff format|mypy", hook["entry"])) for hook in HOOKS}
    assert linted == hooked and len(hooked) == 3
