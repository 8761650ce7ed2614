"""The official CIFAR batches: pickled dictionaries, read as data and never executed.

`pickletools.genops` splits the file into opcodes without running any. A small stack machine builds the dictionaries,
lists, numbers and strings from them; the only calls it knows are those that NumPy arrays are written with, and it
imports and calls nothing itself: an array's bytes are read with `numpy.frombuffer`.
"""

import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from twofold.support.reading import read_bytes

#: Longest file (bytes): the official ones have 155 MB at most.
LARGEST = 1 << 28
_CONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_NAMES = _CONSTRUCT | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
_MARK = object()


class _Name:
    """An allowed global, by module and name; nothing is imported."""

    def __init__(self, module: str, name: str):
        if (module, name) not in _NAMES:
            raise ValueError(f"name must be one of {sorted(_NAMES)}, not {(module, name)!r}")
        self.path = (module, name)


class _Array:
    """An array between its construction and its contents."""

    value: Any = None


def read_batch(file: Path) -> dict[str, Any]:
    """Dictionary of an official batch: keys to lists, numbers, strings and arrays.

    Raises
    ------
    ValueError
        If it is no such file, or holds anything else.
    """
    data = read_bytes(file, LARGEST)
    try:
        table = _Reader().read(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: file must be an official CIFAR batch, not this: {error}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{file}: file must hold a dictionary, not {type(table).__name__}")
    return {_text(key): value.value if isinstance(value, _Array) else value for key, value in table.items()}


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class _Reader:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "STOP":
                (result,) = self.stack
                return result
            self._step(code.name, argument)
        raise ValueError("the end is missing")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in ("BININT", "BININT1", "BININT2", "INT", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE"):
            stack.append(argument)
        elif name in ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"):
            stack.append(argument.encode("latin-1") if isinstance(argument, str) else argument)
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._marked()
            pairs = zip(items[::2], items[1::2], strict=True)
            stack.append({"TUPLE": tuple(items), "LIST": items}.get(name) if name != "DICT" else dict(pairs))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._pop(int(name[-1]))))
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._marked()
            self._top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._marked()
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(_Name(*argument.split(" ")))
        elif name == "STACK_GLOBAL":
            stack.append(_Name(*self._pop(2)))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(_call(function, arguments))
        elif name == "BUILD":
            (state,) = self._pop(1)
            _build(stack[-1], state)
        else:
            raise ValueError(f"opcode {name} is not among those of a batch")

    def _pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        if len(items) < count or any(item is _MARK for item in items):
            raise ValueError("the stack is too short")
        del self.stack[-count:]
        return items

    def _marked(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"a {kind.__name__} is missing")
        return self.stack[-1]


def _call(function: Any, arguments: Any) -> Any:
    """What an allowed call gives."""
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise ValueError("a call must be of an allowed name")
    if function.path in _CONSTRUCT:
        return _Array()
    if function.path == ("numpy", "dtype"):
        if _text(arguments[0]) not in ("u1", "|u1", "uint8"):
            raise ValueError(f"array must be of unsigned bytes, not {_text(arguments[0])!r}")
        return np.dtype(np.uint8)
    if function.path == ("_codecs", "encode") and arguments[1] == "latin1":
        return arguments[0].encode("latin-1")
    raise ValueError(f"{function.path!r} must not be called")


def _build(target: Any, state: Any) -> None:
    """State of an array: (version, shape, dtype, whether by columns, bytes)."""
    if isinstance(target, np.dtype):
        return
    if not isinstance(target, _Array):
        raise ValueError("only an array may have a state")
    _, shape, dtype, by_columns, data = state
    if dtype != np.uint8 or not isinstance(data, bytes):
        raise ValueError("array must be of unsigned bytes")
    target.value = np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if by_columns else "C").copy()
