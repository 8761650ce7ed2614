# @TOP@ at @MHZ@ MHz. Times in ns; half of a period is left to what is outside.
create_clock -name clk -period @PERIOD@ [get_ports clk]
set_input_delay @HALF@ -clock clk [all_inputs -no_clocks]
set_output_delay @HALF@ -clock clk [all_outputs]
