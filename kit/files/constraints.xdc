# @TOP@ at @MHZ@ MHz, synthesised out of context: within a design the clock comes from there.
create_clock -name clk -period @PERIOD@ [get_ports clk]
