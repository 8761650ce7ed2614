  // Registers on AXI4-Lite; these change between the clock's rising edges.
  reg [7:0] s_axil_awaddr = 0;
  reg [7:0] s_axil_araddr = 0;
  reg [31:0] s_axil_wdata = 0;
  reg s_axil_awvalid = 0;
  reg s_axil_wvalid = 0;
  reg s_axil_arvalid = 0;
  wire [2:0] s_axil_awprot = 0;
  wire [2:0] s_axil_arprot = 0;
  wire [3:0] s_axil_wstrb = 4'hf;
  wire s_axil_bready = 1;
  wire s_axil_rready = 1;
  wire s_axil_awready, s_axil_wready, s_axil_arready, s_axil_bvalid, s_axil_rvalid;
  wire [1:0] s_axil_bresp, s_axil_rresp;
  wire [31:0] s_axil_rdata;
  reg [31:0] value;

  task write_register(input [7:0] where, input [31:0] what);
    begin
      @(negedge clk);
      s_axil_awaddr = where;
      s_axil_wdata = what;
      s_axil_awvalid = 1;
      s_axil_wvalid = 1;
      @(posedge clk);
      while (!(s_axil_awready && s_axil_wready)) @(posedge clk);
      @(negedge clk);
      s_axil_awvalid = 0;
      s_axil_wvalid = 0;
      while (!s_axil_bvalid) @(negedge clk);
      check("response", {30'b0, s_axil_bresp}, 0);
    end
  endtask

  task read_register(input [7:0] where);
    begin
      @(negedge clk);
      s_axil_araddr = where;
      s_axil_arvalid = 1;
      @(posedge clk);
      while (!s_axil_arready) @(posedge clk);
      @(negedge clk);
      s_axil_arvalid = 0;
      while (!s_axil_rvalid) @(negedge clk);
      value = s_axil_rdata;
      check("response", {30'b0, s_axil_rresp}, 0);
    end
  endtask
