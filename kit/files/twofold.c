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

#ifdef TWOFOLD_REG_MEMORY
int twofold_place(const twofold_bus *bus, const uint32_t *content, size_t count)
{
    if (bus->memory != PLACED(FIELD(bus->memory, TWOFOLD_MEMORY_PAGE), TWOFOLD_MEMORY_PAGE))
        return TWOFOLD_MEMORY;
    if (bus->fill(bus->context, 0, content, count))
        return TWOFOLD_BUS;
    return write_register(bus, TWOFOLD_REG_MEMORY, bus->memory);
}

int twofold_stalls(const twofold_bus *bus, uint32_t *stalls)
{
    return read_register(bus, TWOFOLD_REG_STALLS, stalls);
}

/* First byte of a tensor that lies outside. */
static uint32_t outside_byte(const twofold_tensor *tensor)
{
    return tensor->address * (TWOFOLD_BUS_BITS / 8u);
}

/* Beats that a line of a tensor takes in a frame, or words outside. */
static size_t line_beats(const twofold_tensor *tensor)
{
    return tensor->outside ? TWOFOLD_OUTSIDE_LINE_WORDS : TWOFOLD_FEATURE_BEATS;
}

static int write_outside(const twofold_bus *bus, const twofold_tensor *tensor, const uint32_t *words, size_t count)
{
    if (bus->fill(bus->context, outside_byte(tensor), words, count))
        return TWOFOLD_BUS;
    return write_register(bus, TWOFOLD_REG_CONTROL, PLACED(1, TWOFOLD_CONTROL_START));
}

static int read_outside(const twofold_bus *bus, const twofold_tensor *tensor, uint32_t *words, size_t count)
{
    return bus->fetch(bus->context, outside_byte(tensor), words, count) ? TWOFOLD_BUS : TWOFOLD_OK;
}
#else
#define line_beats(tensor) ((size_t)TWOFOLD_FEATURE_BEATS)
#define write_outside(bus, tensor, words, count) TWOFOLD_BUS
#define read_outside(bus, tensor, words, count) ((void)(bus), TWOFOLD_BUS)
#endif

static size_t lines(uint32_t channels, uint32_t height, uint32_t width)
{
    return (size_t)((channels + TWOFOLD_ROWS - 1) / TWOFOLD_ROWS) * height * width;
}

static uint32_t stored_channels(const twofold_network *network)
{
    return network->input.channels * network->layout.kernel[0] * network->layout.kernel[1];
}

static size_t input_words(const twofold_network *network)
{
    return lines(stored_channels(network), network->layout.size[0], network->layout.size[1]) *
           line_beats(&network->input);
}

size_t twofold_input_beats(const twofold_network *network)
{
    return input_words(network) + (network->input.outside ? 0 : HEAD + TAIL);
}

static size_t output_words(const twofold_tensor *output)
{
    return lines(output->channels, output->height, output->width) * line_beats(output);
}

size_t twofold_output_beats(const twofold_network *network)
{
    size_t count = 0;
    uint32_t n;
    for (n = 0; n < network->output_count; ++n)
        count += output_words(&network->outputs[n]);
    return count;
}

/* Where output frames go: the number of the one that is waited for, and its place. */
typedef struct {
    uint32_t number;
    uint32_t *place;
} arrivals;

/* Goes on to the next output that comes as a frame, and begins to receive it. */
static int begin_frame(const twofold_bus *bus, const twofold_network *network, arrivals *next)
{
    while (next->number < network->output_count && network->outputs[next->number].outside)
        next->place += output_words(&network->outputs[next->number++]);
    if (next->number == network->output_count)
        return TWOFOLD_OK;
    return bus->receive(bus->context, next->place, output_words(&network->outputs[next->number])) ? TWOFOLD_BUS
                                                                                                  : TWOFOLD_OK;
}

/* Looks whether the output frame that is waited for has come, and goes on to the next one. */
static int next_frame(const twofold_bus *bus, const twofold_network *network, arrivals *next)
{
    int received = bus->received(bus->context);
    if (received < 0)
        return TWOFOLD_BUS;
    if (!received)
        return TWOFOLD_OK;
    next->place += output_words(&network->outputs[next->number++]);
    return begin_frame(bus, network, next);
}

