/* Drives a simulated machine through the driver. Standard input and output are the machine's host (sim/harness.cpp);
   files: image, a damaged image, inputs and golden outputs (int16, native), all in the folder given, and their number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "twofold_network.h"

enum { RESET = 3, READ = 4, WRITE = 5, PUSH = 6, POLL = 7, TAKE = 8, FILL = 9, FETCH = 10 };

static const twofold_network network = TWOFOLD_NETWORK;

typedef struct {
    uint32_t *beats; /* where the frame that is waited for goes; NULL if none is */
    size_t count;
    uint32_t left, frames; /* at the last poll */
} streams;

static void fail(const char *what, long found)
{
    fprintf(stderr, "%s: %ld\n", what, found);
    exit(1);
}

static void expect(const char *what, long found, long right)
{
    if (found != right)
        fail(what, found);
}

static void tell(const uint32_t *words, size_t count)
{
    if (fwrite(words, sizeof *words, count, stdout) != count || fflush(stdout))
        fail("machine must listen", 0);
}

static uint32_t hear(void)
{
    uint32_t word;
    if (fread(&word, sizeof word, 1, stdin) != 1)
        fail("machine must answer", 0);
    return word;
}

static int read_register(void *context, uint32_t address, uint32_t *value)
{
    uint32_t words[2] = {READ, 0}, response;
    (void)context;
    words[1] = address;
    tell(words, 2);
    response = hear();
    *value = hear();
    return (int)response;
}

static int write_register(void *context, uint32_t address, uint32_t value)
{
    uint32_t words[3] = {WRITE, 0, 0};
    (void)context;
    words[1] = address;
    words[2] = value;
    tell(words, 3);
    return (int)hear();
}

static int send(void *context, const uint32_t *beats, size_t count)
{
    uint32_t words[2] = {PUSH, 0};
    (void)context;
    words[1] = (uint32_t)count;
    tell(words, 2);
    tell(beats, count);
    return 0;
}

static void poll(streams *now)
{
    const uint32_t word = POLL;
    tell(&word, 1);
    now->left = hear();
    now->frames = hear();
}

static int sent(void *context)
{
    poll(context);
    return ((streams *)context)->left == 0;
}

static int receive(void *context, uint32_t *beats, size_t count)
{
    streams *now = context;
    now->beats = beats;
    now->count = count;
    return 0;
}

static int received(void *context)
{
    const uint32_t word = TAKE;
    streams *now = context;
    uint32_t count, n;
    poll(now);
    if (!now->frames)
        return 0;
    tell(&word, 1);
    count = hear();
    for (n = 0; n < count; ++n) {
        uint32_t beat = hear();
        if (n < now->count)
            now->beats[n] = beat;
    }
    return count == now->count ? 1 : -1;
}

#ifdef TWOFOLD_REG_MEMORY
enum { MEMORY = 3 * 4096 };

static int fill(void *context, uint32_t byte, const uint32_t *content, size_t count)
{
    uint32_t words[3] = {FILL, 0, 0};
    (void)context;
    words[1] = MEMORY + byte;
    words[2] = (uint32_t)count * 4;
    tell(words, 3);
    tell(content, count);
    return 0;
}

static int fetch(void *context, uint32_t byte, uint32_t *content, size_t count)
{
    uint32_t words[3] = {FETCH, 0, 0};
    (void)context;
    words[1] = MEMORY + byte;
    words[2] = (uint32_t)count * 4;
    tell(words, 3);
    while (count--)
        *content++ = hear();
    return 0;
}
#endif

static unsigned waits;

static void count_wait(void *context)
{
    (void)context;
    ++waits;
}

/* A file of the folder as words of so many bytes. */
static void *load(const char *folder, const char *name, size_t size, size_t *count)
{
    char path[1000];
    FILE *file;
    void *words;
    long end;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (end = ftell(file)) < 0)
        fail(path, 0);
    rewind(file);
    words = malloc((size_t)end + 1);
    *count = (size_t)end / size;
    if (!words || fread(words, size, *count, file) != *count)
        fail(path, end);
    fclose(file);
    return words;
}

#ifdef TWOFOLD_REG_MEMORY
/* What lies outside, from the folder; the memory is as large as the network says. */
static void place(const twofold_bus *bus, const char *folder)
{
    size_t count;
    uint32_t *content = load(folder, "outside.bin", 4, &count);
    fill(bus->context, network.outside_bytes, NULL, 0);
    expect("place", twofold_place(bus, content, count), TWOFOLD_OK);
    free(content);
}

/* A memory elsewhere, and one where there is none; then it is where it was. */
static void misplace(const twofold_bus *bus, const uint32_t *input, uint32_t *output, const char *folder)
{
    twofold_bus odd = *bus;
    odd.memory += 64;
    expect("place within a page", twofold_place(&odd, input, 1), TWOFOLD_MEMORY);
    expect("register", write_register(bus->context, TWOFOLD_REG_MEMORY, 0x40000000u), 0);
    expect("no memory", twofold_run(bus, &network, input, output), TWOFOLD_ERROR_BUS);
    place(bus, folder);
}
#endif

