"""What each component of a build costs, and how fast it is, in each technology."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import emit, emit_component, top_name
from twofold.support.jobs import Engine, Job
from twofold.support.once import Store
from twofold.synth.asic import AsicArea, asic_area
from twofold.synth.fpga import ECP5, ECP5_MACHINE, ECP5_TREES, TECHNOLOGIES, FpgaResult, place_and_route, synthesise
from twofold.synth.liberty import read_liberty
from twofold.synth.paths import critical_path

#: The components that the report lists; `pe` is a part of `array`, and `top` is all of them with the memories.
COMPONENTS = (
    "pe",
    "array",
    "decoder",
    "operands",
    "window",
    "accumulators",
    "requantiser",
    "sequencer",
    "loader",
    "sender",
    "control",
    "top",
)
ASIC = "asic"
#: Longest path (ns) that standard cells should have: area is saved down to it, not beyond.
TARGET_DELAY = 10.0
#: Components whose columns are mapped once in standard cells, and counted as often as there are columns.
_HAVE_COLUMNS = ("array", "top")


def component_area(name: str, config: ArrayConfig, liberty: Path, **options: Any) -> AsicArea:
    """Smallest standard-cell netlist of one component by itself (`hdl.emit.COMPONENTS`); columns are mapped once."""
    top = f"twofold_{name}"
    keep = () if name == "column" else (f"{top}_column",)
    return asic_area(emit_component(name, config), top, liberty, keep=keep, **options)


@dataclass(frozen=True)
class Measurement:
    """One component of a build in one technology."""

    config: ArrayConfig
    component: str
    technology: str

    @property
    def top(self) -> str:
        """Its Verilog module."""
        return top_name(self.config) if self.component == "top" else f"twofold_{self.component}"

    def verilog(self) -> str:
        """Its Verilog."""
        return emit(self.config) if self.component == "top" else emit_component(self.component, self.config)


def measure(
    measurement: Measurement, store: Store, *, liberty: Path | None = None, route: bool = True
) -> dict[str, Any]:
    """A row of the report.

    Parameters
    ----------
    measurement
        What to measure.
    store
        Where results are kept.
    liberty
        The library, for standard cells.
    route
        Whether to place and route on FPGAs; without, there is no clock rate.
    """
    row: dict[str, Any] = {
        "configuration": measurement.config.name,
        "build": f"{measurement.config.build_hash:08x}",
        "component": measurement.component,
        "technology": measurement.technology,
    }
    if measurement.technology == ASIC:
        assert liberty is not None
        return row | _standard_cells(measurement, liberty, store)
    technology = TECHNOLOGIES[measurement.technology]
    if technology is ECP5:
        technology = {"array": ECP5_TREES, "top": ECP5_MACHINE}.get(measurement.component, ECP5)
    if route and technology.installed:
        result = place_and_route(technology, measurement.verilog(), measurement.top, store)
    else:
        result = _counted_only(synthesise(technology, measurement.verilog(), measurement.top, store), route)
    return row | {
        "cells": sum(result.cells.values()),
        "luts": result.luts,
        "carries": result.carries,
        "ffs": result.ffs,
        "brams": result.brams,
        "multipliers": result.multipliers,
        "fmax": result.fmax,
        "path": result.path,
        "reason": result.reason,
        "cells_by_type": result.cells,
    }


def _counted_only(result: FpgaResult, route: bool) -> FpgaResult:
    return FpgaResult(**result.as_dict() | {"reason": "nextpnr is not installed" if route else "not routed"})


def _standard_cells(measurement: Measurement, liberty: Path, store: Store) -> dict[str, Any]:
    """The smallest netlist that reaches `TARGET_DELAY`, or the quickest if none does.

    PEs select with AND-OR gates, which are smaller here, whatever the build says: the products are the same.
    """
    keep = (f"{measurement.top}_column",) if measurement.component in _HAVE_COLUMNS else ()
    library = read_liberty(liberty.resolve())
    verilog = replace(measurement, config=replace(measurement.config, select="and_or")).verilog()
    effort = "high" if measurement.component == "array" else "normal"

    def mapped(way: str) -> tuple[AsicArea, dict[str, Any]]:
        area = asic_area(verilog, measurement.top, liberty, adders=[way], keep=keep, effort=effort, store=store)
        return area, critical_path(area, liberty, store)

    found = [mapped(way) for way in ("cells", "chains of cells", "gates")]
    if min(path["delay"] for _, path in found) > TARGET_DELAY:
        found.append(mapped("yosys"))
    enough = [one for one in found if one[1]["delay"] <= TARGET_DELAY]
    area, path = min(enough, key=lambda one: one[0].area) if enough else min(found, key=lambda one: one[1]["delay"])
    return {
        "cells": sum(area.cells.values()),
        "area": area.area,
        "sequential": area.sequential,
        "ffs": sum(n for name, n in area.cells.items() if library.every[name].of("ff")),
        "memory_bits": area.memory_bits,
        "multipliers": area.multipliers,
        "delay": path["delay"],
        "fmax": round(1000 / path["delay"], 2) if path["delay"] else None,
        "path": path,
        "adders": area.adders,
        "library": library.name,
        "cells_by_type": area.cells,
    }


def measure_all(
    measurements: list[Measurement],
    store: Store,
    engine: Engine,
    *,
    liberty: Path | None = None,
    route: bool = True,
    say: Callable[[dict[str, Any]], None] = lambda row: None,
) -> list[dict[str, Any]]:
    """Rows of all measurements, in their order, a job each; `say` is called with each as soon as it is there."""
    jobs = []
    for number, one in enumerate(measurements):
        name = f"{one.config.name} {one.technology} {one.component}"
        arguments = (one, store.folder.resolve(), liberty and liberty.resolve(), route)
        jobs.append(Job(name, _measured, arguments, f"{number} {name}"))
    rows = []
    for row, made, found in engine.results(jobs, lambda job, result: say(result[0])):
        rows.append(row)
        store.made += made
        store.found += found
    return rows


def _measured(
    measurement: Measurement, folder: Path, liberty: Path | None, route: bool
) -> tuple[dict[str, Any], int, int]:
    """A row, and how many results were made for it and found."""
    store = Store(folder)
    return measure(measurement, store, liberty=liberty, route=route), store.made, store.found
