"""The host's serial port: a terminal of the system stands for the board."""

import os
import pty
import tty

import pytest

from twofold.boards.host import Board, SerialPort
from twofold.boards.protocol import Code, read_bytes
from twofold.golden.registers import REGISTERS


@pytest.fixture
def line():
    """The board's end of a line, and the host's port."""
    board, host = pty.openpty()
    tty.setraw(board)
    port = SerialPort(os.ttyname(host), 115_200, timeout=0.2)
    yield board, port
    port.close()
    os.close(board)
    os.close(host)


def test_every_byte_goes_through_both_ways(line):
    board, port = line
    port.write(bytes(range(256)))
    assert os.read(board, 256) == bytes(range(256))
    os.write(board, bytes(range(256)))
    assert port.read(200) + port.read(56) == bytes(range(256))


def test_a_register_is_read(line):
    board, port = line
    os.write(board, bytes([Code.READ, 0]) + (0x12345678).to_bytes(4, "little"))
    assert Board(port).read("ID") == 0x12345678
    expected = read_bytes(REGISTERS["ID"].address)
    assert os.read(board, len(expected) + 1) == expected


def test_silence_is_an_error(line):
    board, port = line
    os.write(board, b"ab")
    with pytest.raises(TimeoutError, match=r"^Board must answer, not be silent after 2 of 3 bytes$"):
        port.read(3)


def test_a_port_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        SerialPort(tmp_path / "none", 115_200)
