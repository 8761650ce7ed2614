    $readmemh("outside.mem", memory, 0, CONTENT - 1);
    if (INPUT_BEATS > 0) $readmemh("inputs.mem", inputs);
    if (OUTPUT_BEATS > 0) $readmemh("outside_expected.mem", outside_expected);
    write_register(@REG_MEMORY@, BASE);
    // Each input frame starts an inference; for an input that lies outside CONTROL does.
    write_register(@REG_MODE@, 1);
    allowed = IMAGE_BEATS;
    while ((sent < allowed || s_axis_tvalid) && cycle < LIMIT) @(negedge clk);
    for (n = 0; n < INPUTS && cycle < LIMIT; n = n + 1) begin
      if (INPUT_BEATS > 0) begin
        for (k = 0; k < INPUT_BEATS; k = k + 1) memory[INPUT_PLACE + k] = inputs[n * INPUT_BEATS + k];
        write_register(@REG_CONTROL@, 1);
      end else begin
        allowed = allowed + (SENT - IMAGE_BEATS) / INPUTS;
        while ((sent < allowed || s_axis_tvalid) && cycle < LIMIT) @(negedge clk);
      end
      while (received < EXPECTED / INPUTS * (n + 1) && cycle < LIMIT) @(negedge clk);
      value = 1;
      while (value[0] && cycle < LIMIT) read_register(@REG_STATUS@);
      for (k = 0; k < OUTPUT_BEATS; k = k + 1) compare_outside(outside_expected[n * OUTPUT_BEATS + k]);
    end
