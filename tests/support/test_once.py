"""What is built once: keys that nothing escapes, one maker at a time, nothing half made."""

import importlib.metadata
import json
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from tests.support.killed import killed_at
from twofold.support.once import Store, build_once, key_of
from twofold.support.sources import sources


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in which `step` imports `inner`, and that imports `deep` inside a function; `apart` is alone."""
    texts = {
        "__init__": "",
        "step": "import json\nfrom made_up_package.inner import function\n"
        "if TYPE_CHECKING:\n    from made_up_package import typed\n",
        "typed": "DELAY = 1\n",
        "inner": "def function():\n    from made_up_package import deep\n    return deep.DELAY\n",
        "deep": "DELAY = 1\n",
        "apart": "DELAY = 1\n",
    }
    folder = tmp_path / "made_up_package"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("changed", "other"),
    [("step", True), ("inner", True), ("deep", True), ("__init__", True), ("apart", False), ("typed", False)],
)
def test_a_change_of_what_is_imported_however_far_changes_the_key(package, changed, other):
    before = key_of(modules=["made_up_package.step"])
    assert key_of(modules=["made_up_package.step"]) == before
    (package / f"{changed}.py").write_text("DELAY = 22\n")
    assert (key_of(modules=["made_up_package.step"]) != before) is other


def test_the_sources_are_those_of_the_package_only(package):
    assert list(sources("made_up_package.step")) == [
        "made_up_package",
        "made_up_package.deep",
        "made_up_package.inner",
        "made_up_package.step",
    ]
    with pytest.raises(ValueError, match=r"^Modules must be files of Python, not 'no_such_step'$"):
        sources("no_such_step")
    with pytest.raises(ValueError, match=r"^Modules must be files of Python, not 'made_up_package\.none'$"):
        sources("made_up_package.none")


def test_inputs_and_tools_change_the_key(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_bytes(b"1")
    keys = [key_of(), *(key_of(inputs=[value]) for value in (file, str(file), b"1", "1", 1, [1], {"a": 1}, None))]
    keys += [key_of(inputs=["a", "b"]), key_of(inputs=["ab", ""]), key_of(tools=[file]), key_of(tools=["numpy"])]
    assert len(set(keys)) == len(keys)
    file.write_bytes(b"2")
    assert key_of(inputs=[file]) != keys[1] and key_of(tools=[file]) != keys[-2]
    monkeypatch.setattr("twofold.support.once.version", lambda name: "99")
    assert key_of(tools=["numpy"]) != keys[-1]


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        key_of(inputs=[tmp_path / "none"])
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        key_of(tools=["no-such-distribution"])


def slow(folder):
    time.sleep(0.2)
    (folder / "made").write_text("x")
    with open(folder.parents[1] / "count", "a") as file:
        file.write("x")


def build(folder):
    return build_once(folder, "key", slow)


@pytest.mark.parametrize("pool", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_several_at_once_build_once(tmp_path, pool):
    with pool(4) as workers:
        assert set(workers.map(build, [tmp_path] * 8)) == {tmp_path / "key"}
    assert (tmp_path / "count").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["count", "key"]
    assert (tmp_path / "key" / "made").read_text() == "x"


def make(folder):
    (folder / "inside").mkdir()
    (folder / "inside" / "a").write_text("a")
    (folder / "b").write_text("b")


def test_a_killed_one_leaves_nothing_for_the_next(tmp_path):
    for call in range(100):
        folder = tmp_path / str(call)
        killed = killed_at(call, lambda folder=folder: build_once(folder, "first", make))
        assert not (folder / "first").exists() or (folder / "first" / "b").read_text() == "b"
        build_once(folder, "second", make)
        left = {path.name for path in folder.iterdir()}
        assert left in ({"second"}, {"first", "second"})
        build_once(folder, "first", make)
        assert {path.name for path in folder.iterdir()} == {"first", "second"}
        assert (folder / "first" / "inside" / "a").read_text() == "a"
        if not killed:
            break
    assert 4 < call < 99


def test_a_failed_one_is_left_to_be_read_and_made_again(tmp_path):
    def fail(folder):
        (folder / "log").write_text("why")
        raise FileNotFoundError(folder / "log")

    with pytest.raises(FileNotFoundError) as caught:
        build_once(tmp_path, "key", fail)
    build_once(tmp_path, "other", make)
    assert caught.value.args[0].read_text() == "why"
    assert build_once(tmp_path, "key", make) == tmp_path / "key"
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["b", "inside"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "other"]


def test_an_interrupted_one_leaves_nothing(tmp_path):
    def interrupted(folder):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path, "key", interrupted)
    assert not list(tmp_path.iterdir())


def test_values_are_kept_with_their_files(tmp_path):
    def value(folder):
        (folder / "a").write_text("a")
        return {"area": 1.5}

    store = Store(tmp_path)
    first = store.get("key", value)
    assert first.value == {"area": 1.5} and (first.folder / "a").read_text() == "a"
    assert store.get("key", lambda folder: {}) == first
    assert (store.made, store.found) == (1, 1)
    assert json.loads((first.folder / "result.json").read_text()) == first.value