static int send_input(const twofold_bus *bus, const twofold_network *network, const uint32_t *input)
{
    size_t count = twofold_input_beats(network);
    if (network->input.outside)
        return write_outside(bus, &network->input, input, count);
    return bus->send(bus->context, input, count) ? TWOFOLD_BUS : TWOFOLD_OK;
}

/* Reads the outputs that lie outside. */
static int fetch_outputs(const twofold_bus *bus, const twofold_network *network, uint32_t *output)
{
    uint32_t n;
    for (n = 0; n < network->output_count; output += output_words(&network->outputs[n++]))
        if (network->outputs[n].outside &&
            read_outside(bus, &network->outputs[n], output, output_words(&network->outputs[n])))
            return TWOFOLD_BUS;
    return TWOFOLD_OK;
}

int twofold_run(const twofold_bus *bus, const twofold_network *network, const uint32_t *input, uint32_t *output)
{
    uint32_t status, polls = 0;
    arrivals next = {0, NULL};
    int sent = network->input.outside, result = clear_error(bus);
    next.place = output;
    if (!result)
        result = begin_frame(bus, network, &next);
    if (!result)
        result = send_input(bus, network, input);
    if (result)
        return result;
    do {
        if (!sent && (sent = bus->sent(bus->context)) < 0)
            return TWOFOLD_BUS;
        if (next.number < network->output_count && next_frame(bus, network, &next))
            return TWOFOLD_BUS;
        result = status_error(bus, &status);
        if (result < 0 || (sent && result))
            return result;
        if (sent && next.number == network->output_count && !FIELD(status, TWOFOLD_STATUS_BUSY))
            return fetch_outputs(bus, network, output);
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

/* Makes a frame around so many beats of lines. */
static void frame(uint32_t *beats, uint32_t address, size_t count)
{
    uint32_t *end = beats + HEAD + count;
    beats[0] = TWOFOLD_FRAME_MAGIC;
    beats[1] = TWOFOLD_BUILD_VALUE;
    beats[2] = PLACED(TWOFOLD_SECTION_FEATURE, TWOFOLD_HEADER_KIND) |
               PLACED(count / TWOFOLD_FEATURE_BEATS, TWOFOLD_HEADER_COUNT);
    beats[3] = address;
    end[0] = PLACED(TWOFOLD_SECTION_END, TWOFOLD_HEADER_KIND);
    end[1] = checksum(beats, HEAD + count + TAIL - 1);
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
    size_t count = input_words(network), step = line_beats(&network->input), positions = (size_t)height * width, n;
    uint32_t *line = beats + (network->input.outside ? 0 : HEAD), channel, i, j;
    if (!in_range(&network->input, x))
        return TWOFOLD_VALUE;
    for (n = 0; n < count; ++n)
        line[n] = 0;
    for (channel = 0; channel < channels; ++channel)
        for (i = 0; i < height; ++i)
            for (j = 0; j < width; ++j) {
                n = channel / TWOFOLD_ROWS * positions + (size_t)i * width + j;
                put_lane(line + n * step, channel % TWOFOLD_ROWS, stored(network, x, channel, i, j));
            }
    if (!network->input.outside)
        frame(beats, network->input.address, count);
    return TWOFOLD_OK;
}

void twofold_output(const twofold_network *network, uint32_t number, const uint32_t *beats, int16_t *y)
{
    const twofold_tensor *output = &network->outputs[number];
    size_t positions = (size_t)output->height * output->width, n;
    uint32_t channel, value, before;
    for (before = 0; before < number; ++before)
        beats += output_words(&network->outputs[before]);
    for (channel = 0; channel < output->channels; ++channel)
        for (n = 0; n < positions; ++n) {
            size_t line = channel / TWOFOLD_ROWS * positions + n;
            value = get_lane(beats + line * line_beats(output), channel % TWOFOLD_ROWS);
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
                                      "a machine of another build", "an activation beyond its number format",
                                      "a memory outside that does not begin at a multiple of 4096"};
    static const char *const machine[] = TWOFOLD_ERROR_TEXTS;
    if (result <= 0)
        return -result < (int)(sizeof own / sizeof *own) ? own[-result] : "unknown result";
    return result < (int)(sizeof machine / sizeof *machine) ? machine[result] : "unknown error of the machine";
}
