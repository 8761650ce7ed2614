// One-bit adders: the library's cell where all inputs vary and both outputs are used, gates elsewhere.
// FULL_ADDER and HALF_ADDER are defined, with the library's cell and pin names, where it has such cells.

(* techmap_celltype = "$__ONE_BIT" *)
module twofold_one_bit (A, B, C, S, CO);
  parameter GATES = 0;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTMSK_C_ = 0;
  parameter _TECHMAP_CONSTVAL_A_ = 0;
  parameter _TECHMAP_CONSTVAL_B_ = 0;
  parameter _TECHMAP_CONSTVAL_C_ = 0;
  parameter _TECHMAP_CONNMAP_A_ = 0;
  parameter _TECHMAP_CONNMAP_B_ = 0;
  parameter _TECHMAP_CONNMAP_C_ = 0;
  input A, B, C;
  output S, CO;
  localparam KNOWN = _TECHMAP_CONSTMSK_A_ + _TECHMAP_CONSTMSK_B_ + _TECHMAP_CONSTMSK_C_;
  localparam ONE = _TECHMAP_CONSTMSK_A_ && _TECHMAP_CONSTVAL_A_ || _TECHMAP_CONSTMSK_B_ && _TECHMAP_CONSTVAL_B_
                || _TECHMAP_CONSTMSK_C_ && _TECHMAP_CONSTVAL_C_;
  localparam SAME = _TECHMAP_CONNMAP_A_ == _TECHMAP_CONNMAP_B_ || _TECHMAP_CONNMAP_A_ == _TECHMAP_CONNMAP_C_
                 || _TECHMAP_CONNMAP_B_ == _TECHMAP_CONNMAP_C_;
  generate
`ifdef FULL_ADDER
    if (!GATES && !SAME && KNOWN == 0)
      `FULL_ADDER
    else
`endif
`ifdef HALF_ADDER
    if (!GATES && !SAME && KNOWN == 1 && !ONE && _TECHMAP_CONSTMSK_A_)
      `HALF_ADDER(B, C)
    else if (!GATES && !SAME && KNOWN == 1 && !ONE && _TECHMAP_CONSTMSK_B_)
      `HALF_ADDER(A, C)
    else if (!GATES && !SAME && KNOWN == 1 && !ONE)
      `HALF_ADDER(A, B)
    else
`endif
    begin
      wire half = A ^ B;
      assign S = half ^ C;
      assign CO = A & B | half & C;
    end
  endgenerate
endmodule
