    // Each input starts an inference.
    write_register(@REG_MODE@, 1);
    allowed = SENT;
    while (received < EXPECTED && cycle < LIMIT) @(negedge clk);
    value = 1;
    while (value[0] && cycle < LIMIT) read_register(@REG_STATUS@);
