
  // The memory outside. It takes every address and every beat at once. A read's first beat comes LATENCY cycles after its
  // address, a write's answer LATENCY cycles after its last beat, or behind the burst before; then a beat comes a cycle.
  localparam BUS_BITS = @BUS_BITS@;
  localparam BYTES = BUS_BITS / 8;
  localparam BASE = 32'h@BASE@;
  localparam BEATS = @BEATS@;                // that it holds
  localparam CONTENT = @CONTENT@;            // of them what the machine needs for the network
  localparam LATENCY = @LATENCY@;
  localparam INPUTS = @INPUTS@;
  localparam IMAGE_BEATS = @IMAGE_BEATS@;    // of the frame that loads the network
  localparam INPUT_BEATS = @INPUT_BEATS@;    // of an input that lies outside
  localparam INPUT_PLACE = @INPUT_PLACE@;
  localparam OUTPUT_BEATS = @OUTPUT_BEATS@;  // of the outputs of an inference that do

  reg [BUS_BITS-1:0] memory [0:BEATS-1];
  reg [BUS_BITS-1:0] inputs [0:(INPUT_BEATS ? INPUT_BEATS * INPUTS : 1) - 1];
  // Place, mask of the lanes that are channels, value.
  reg [32+2*BUS_BITS-1:0] outside_expected [0:(OUTPUT_BEATS ? OUTPUT_BEATS * INPUTS : 1) - 1];
  integer n;
  integer k;

  wire [31:0] m_axi_araddr, m_axi_awaddr;
  wire [7:0] m_axi_arlen, m_axi_awlen;
  wire m_axi_arvalid, m_axi_rready, m_axi_awvalid, m_axi_wvalid, m_axi_bready;
  wire [BUS_BITS-1:0] m_axi_wdata;
  wire m_axi_arready = 1;
  wire m_axi_awready = 1;
  wire m_axi_wready = 1;
  wire m_axi_rid = 0;
  wire m_axi_bid = 0;
  reg [BUS_BITS-1:0] m_axi_rdata = 0;
  reg [1:0] m_axi_rresp = 0;
  reg [1:0] m_axi_bresp = 0;
  reg m_axi_rvalid = 0;
  reg m_axi_rlast = 0;
  reg m_axi_bvalid = 0;

  // Bursts under way, in rings: place, beats left less one, cycle of the answer. A master has at most 63 of a kind.
  reg [31:0] read_place [0:63];
  reg [7:0] read_left [0:63];
  integer read_due [0:63];
  reg [5:0] read_head = 0;
  reg [5:0] read_tail = 0;
  reg [31:0] write_place [0:63];
  reg [7:0] write_left [0:63];
  reg [5:0] write_head = 0;
  reg [5:0] write_tail = 0;
  reg [BUS_BITS-1:0] beats [0:255];
  reg [7:0] beat_head = 0;
  reg [7:0] beat_tail = 0;
  reg [1:0] answer [0:63];
  integer answer_due [0:63];
  reg [5:0] answer_head = 0;
  reg [5:0] answer_tail = 0;
  reg [1:0] response = 0;

  always @(posedge clk) if (!rst) begin
    if (m_axi_bvalid && m_axi_bready) answer_head = answer_head + 1;
    if (m_axi_awvalid) begin
      write_place[write_tail] = (m_axi_awaddr - BASE) / BYTES;
      write_left[write_tail] = m_axi_awlen;
      write_tail = write_tail + 1;
    end
    if (m_axi_wvalid) begin
      beats[beat_tail] = m_axi_wdata;
      beat_tail = beat_tail + 1;
    end
    while (write_head != write_tail && beat_head != beat_tail) begin
      if (write_place[write_head] < BEATS) memory[write_place[write_head]] = beats[beat_head];
      else response = 2;
      beat_head = beat_head + 1;
      write_place[write_head] = write_place[write_head] + 1;
      write_left[write_head] = write_left[write_head] - 1;
      if (write_left[write_head] == 8'hff) begin
        answer[answer_tail] = response;
        answer_due[answer_tail] = cycle + LATENCY;
        answer_tail = answer_tail + 1;
        write_head = write_head + 1;
        response = 0;
      end
    end
    m_axi_bvalid <= answer_head != answer_tail && answer_due[answer_head] <= cycle + 1;
    m_axi_bresp <= answer[answer_head];
  end

  always @(posedge clk) if (!rst) begin
    if (m_axi_rvalid && m_axi_rready) begin
      read_place[read_head] = read_place[read_head] + 1;
      read_left[read_head] = read_left[read_head] - 1;
      if (m_axi_rlast) read_head = read_head + 1;
    end
    if (m_axi_arvalid) begin
      read_place[read_tail] = (m_axi_araddr - BASE) / BYTES;
      read_left[read_tail] = m_axi_arlen;
      read_due[read_tail] = cycle + LATENCY;
      read_tail = read_tail + 1;
    end
    m_axi_rvalid <= read_head != read_tail && read_due[read_head] <= cycle + 1;
    m_axi_rdata <= memory[read_place[read_head]];
    m_axi_rresp <= read_place[read_head] < BEATS ? 0 : 2;
    m_axi_rlast <= read_left[read_head] == 0;
  end

  task compare_outside(input [32+2*BUS_BITS-1:0] wanted);
    begin
      outside = outside + 1;
      if ((memory[wanted[32+2*BUS_BITS-1:2*BUS_BITS]] & wanted[2*BUS_BITS-1:BUS_BITS]) !== wanted[BUS_BITS-1:0]) begin
        if (differing < 10) $display("beat %0d outside must be %h, not %h", wanted[32+2*BUS_BITS-1:2*BUS_BITS], wanted[BUS_BITS-1:0],
                 memory[wanted[32+2*BUS_BITS-1:2*BUS_BITS]] & wanted[2*BUS_BITS-1:BUS_BITS]);
        differing = differing + 1;
      end
    end
  endtask
