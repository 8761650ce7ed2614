"""NumPy's files: nothing is unpickled, and no more is unpacked than the limit allows."""

import io
import os
import random
import zipfile

import numpy as np
import pytest

from twofold.golden.arrays import read_npy, read_npz


def arrays():
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(size=(3, 4)),
        "b": np.asfortranarray(rng.integers(0, 9, (2, 3, 4))),
        "c": np.array(7),
        "d": np.zeros((0, 5), np.uint8),
        "e": np.array([True, False]),
        "f": np.arange(3, dtype=">i2"),
    }


def test_arrays_come_back(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays())
        found = read_npz(tmp_path / "a.npz")
        assert list(found) == list(arrays())
        for name, array in arrays().items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].flags.writeable
            np.save(tmp_path / "a.npy", array)
            np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)


def bomb(path, size):
    """A small npz file of zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))


def test_an_npz_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    bomb(path, 1 << 26)
    with pytest.raises(ValueError) as caught:
        read_npz(path, 1 << 25)
    assert str(caught.value).startswith(f"{path}: file must be arrays of NumPy, not this: arrays must have at most ")
    # The directory lies: no more than it states is unpacked.
    data = path.read_bytes()
    place = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: place + 24] + (1000).to_bytes(4, "little") + data[place + 28 :])
    with pytest.raises(ValueError, match="file must be arrays of NumPy, not this: "):
        read_npz(path, 1 << 25)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(-1,)", "(3, -1, -1)", "(1 << 70,)", "(2,)", "3", "('a',)"])
def test_an_array_that_says_another_size_is_refused(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8))
    with pytest.raises(ValueError) as caught:
        read_npy(path)
    assert str(caught.value).startswith(f"{path}: file must be an array of NumPy, not this: ")


@pytest.mark.parametrize("read", [read_npy, read_npz])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large"])
def test_what_is_no_file_or_too_large_is_not_opened(tmp_path, read, kind):
    path = tmp_path / "a"
    make = {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
        "large": lambda path: path.touch() or os.truncate(path, 5 << 30),
    }
    make[kind](path)
    with pytest.raises(ValueError) as caught:
        read(path)
    rule = "have at most " if kind == "large" else "be a regular file, not a folder, pipe or device"
    assert str(caught.value).startswith(f"{path}: file must {rule}")


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="values must be numbers, not Python objects"):
        read_npy(tmp_path / "a.npy")


def test_damaged_arrays_give_one_error(tmp_path):
    path, rng = tmp_path / "a.npz", random.Random(0)
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays())
        for _ in range(300):
            data = bytearray(stream.getvalue())
            for _ in range(rng.choice((1, 5))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
            try:
                read_npz(path)
            except ValueError as error:
                assert str(error).startswith(f"{path}: ")
