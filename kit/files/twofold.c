/* Driver of the machine in twofold_machine.h; twofold.h says what each function does. */
#include "twofold.h"

/* A field of a register or header. */
#define FIELD(value, name) ((uint32_t)(value) >> name##_SHIFT & name##_MASK)
#define PLACED(value, name) (((uint32_t)(value)&name##_MASK) << name##_SHIFT)

#define BEAT_BITS 32u
/* Beats of a frame before its first line and after its last: magic, build, header, address; END and its checksum. */
#define HEAD 4u
#define TAIL 2u

static int read_register(const twofold_bus *bus, uint32_t address, uint32_t *value)
{
    return bus->read(bus->context, address, value) ? TWOFOLD_BUS : TWOFOLD_OK;
}

static int write_register(const twofold_bus *bus, uint32_t address, uint32_t value)
{
    return bus->write(bus->context, address, value) ? TWOFOLD_BUS : TWOFOLD_OK;
}

static int clear_error(const twofold_bus *bus)
{
    return write_register(bus, TWOFOLD_REG_CONTROL, PLACED(1, TWOFOLD_CONTROL_CLEAR));
}

static int expect(const twofold_bus *bus, uint32_t address, uint32_t expected, int otherwise)
{
    uint32_t value;
    int result = read_register(bus, address, &value);
    return result ? result : value == expected ? TWOFOLD_OK : otherwise;
}

int twofold_open(const twofold_bus *bus)
{
    int result = expect(bus, TWOFOLD_REG_ID, TWOFOLD_ID_VALUE, TWOFOLD_ID);
    if (!result)
        result = expect(bus, TWOFOLD_REG_VERSION, TWOFOLD_VERSION_VALUE, TWOFOLD_VERSION);
    if (!result)
        result = expect(bus, TWOFOLD_REG_BUILD, TWOFOLD_BUILD_VALUE, TWOFOLD_BUILD);
    if (!result)
        result = clear_error(bus);
    if (!result)
        result = write_register(bus, TWOFOLD_REG_MODE, PLACED(1, TWOFOLD_MODE_AUTOMATIC));
    return result;
}

/* Whether there is time for a further poll; it passes. */
static int more_time(const twofold_bus *bus, uint32_t *polls)
{
    if (*polls >= bus->polls)
        return 0;
    ++*polls;
    if (bus->wait)
        bus->wait(bus->context);
    return 1;
}

/* The machine's error, 0 if there is none, or the bus's failure. */
static int status_error(const twofold_bus *bus, uint32_t *status)
{
    int result = read_register(bus, TWOFOLD_REG_STATUS, status);
    return result ? result : (int)FIELD(*status, TWOFOLD_STATUS_ERROR);
}

int twofold_load(const twofold_bus *bus, const uint32_t *image, size_t count)
{
    uint32_t status, polls = 0;
    int sent = 0, result = clear_error(bus);
    if (result)
        return result;
    if (bus->send(bus->context, image, count))
        return TWOFOLD_BUS;
    do {
        if (!sent && (sent = bus->sent(bus->context)) < 0)
            return TWOFOLD_BUS;
        result = status_error(bus, &status);
        /* What is left of a refused frame is dropped, but it has to come in. */
        if (sent && (result || FIELD(status, TWOFOLD_STATUS_LOADED)))
            return result;
        if (result < 0)
            return result;
    } while (more_time(bus, &polls));
    return TWOFOLD_TIMEOUT;
}

int twofold_counters(const twofold_bus *bus, uint32_t *cycles, uint32_t *passes)
{
    int result = read_register(bus, TWOFOLD_REG_CYCLES, cycles);
    return result ? result : read_register(bus, TWOFOLD_REG_PASSES, passes);
}

static size_t lines(uint32_t channels, uint32_t height, uint32_t width)
{
    return (size_t)((channels + TWOFOLD_ROWS - 1) / TWOFOLD_ROWS) * height * width;
}

static uint32_t stored_channels(const twofold_network *network)
{
    return network->input.channels * network->layout.kernel[0] * network->layout.kernel[1];
}

