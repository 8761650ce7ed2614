// A multiplexer whose first selected input counts, as in the Verilog that is simulated; Yosys leaves it open.
(* techmap_celltype = "$pmux" *)
module first #(parameter WIDTH = 1, S_WIDTH = 1) (
  input [WIDTH-1:0] A, input [WIDTH*S_WIDTH-1:0] B, input [S_WIDTH-1:0] S, output [WIDTH-1:0] Y
);
  genvar n;
  wire [WIDTH*(S_WIDTH+1)-1:0] from;
  assign from[WIDTH*S_WIDTH +: WIDTH] = A;
  generate
    for (n = 0; n < S_WIDTH; n = n + 1)
      assign from[WIDTH*n +: WIDTH] = S[n] ? B[WIDTH*n +: WIDTH] : from[WIDTH*(n+1) +: WIDTH];
  endgenerate
  assign Y = from[WIDTH-1:0];
endmodule