static size_t integers(const twofold_tensor *tensor)
{
    return (size_t)tensor->channels * tensor->height * tensor->width;
}

int main(int argc, char **argv)
{
    static const uint32_t reset = RESET;
    streams now = {NULL, 0, 0, 0};
    twofold_bus bus = {&now, read_register, write_register, send, sent, receive, received,
#ifdef TWOFOLD_REG_MEMORY
                       MEMORY, fill, fetch,
#endif
                       count_wait, 100000};
    size_t image_count, damaged_count, input_count, expected_count, count, n, in, out, one = 0;
    twofold_tensor taller[] = {network.outputs[0]};
    twofold_network longer = network;
    uint32_t *image, *damaged, *input, *output, cycles, passes, value, head;
    int16_t *inputs, *expected, *y, *at;
    if (argc != 2)
        fail("one folder", argc);
    image = load(argv[1], "image.bin", 4, &image_count);
    damaged = load(argv[1], "damaged.bin", 4, &damaged_count);
    inputs = load(argv[1], "inputs", 2, &input_count);
    expected = load(argv[1], "expected", 2, &expected_count);
    for (head = 0; head < network.output_count; ++head)
        one += integers(&network.outputs[head]);
    ++taller[0].height;
    longer.outputs = taller;
    in = twofold_input_beats(&network);
    out = twofold_output_beats(&network);
    count = input_count / integers(&network.input);
    input = malloc(in * 4);
    output = malloc(out * 4);
    y = malloc(one * 2);
    if (!input || !output || !y)
        fail("memory", 0);

    expect("open", twofold_open(&bus), TWOFOLD_OK);
#ifdef TWOFOLD_REG_MEMORY
    place(&bus, argv[1]);
#endif
    expect("input", twofold_input(&network, inputs, input), TWOFOLD_OK);
    expect("run before load", twofold_run(&bus, &network, input, output), TWOFOLD_ERROR_NOT_LOADED);
    expect("damaged image", twofold_load(&bus, damaged, damaged_count), TWOFOLD_ERROR_CHECKSUM);
    expect("load", twofold_load(&bus, image, image_count), TWOFOLD_OK);
    for (n = 0; n < count; ++n) {
        expect("input", twofold_input(&network, inputs + n * integers(&network.input), input), TWOFOLD_OK);
        if (n == count / 2 && !network.input.outside) {
            input[in - 2] ^= 1u;
            expect("damaged input", twofold_run(&bus, &network, input, output), TWOFOLD_ERROR_SECTION);
            input[in - 2] ^= 1u;
            input[in - 1] ^= 1u;
            expect("damaged input", twofold_run(&bus, &network, input, output), TWOFOLD_ERROR_CHECKSUM);
            input[in - 1] ^= 1u;
            input[1] ^= 1u;
            expect("input of another build", twofold_run(&bus, &network, input, output), TWOFOLD_ERROR_BUILD);
            input[1] ^= 1u;
        }
#ifdef TWOFOLD_REG_MEMORY
        if (n == count / 2)
            misplace(&bus, input, output, argv[1]);
#endif
        expect("run", twofold_run(&bus, &network, input, output), TWOFOLD_OK);
        for (head = 0, at = y; head < network.output_count; at += integers(&network.outputs[head++]))
            twofold_output(&network, head, output, at);
        if (memcmp(y, expected + n * one, one * sizeof *y))
            fail("output must be golden's", (long)n);
        expect("counters", twofold_counters(&bus, &cycles, &passes), TWOFOLD_OK);
        expect("cycles", (long)cycles, (long)network.cycles);
        expect("passes", (long)passes, (long)network.passes);
    }
    if (waits < count)
        fail("waits", (long)waits);

    inputs[0] = 300;
    expect("value", twofold_input(&network, inputs, input), TWOFOLD_VALUE);
    if (!network.outputs[0].outside)
        expect("frame of another length", twofold_run(&bus, &longer, input, output), TWOFOLD_BUS);
    bus.polls = 1;
#ifdef TWOFOLD_REG_MEMORY
    expect("no time", twofold_run(&bus, &network, input, output), TWOFOLD_TIMEOUT);
#else
    expect("no time", twofold_load(&bus, image, image_count), TWOFOLD_TIMEOUT);
#endif
    tell(&reset, 1);
    bus.polls = 100000;
    expect("unknown register", read_register(&now, TWOFOLD_REG_CONTROL, &value), 2);
    expect("open again", twofold_open(&bus), TWOFOLD_OK);
#ifdef TWOFOLD_REG_MEMORY
    place(&bus, argv[1]);
#endif
    expect("load again", twofold_load(&bus, image, image_count), TWOFOLD_OK);
    expect("run again", twofold_run(&bus, &network, input, output), TWOFOLD_OK);
    fprintf(stderr, "%lu images, %s, %s\n", (unsigned long)count, twofold_text(TWOFOLD_ERROR_CHECKSUM),
            twofold_text(TWOFOLD_TIMEOUT));
    return 0;
}