static size_t input_lines(const twofold_network *network)
{
    return lines(stored_channels(network), network->layout.size[0], network->layout.size[1]);
}

size_t twofold_input_beats(const twofold_network *network)
{
    return HEAD + input_lines(network) * TWOFOLD_FEATURE_BEATS + TAIL;
}

static size_t frame_beats(const twofold_tensor *output)
{
    return lines(output->channels, output->height, output->width) * TWOFOLD_FEATURE_BEATS;
}

size_t twofold_output_beats(const twofold_network *network)
{
    size_t count = 0;
    uint32_t n;
    for (n = 0; n < network->output_count; ++n)
        count += frame_beats(&network->outputs[n]);
    return count;
}

/* Looks whether the output frame that is waited for has come, and begins to receive the next one: below 0 for a
   failure. */
static int next_frame(const twofold_bus *bus, const twofold_network *network, uint32_t *number, uint32_t **output)
{
    int received = bus->received(bus->context);
    if (received < 0)
        return TWOFOLD_BUS;
    if (!received)
        return TWOFOLD_OK;
    *output += frame_beats(&network->outputs[*number]);
    if (++*number == network->output_count)
        return TWOFOLD_OK;
    return bus->receive(bus->context, *output, frame_beats(&network->outputs[*number])) ? TWOFOLD_BUS : TWOFOLD_OK;
}

int twofold_run(const twofold_bus *bus, const twofold_network *network, const uint32_t *input, uint32_t *output)
{
    uint32_t status, polls = 0, number = 0;
    int sent = 0, result = clear_error(bus);
    if (result)
        return result;
    if (bus->receive(bus->context, output, frame_beats(&network->outputs[0])) ||
        bus->send(bus->context, input, twofold_input_beats(network)))
        return TWOFOLD_BUS;
    do {
        if (!sent && (sent = bus->sent(bus->context)) < 0)
            return TWOFOLD_BUS;
        if (number < network->output_count && next_frame(bus, network, &number, &output))
            return TWOFOLD_BUS;
        result = status_error(bus, &status);
        if (result < 0 || (sent && result))
            return result;
        if (sent && number == network->output_count && !FIELD(status, TWOFOLD_STATUS_BUSY))
            return TWOFOLD_OK;
    } while (more_time(bus, &polls));
    return TWOFOLD_TIMEOUT;
}

