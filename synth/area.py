"""What a build costs on ECP5, and that it holds no multiplier."""

from dataclasses import asdict, dataclass
from pathlib import Path

from golden.config import ArrayConfig
from golden.files import write_text
from hdl.emit import emit, top_name
from synth.yosys import count_multipliers, read_statistics, run_yosys


@dataclass(frozen=True)
class Synthesis:
    """Cells of a synthesised build.

    Attributes
    ----------
    name
        The build.
    multipliers
        Multiplying cells: in the netlist of word-level cells, before any mapping, plus DSP blocks after it.
    cells
        Cells by type after mapping.
    """

    name: str
    multipliers: int
    cells: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self)


def synthesise(config: ArrayConfig, folder: Path, *, complete: bool = True) -> Synthesis:
    """Synthesise a build's Verilog for ECP5.

    Parameters
    ----------
    config
        The build.
    folder
        Where Verilog, statistics and log go; made if missing.
    complete
        Whether to go on after DSP mapping, to LUTs; a count of multipliers needs only the first part.
    """
    top = top_name(config)
    write_text(folder / f"{top}.v", emit(config))
    flow = f"synth_ecp5 -top {top} -run begin:map_ram"
    if complete:
        # Without the purge, Yosys 0.70 fails an assertion when it takes the result of ABC back.
        flow = f"synth_ecp5 -top {top} -run begin:map_ffs; opt_clean -purge; synth_ecp5 -top {top} -run map_ffs:"
    run_yosys(
        f"read_verilog {top}.v; hierarchy -check -top {top}; proc; flatten; opt_clean; "
        f"tee -q -o {top}_words.json stat -json; {flow}; tee -q -o {top}_cells.json stat -json",
        folder,
    )
    words = read_statistics(folder / f"{top}_words.json")
    cells = read_statistics(folder / f"{top}_cells.json")
    return Synthesis(config.name, count_multipliers(words) + count_multipliers(cells), cells)
