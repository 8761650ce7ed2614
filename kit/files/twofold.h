/* Driver of the machine in twofold_machine.h: C99, no library but memory for what the caller gives it. */
#ifndef TWOFOLD_H
#define TWOFOLD_H

#include <stddef.h>
#include <stdint.h>

#include "twofold_machine.h"

/* Results: 0, one of the machine's own errors (TWOFOLD_ERROR_..., above 0), or one of these. */
#define TWOFOLD_OK 0
#define TWOFOLD_BUS (-1)     /* the bus refused an access, or a stream failed */
#define TWOFOLD_TIMEOUT (-2) /* as many polls as the bus allows went by; reset machine and streams, then open again */
#define TWOFOLD_ID (-3)      /* no machine at that address */
#define TWOFOLD_VERSION (-4) /* a machine of another version */
#define TWOFOLD_BUILD (-5)   /* a machine of another build */
#define TWOFOLD_VALUE (-6)   /* an activation beyond its number format */
#define TWOFOLD_MEMORY (-7)  /* the memory outside does not begin at a multiple of 4096 */

/* How the driver reaches a machine. What returns an int says 0, or anything else for a failure, if nothing else is
   said here. */
typedef struct {
    void *context; /* given to each of these */
    /* Registers of 32 bits, byte addresses from the machine's own 0 on. A failure: the access was refused (SLVERR). */
    int (*read)(void *context, uint32_t address, uint32_t *value);
    int (*write)(void *context, uint32_t address, uint32_t value);
    /* Begin to send a frame, TLAST on its last beat. The beats stay as they are until it is sent. */
    int (*send)(void *context, const uint32_t *beats, size_t count);
    /* 1 if that frame has been sent, 0 if not yet, below 0 for a failure. */
    int (*sent)(void *context);
    /* Begin to receive a frame of that many beats; one that was begun before and has not come is given up. */
    int (*receive)(void *context, uint32_t *beats, size_t count);
    /* 1 if that frame has come, 0 if not yet, below 0 for a failure, such as a frame of another length. */
    int (*received)(void *context);
#ifdef TWOFOLD_REG_MEMORY
    /* The memory outside: as many bytes as the network says (outside_bytes), which the machine's AXI4 master reaches from
       this address on, a multiple of 4096. */
    uint32_t memory;
    /* Copy words into it, or out of it, from a byte on; a word's low byte comes first. Behind fill the machine reads what
       was written: it waits for the writes, and cleans the caches that the machine does not look into. Behind the end of
       an inference fetch gives what the machine wrote: it drops what such caches hold of those bytes before. */
    int (*fill)(void *context, uint32_t byte, const uint32_t *words, size_t count);
    int (*fetch)(void *context, uint32_t byte, uint32_t *words, size_t count);
#endif
    /* Called between two polls, or NULL. */
    void (*wait)(void *context);
    uint32_t polls; /* after so many polls an answer is overdue */
} twofold_bus;

/* A tensor of channels x height x width integers and its first line in feature memory, or its first beat outside. */
typedef struct {
    uint32_t channels, height, width;
    uint32_t bits;
    int is_signed;
    uint32_t address;
    int outside;
} twofold_tensor;

/* How an input lies there: channel (c*kernel[0] + ky)*kernel[1] + kx of position (i, j) is the input's channel c at
   (i*stride[0] - padding[0] + ky*dilation[0], j*stride[1] - padding[1] + kx*dilation[1]), 0 where that is outside. */
typedef struct {
    uint32_t kernel[2], stride[2], dilation[2], size[2];
    int32_t padding[2];
} twofold_layout;

/* What a network expects and gives: TWOFOLD_NETWORK of twofold_network.h initialises one. */
typedef struct {
    twofold_tensor input;
    twofold_layout layout;         /* of the input */
    const twofold_tensor *outputs; /* a frame each, in order, but for those that lie outside */
    uint32_t output_count;
    uint32_t cycles, passes; /* of an inference, predicted */
    uint32_t outside_bytes;  /* of the memory outside; 0 for a machine without one */
} twofold_network;

/* Looks whether this build's machine is there, clears its error and lets input frames start inferences. */
int twofold_open(const twofold_bus *bus);

/* Loads an image (image.bin: 32-bit beats, little-endian). */
int twofold_load(const twofold_bus *bus, const uint32_t *image, size_t count);

#ifdef TWOFOLD_REG_MEMORY
/* Writes outside.bin (32-bit words, little-endian) into the memory outside and tells the machine where that is: once for
   each network, before it runs. Inputs, outputs and what lies between are kept behind it. */
int twofold_place(const twofold_bus *bus, const uint32_t *content, size_t count);

/* Cycles of the last inference in which the array waited for the memory outside. */
int twofold_stalls(const twofold_bus *bus, uint32_t *stalls);
#endif

/* Beats of an input frame, and of all output frames of an inference together; of a tensor that lies outside, its words
   of 32 bits there. */
size_t twofold_input_beats(const twofold_network *network);
size_t twofold_output_beats(const twofold_network *network);

/* Makes the frame of an input, x[channel][row][column]; of one that lies outside, its words there. */
int twofold_input(const twofold_network *network, const int16_t *x, uint32_t *beats);

/* Sends an input frame, waits for the inference to end and receives its output frames, one behind the other; tensors
   that lie outside are written and read there instead. An error of the machine leaves it ready for the next call. Where
   every output lies outside and the input does not, `sent` says that the machine has the frame: nothing else does. */
int twofold_run(const twofold_bus *bus, const twofold_network *network, const uint32_t *input, uint32_t *output);

/* Reads the output tensor of a number, from 0 on, y[channel][row][column], out of these frames. */
void twofold_output(const twofold_network *network, uint32_t number, const uint32_t *beats, int16_t *y);

/* Cycles and passes of the last inference. */
int twofold_counters(const twofold_bus *bus, uint32_t *cycles, uint32_t *passes);

/* What a result says, in English. */
const char *twofold_text(int result);

#endif