static uint32_t checksum(const uint32_t *beats, size_t count)
{
    static const uint32_t table[16] = TWOFOLD_CRC_NIBBLES;
    uint32_t crc = 0xFFFFFFFFu;
    unsigned nibble;
    size_t n;
    for (n = 0; n < count; ++n) {
        crc ^= beats[n];
        for (nibble = 0; nibble < BEAT_BITS / 4; ++nibble)
            crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

/* Puts an activation into a lane of a line of zeros. */
static void put_lane(uint32_t *line, uint32_t lane, int32_t value)
{
    uint32_t at = lane * TWOFOLD_ACT_BITS, low = at % BEAT_BITS;
    uint32_t bits = (uint32_t)value & ((1u << TWOFOLD_ACT_BITS) - 1u);
    line[at / BEAT_BITS] |= bits << low;
    if (low + TWOFOLD_ACT_BITS > BEAT_BITS)
        line[at / BEAT_BITS + 1] |= bits >> (BEAT_BITS - low);
}

static uint32_t get_lane(const uint32_t *line, uint32_t lane)
{
    uint32_t at = lane * TWOFOLD_ACT_BITS, low = at % BEAT_BITS;
    uint32_t bits = line[at / BEAT_BITS] >> low;
    if (low + TWOFOLD_ACT_BITS > BEAT_BITS)
        bits |= line[at / BEAT_BITS + 1] << (BEAT_BITS - low);
    return bits & ((1u << TWOFOLD_ACT_BITS) - 1u);
}

/* What lies at position (i, j) of a channel of the stored input. */
static int32_t stored(const twofold_network *network, const int16_t *x, uint32_t channel, uint32_t i, uint32_t j)
{
    const twofold_layout *layout = &network->layout;
    const twofold_tensor *input = &network->input;
    uint32_t taps = layout->kernel[0] * layout->kernel[1];
    uint32_t tap = channel % taps, ky = tap / layout->kernel[1], kx = tap % layout->kernel[1];
    int64_t row = (int64_t)i * layout->stride[0] - layout->padding[0] + (int64_t)ky * layout->dilation[0];
    int64_t column = (int64_t)j * layout->stride[1] - layout->padding[1] + (int64_t)kx * layout->dilation[1];
    if (row < 0 || row >= (int64_t)input->height || column < 0 || column >= (int64_t)input->width)
        return 0;
    return x[((size_t)(channel / taps) * input->height + (size_t)row) * input->width + (size_t)column];
}

static int in_range(const twofold_tensor *tensor, const int16_t *x)
{
    int32_t high = (1 << (tensor->bits - (tensor->is_signed ? 1u : 0u))) - 1, low = tensor->is_signed ? -high - 1 : 0;
    size_t n, count = (size_t)tensor->channels * tensor->height * tensor->width;
    for (n = 0; n < count; ++n)
        if (x[n] < low || x[n] > high)
            return 0;
    return 1;
}

int twofold_input(const twofold_network *network, const int16_t *x, uint32_t *beats)
{
    uint32_t channels = stored_channels(network), height = network->layout.size[0], width = network->layout.size[1];
    size_t count = input_lines(network), positions = (size_t)height * width, n;
    uint32_t *line = beats + HEAD, channel, i, j;
    if (!in_range(&network->input, x))
        return TWOFOLD_VALUE;
    beats[0] = TWOFOLD_FRAME_MAGIC;
    beats[1] = TWOFOLD_BUILD_VALUE;
    beats[2] = PLACED(TWOFOLD_SECTION_FEATURE, TWOFOLD_HEADER_KIND) | PLACED(count, TWOFOLD_HEADER_COUNT);
    beats[3] = network->input.address;
    for (n = 0; n < count * TWOFOLD_FEATURE_BEATS; ++n)
        line[n] = 0;
    for (channel = 0; channel < channels; ++channel)
        for (i = 0; i < height; ++i)
            for (j = 0; j < width; ++j) {
                n = channel / TWOFOLD_ROWS * positions + (size_t)i * width + j;
                put_lane(line + n * TWOFOLD_FEATURE_BEATS, channel % TWOFOLD_ROWS, stored(network, x, channel, i, j));
            }
    line += count * TWOFOLD_FEATURE_BEATS;
    line[0] = PLACED(TWOFOLD_SECTION_END, TWOFOLD_HEADER_KIND);
    line[1] = checksum(beats, twofold_input_beats(network) - 1);
    return TWOFOLD_OK;
}

void twofold_output(const twofold_network *network, uint32_t number, const uint32_t *beats, int16_t *y)
{
    const twofold_tensor *output = &network->outputs[number];
    size_t positions = (size_t)output->height * output->width, n;
    uint32_t channel, value, before;
    for (before = 0; before < number; ++before)
        beats += frame_beats(&network->outputs[before]);
    for (channel = 0; channel < output->channels; ++channel)
        for (n = 0; n < positions; ++n) {
            size_t line = channel / TWOFOLD_ROWS * positions + n;
            value = get_lane(beats + line * TWOFOLD_FEATURE_BEATS, channel % TWOFOLD_ROWS);
            if (output->is_signed && value >> (TWOFOLD_ACT_BITS - 1u))
                y[channel * positions + n] = (int16_t)((int32_t)value - (1 << TWOFOLD_ACT_BITS));
            else
                y[channel * positions + n] = (int16_t)value;
        }
}

const char *twofold_text(int result)
{
    static const char *const own[] = {"no error", "the bus refused an access", "no answer in time",
                                      "no machine at that address", "a machine of another version",
                                      "a machine of another build", "an activation beyond its number format"};
    static const char *const machine[] = TWOFOLD_ERROR_TEXTS;
    if (result <= 0)
        return -result < (int)(sizeof own / sizeof *own) ? own[-result] : "unknown result";
    return result < (int)(sizeof machine / sizeof *machine) ? machine[result] : "unknown error of the machine";
}
