// In the place of a memory: its ports, by names under the memory's, and read data that may be anything.
// Reads have no register of their own here: it stands behind the memory, in the component.
(* techmap_celltype = "$mem_v2" *)
module cut #(
  parameter MEMID = "", SIZE = 1, OFFSET = 0, ABITS = 1, WIDTH = 1, INIT = 0,
  parameter RD_PORTS = 1, RD_CLK_ENABLE = 0, RD_CLK_POLARITY = 0, RD_TRANSPARENCY_MASK = 0, RD_COLLISION_X_MASK = 0,
  parameter RD_WIDE_CONTINUATION = 0, RD_CE_OVER_SRST = 0, RD_ARST_VALUE = 0, RD_SRST_VALUE = 0, RD_INIT_VALUE = 0,
  parameter WR_PORTS = 1, WR_CLK_ENABLE = 0, WR_CLK_POLARITY = 0, WR_PRIORITY_MASK = 0, WR_WIDE_CONTINUATION = 0
) (
  input [RD_PORTS-1:0] RD_CLK, RD_EN, RD_ARST, RD_SRST,
  input [RD_PORTS*ABITS-1:0] RD_ADDR,
  output [RD_PORTS*WIDTH-1:0] RD_DATA,
  input [WR_PORTS-1:0] WR_CLK,
  input [WR_PORTS*WIDTH-1:0] WR_EN, WR_DATA,
  input [WR_PORTS*ABITS-1:0] WR_ADDR
);
  wire _TECHMAP_FAIL_ = RD_CLK_ENABLE != 0;
  wire [RD_PORTS*ABITS-1:0] \_TECHMAP_REPLACE_.rd_addr = RD_ADDR;
  wire [RD_PORTS*WIDTH-1:0] \_TECHMAP_REPLACE_.rd_data ;
  wire [WR_PORTS*WIDTH-1:0] \_TECHMAP_REPLACE_.wr_en = WR_EN;
  wire [WR_PORTS*WIDTH-1:0] \_TECHMAP_REPLACE_.wr_data = WR_DATA;
  wire [WR_PORTS*ABITS-1:0] \_TECHMAP_REPLACE_.wr_addr = WR_ADDR;
  assign RD_DATA = \_TECHMAP_REPLACE_.rd_data ;
endmodule
