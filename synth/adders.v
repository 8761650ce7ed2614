// Adders for a standard-cell library: chains of one-bit adders instead of Yosys' parallel-prefix carries.

(* techmap_celltype = "$alu" *)
module twofold_alu (A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  input CI, BI;
  (* force_downto *) output [Y_WIDTH-1:0] X, Y, CO;

  wire [Y_WIDTH-1:0] a_wide, b_wide;
  \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) a_extended (.A(A), .Y(a_wide));
  \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) b_extended (.A(B), .Y(b_wide));
  wire [Y_WIDTH-1:0] b = b_wide ^ {Y_WIDTH{BI}};
  wire [Y_WIDTH:0] carry = {CO, CI};
  assign X = a_wide ^ b;
  genvar i;
  generate
    for (i = 0; i < Y_WIDTH; i = i + 1)
      \$__ONE_BIT #(.GATES(0)) bit (.A(a_wide[i]), .B(b[i]), .C(carry[i]), .S(Y[i]), .CO(CO[i]));
  endgenerate
endmodule

(* techmap_celltype = "$fa" *)
module twofold_fa (A, B, C, X, Y);
  parameter WIDTH = 1;
  (* force_downto *) input [WIDTH-1:0] A, B, C;
  (* force_downto *) output [WIDTH-1:0] X, Y;
  genvar i;
  generate
    for (i = 0; i < WIDTH; i = i + 1)
      \$__ONE_BIT #(.GATES(0)) bit (.A(A[i]), .B(B[i]), .C(C[i]), .S(Y[i]), .CO(X[i]));
  endgenerate
endmodule

(* techmap_celltype = "$add $sub" *)
module twofold_add (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter _TECHMAP_CELLTYPE_ = "";
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  (* force_downto *) output [Y_WIDTH-1:0] Y;
  wire minus = _TECHMAP_CELLTYPE_ == "$sub";
  wire [Y_WIDTH-1:0] propagate, carry;
  \$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH))
    alu (.A(A), .B(B), .CI(minus), .BI(minus), .X(propagate), .Y(Y), .CO(carry));
endmodule
