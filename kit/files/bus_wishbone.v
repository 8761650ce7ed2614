  // Registers on Wishbone; these change between the clock's rising edges.
  reg wb_cyc = 0;
  reg wb_stb = 0;
  reg wb_we = 0;
  reg [@ADDRESS_HIGH@:0] wb_adr = 0;
  wire [3:0] wb_sel = 4'hf;
  reg [31:0] wb_dat_w = 0;
  wire [31:0] wb_dat_r;
  wire wb_ack, wb_err;
  reg [31:0] value;

  task access(input [7:0] where, input write, input [31:0] what);
    begin
      @(negedge clk);
      wb_adr = where >> 2;
      wb_dat_w = what;
      wb_we = write;
      wb_cyc = 1;
      wb_stb = 1;
      @(negedge clk);
      while (!wb_ack && !wb_err) @(negedge clk);
      value = wb_dat_r;
      check("response", {31'b0, wb_err}, 0);
      @(posedge clk);
      @(negedge clk);
      wb_cyc = 0;
      wb_stb = 0;
    end
  endtask

  task write_register(input [7:0] where, input [31:0] what);
    access(where, 1, what);
  endtask

  task read_register(input [7:0] where);
    access(where, 0, 0);
  endtask
