"""That a build holds no multiplier, quickly: without mapping it to cells, as `make synth` does."""

from dataclasses import asdict, dataclass
from pathlib import Path

from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import emit, top_name
from twofold.support.files import write_text
from twofold.synth.yosys import count_multipliers, read_statistics, run_yosys


@dataclass(frozen=True)
class MultiplierCount:
    """Cells of a synthesised build.

    Attributes
    ----------
    name
        The build.
    multipliers
        Multiplying cells: in the netlist of word-level cells, before any mapping, plus DSP blocks after it.
    cells
        Cells by type after DSP mapping.
    """

    name: str
    multipliers: int
    cells: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self)


def mapped_multipliers(config: ArrayConfig, folder: Path) -> MultiplierCount:
    """Synthesise a build's Verilog for ECP5 up to the mapping of DSP blocks.

    Parameters
    ----------
    config
        The build.
    folder
        Where Verilog, statistics and log go; made if missing.
    """
    top = top_name(config)
    write_text(folder / f"{top}.v", emit(config))
    flow = f"synth_ecp5 -top {top} -run begin:map_ram"
    run_yosys(
        f"read_verilog {top}.v; hierarchy -check -top {top}; proc; flatten; opt_clean; "
        f"tee -q -o {top}_words.json stat -json; {flow}; tee -q -o {top}_cells.json stat -json",
        folder,
    )
    words = read_statistics(folder / f"{top}_words.json")
    cells = read_statistics(folder / f"{top}_cells.json")
    return MultiplierCount(config.name, count_multipliers(words) + count_multipliers(cells), cells)


def word_multipliers(verilog: str, top: str, folder: Path) -> tuple[dict[str, int], int]:
    """Word-level cells of a design by type, every instance counted, and how many of them multiply.

    Nothing is mapped or optimised away yet: what multiplies in the end is a multiplying cell here.
    """
    write_text(folder / f"{top}.v", verilog)
    run_yosys(
        f"read_verilog {top}.v; hierarchy -check -top {top}; proc; opt_clean; tee -q -o {top}_words.json stat -json",
        folder,
    )
    cells = read_statistics(folder / f"{top}_words.json")
    return cells, count_multipliers(cells)
