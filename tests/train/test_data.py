"""Data sets by path, each made here in the form of the official files."""

import gzip
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from twofold.train.data import InputFormat, PixelImages, load_data
from twofold.train.data.base import DataSet, pixel_format
from twofold.train.data.batches import read_batch
from twofold.train.data.folders import FolderImages, imagenet
from twofold.train.data.idx import read_idx

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


# Input format


def test_pixels_are_normalised_and_zero_stays_zero():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    every = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 3, 1, 1)
    images = PixelImages(every, mean, std)
    assert len(images) == 256 and images.shape == (256, 3, 1, 1)
    assert abs(float(images[:][255, 2]) - (1 - 0.406) / 0.225) < 1e-6
    assert torch.equal(images[torch.tensor([3, 1])], images[:][[3, 1]])
    form = pixel_format((3, 1, 1), mean, std)
    data = DataSet("x", images, torch.zeros(256), images, torch.zeros(256), form, 1)
    integers = data.test_integers
    # The brightest blue just fits; black does too; no two rounding steps are merged by clipping.
    assert integers.max() == 127 and integers.min() >= -128
    assert float((integers * form.scale - images[:]).abs().max()) <= form.scale / 2 + 1e-6
    assert data.integers(torch.zeros(1, 3, 1, 1)).abs().max() == 0
    with pytest.raises(ValueError, match=r"^Data 'x' must have a fixed input scale, not None$"):
        _ = DataSet("x", images, None, images, None, InputFormat((3, 1, 1)), 1).test_integers
    with pytest.raises(ValueError, match=r"^Pixels must be uint8 of shape \(images, 1, height, width\), not "):
        PixelImages(torch.zeros(2, 1, 3, 3), (0.0,), (1.0,))


# idx


def write_idx(file, array):
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx(tmp_path, name, suffix):
    train, test = pixels(5, 28, 28), pixels(3, 28, 28)
    for stem, images in (("train", train), ("t10k", test)):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte{suffix}", images)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte{suffix}", np.arange(len(images), dtype=np.uint8))
    data = load_data(name, tmp_path)
    assert data.train_y.tolist() == [0, 1, 2, 3, 4] and data.test_y.tolist() == [0, 1, 2]
    assert torch.equal(data.train_x[:], torch.from_numpy(train[:, None]).float() / 255)
    assert torch.equal(data.test_integers, torch.from_numpy(test[:, None].astype(np.int64)))


def test_idx_that_is_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^Folder must hold 'train-images-idx3-ubyte' or "):
        load_data("mnist", tmp_path)
    file = tmp_path / "x"
    write_idx(file, pixels(2, 3, 3))
    with pytest.raises(ValueError, match=r"x: file must begin with 00000801, not 00000803$"):
        read_idx(file, 1)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"x: file must have 34 bytes, not 33$"):
        read_idx(file, 3)
    cut = tmp_path / "x.gz"
    cut.write_bytes(gzip.compress(b"abc" * 100)[:-9])
    with pytest.raises(ValueError, match=r"x\.gz: file must be gzip, not damaged: "):
        read_idx(cut, 3)


# CIFAR


def python2_batch(images, labels, *, key=b"labels"):
    """The bytes of an official batch, opcode by opcode as Python 2 wrote them."""
    numbers = b"".join(b"K" + bytes([n]) for n in labels)
    shape = b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86q\x0b"
    return b"".join(
        [
            b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x05namedq\x03",
            b"U",
            bytes([len(key)]),
            key,
            b"q\x04]q\x05(",
            numbers,
            b"e",
            b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09",
            b"(K\x01",
            shape,
            b"cnumpy\ndtype\nq\x0cU\x02u1K\x00K\x01\x87Rq\x0d(K\x03U\x01|NNN",
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            struct.pack("<i", images.size),
            images.tobytes(),
            b"tbu.",
        ]
    )


def test_python_batches(tmp_path):
    parts = [(pixels(2, 3072), RNG.integers(0, 10, 2).tolist()) for _ in range(6)]
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    for name, (images, labels) in zip(names, parts, strict=True):
        (tmp_path / name).write_bytes(python2_batch(images, labels))
    # The bytes above are what Python 2 writes: the standard reader agrees.
    known = pickle.loads((tmp_path / "test_batch").read_bytes(), encoding="bytes")
    assert np.array_equal(known[b"data"], parts[5][0]) and known[b"labels"] == parts[5][1]
    data = load_data("cifar10", tmp_path)
    assert data.train_y.tolist() == [n for _, labels in parts[:5] for n in labels]
    assert np.array_equal(data.train_x.pixels, np.concatenate([p for p, _ in parts[:5]]).reshape(-1, 3, 32, 32))
    assert np.array_equal(data.test_x.pixels, parts[5][0].reshape(-1, 3, 32, 32)) and data.classes == 10


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_batches_of_other_writers(tmp_path, protocol):
    images, labels = pixels(3, 3072), [5, 99, 0]
    (tmp_path / "train").write_bytes(pickle.dumps({"data": images, "fine_labels": labels}, protocol=protocol))
    (tmp_path / "test").write_bytes(python2_batch(images[:1], labels[:1], key=b"fine_labels"))
    data = load_data("cifar100", tmp_path)
    assert data.train_y.tolist() == labels and data.test_y.tolist() == [5] and data.classes == 100
    assert np.array_equal(data.train_x.pixels, images.reshape(-1, 3, 32, 32))


