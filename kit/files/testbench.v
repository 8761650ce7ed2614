`timescale 1ns / 1ps
// Streams an image and inputs into the machine, with pauses, and compares what it sends with the golden model's
// integers. Prints one line that begins with PASS or FAIL. Run in the folder of the .mem files.
module testbench;
  localparam SENT = @SENT@;          // beats of all frames into the machine
  localparam EXPECTED = @EXPECTED@;  // beats of all frames out of it
  localparam CYCLES = @CYCLES@;      // of the last inference, as predicted
  localparam PASSES = @PASSES@;
  localparam LIMIT = @LIMIT@;        // cycles after which it hangs

  reg clk = 0;
  reg rst = 1;
  always #5 clk = ~clk;

  // A line is a beat, and above it whether it is the last of its frame. Of what is expected, a mask stands between: lanes
  // that are no channel hold anything.
  reg [35:0] stimulus [0:SENT-1];
  reg [67:0] expected [0:(EXPECTED ? EXPECTED : 1) - 1];
  wire [67:0] right = expected[received];
  integer sent = 0;
  integer allowed = 0;  // of the beats, so far
  integer received = 0;
  integer outside = 0;  // beats compared in the memory outside, if there is one,
  integer differing = 0;  // and those of them that differ
  integer errors = 0;
  integer cycle = 0;

  reg [31:0] s_axis_tdata = 0;
  reg s_axis_tvalid = 0;
  reg s_axis_tlast = 0;
  wire s_axis_tready;
  wire [31:0] m_axis_tdata;
  wire m_axis_tvalid;
  wire m_axis_tlast;
  reg m_axis_tready = 0;
@BUS@@MEMORY@
  @TOP@ machine (
    .clk(clk), .rst(rst),
    .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
    .s_axis_tlast(s_axis_tlast),
    .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast),
    @BUS_PORTS@
  );

  // Both streams pause by these bits.
  reg [15:0] noise = 16'hace1;
  always @(posedge clk) begin
    noise <= {noise[14:0], noise[15] ^ noise[13] ^ noise[12] ^ noise[10]};
    cycle <= cycle + 1;
  end

  always @(posedge clk) if (!rst && (!s_axis_tvalid || s_axis_tready)) begin
    s_axis_tvalid <= 0;
    if (sent < allowed && noise[1:0] != 0) begin
      s_axis_tvalid <= 1;
      {s_axis_tlast, s_axis_tdata} <= stimulus[sent][32:0];
      sent <= sent + 1;
    end
  end

  always @(posedge clk) begin
    m_axis_tready <= noise[4] | noise[9];
    if (!rst && m_axis_tvalid && m_axis_tready) begin
      received <= received + 1;
      if (received >= EXPECTED || m_axis_tlast !== right[64] || (m_axis_tdata & right[63:32]) !== right[31:0]) begin
        if (errors < 10)
          $display("beat %0d must be %h (last %b), not %h (last %b)", received, right[31:0], right[64],
                   m_axis_tdata & right[63:32], m_axis_tlast);
        errors <= errors + 1;
      end
    end
  end

  integer wrong = 0;
  task check(input [8*12-1:0] what, input [31:0] found, input [31:0] wanted);
    if (found !== wanted) begin
      $display("%0s must be %h, not %h", what, wanted, found);
      wrong = wrong + 1;
    end
  endtask

  initial begin
    $readmemh("stimulus.mem", stimulus);
    if (EXPECTED > 0) $readmemh("expected.mem", expected);
    repeat (4) @(negedge clk);
    rst = 0;
    read_register(@REG_ID@);
    check("ID", value, 32'h@ID_VALUE@);
    read_register(@REG_VERSION@);
    check("VERSION", value, 32'h@VERSION_VALUE@);
    read_register(@REG_BUILD@);
    check("BUILD", value, 32'h@BUILD_VALUE@);
@RUN@    check("STATUS", value, @DONE@);
    read_register(@REG_CYCLES@);
    check("CYCLES", value, CYCLES);
    read_register(@REG_PASSES@);
    check("PASSES", value, PASSES);
    check("beats", received, EXPECTED);
    if (errors + differing == 0 && wrong == 0)
      $display("PASS: @INPUTS@ inferences, %0d beats as golden, %0d cycles each", received + outside, CYCLES);
    else
      $display("FAIL: %0d beats and %0d registers differ", errors + differing, wrong);
    $finish;
  end
endmodule