class Evil:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.evil_was_here = True",))


def test_batches_execute_nothing(tmp_path):
    import builtins

    for n, content in enumerate(({"data": Evil()}, Evil(), {b"labels": [Evil()]})):
        (tmp_path / f"{n}").write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r"must be one of .*, not \('builtins', 'exec'\)$"):
            read_batch(tmp_path / f"{n}")
    assert not hasattr(builtins, "evil_was_here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file must be an official CIFAR batch, not this: "),
        (b"\x80\x02]q\x01.", "file must hold a dictionary, not list"),
        (b"\x80\x02}q\x01", "file must be an official CIFAR batch, not this: "),
        (b"\x80\x02cnumpy\nload\n.", "name must be one of"),
        (b"\x80\x02cnumpy\nndarray\nK\x01\x85R.", r"\('numpy', 'ndarray'\) must not be called"),
        (b"\x80\x02}K\x01b.", "only an array may have a state"),
        (b"\x80\x02u.", "file must be an official CIFAR batch, not this: "),
        (b"\x80\x02}U\x01aK\x01s\x82\x01.", "opcode EXT1 is not among those of a batch"),
    ],
)
def test_batches_that_are_damaged(tmp_path, content, message):
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(ValueError, match=rf"b: .*{message}"):
        read_batch(tmp_path / "b")


def test_batches_with_other_contents(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(python2_batch(pixels(2, 3072), [1, 2]))
    with pytest.raises(ValueError, match=r"train: 'fine_labels' must be a list of 2 integers$"):
        load_data("cifar100", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^Path must be an npz file or a folder with 'cifar10\.npz' or "):
        load_data("cifar10", tmp_path)


def test_npz(tmp_path):
    arrays = {"train_x": pixels(4, 3, 32, 32), "test_x": pixels(2, 3, 32, 32)}
    arrays |= {"train_y": np.array([0, 9, 1, 2], dtype=np.uint8), "test_y": np.array([3, 4], dtype=np.uint8)}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    for path in (tmp_path, tmp_path / "cifar10.npz"):
        data = load_data("cifar10", path)
        assert data.train_y.tolist() == [0, 9, 1, 2] and np.array_equal(data.test_x.pixels, arrays["test_x"])
    assert data.augment.shift == 4 and data.augment.flip and data.input.signed
    np.savez(tmp_path / "bad.npz", **(arrays | {"train_y": np.array([0, 10, 1, 2])}))
    with pytest.raises(ValueError, match=r"bad\.npz: train_y must be integers of 0 to 9$"):
        load_data("cifar10", tmp_path / "bad.npz")
    np.savez(tmp_path / "less.npz", train_x=arrays["train_x"])
    with pytest.raises(ValueError, match=r"less\.npz: file must be an npz with arrays \('train_x', "):
        load_data("cifar10", tmp_path / "less.npz")


# Folders


def test_image_folders(tmp_path):
    for part, count in (("train", 3), ("val", 1)):
        for label, name in enumerate(("ant", "bee")):
            (tmp_path / part / name).mkdir(parents=True)
            for n in range(count):
                color = (50 * n, 100 * label, 200)
                Image.new("RGB", (40, 30), color).save(tmp_path / part / name / f"{n}.png")
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no image")
    Image.new("L", (30, 60), 7).save(tmp_path / "val" / "bee" / "grey.bmp")
    data = imagenet(tmp_path, side=16, resize=20)
    assert data.train_y.tolist() == [0, 0, 0, 1, 1, 1] and data.test_y.tolist() == [0, 1, 1]
    assert data.classes == 2 and data.train_x.shape == (6, 3, 16, 16)
    images = data.train_x[torch.tensor([4, 0])]
    expected = (torch.tensor([50.0, 100, 200]) / 255 - data.train_x.mean.flatten()) / data.train_x.std.flatten()
    torch.testing.assert_close(images[0, :, 7, 3], expected)
    assert data.test_x[:].shape == (3, 3, 16, 16) and len(data.train_x[2:4]) == 2
    assert data.test_integers.max() <= 127
    (tmp_path / "val" / "bee" / "grey.bmp").write_bytes(b"BM")
    with pytest.raises(ValueError, match=r"grey\.bmp: file must be an image, not damaged: "):
        imagenet(tmp_path, side=16, resize=20).test_x[:]
    (tmp_path / "val" / "cat").mkdir()
    with pytest.raises(ValueError, match=r"val: folders must be those of .*train, one a class$"):
        imagenet(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^Folder must hold 'train' and 'val', not so "):
        load_data("imagenet", tmp_path / "none")


def test_the_middle_square_is_taken(tmp_path):
    picture = np.zeros((30, 50, 3), dtype=np.uint8)
    picture[10:20, 20:30] = 255
    Image.fromarray(picture).save(tmp_path / "x.png")
    image = FolderImages([tmp_path / "x.png"], side=10, resize=30)[:][0]
    assert torch.equal(image, ((1 - FolderImages([]).mean) / FolderImages([]).std).expand(3, 10, 10))


def test_paths():
    with pytest.raises(ValueError, match=r"^Data 'digits' must be given no path, not 'x'$"):
        load_data("digits", "x")
    with pytest.raises(ValueError, match=r"^Data 'cifar10' must be given a path, not None$"):
        load_data("cifar10")
