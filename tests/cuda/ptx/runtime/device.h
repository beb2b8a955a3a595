/* The emulated device as a translated kernel sees it: threads, blocks and the launch. */
#ifndef PTX_DEVICE_H
#define PTX_DEVICE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* What a thread does or waits for. */
enum { RUNNING, AT_BARRIER, AT_PRODUCT, AT_GRID_BARRIER, ENDED };

/* What may be wrong; the order is that of PROBLEMS in compiled.py. */
enum {
    OUT_OF_BOUNDS,
    MISALIGNED,
    UNWRITTEN_SHARED,
    UNWRITTEN_GLOBAL,
    RACE,
    RACE_OF_ONE_VALUE,
    BARRIER_DIVERGENCE,
    WARP_DIVERGENCE,
    DEADLOCK,
    BARRIER_AFTER_EXIT,
    DIVISION_BY_ZERO,
    GRID_BARRIER
};

/* Intervals between barriers have numbers that never come again: of the grid, and of each block.  Who came to a place
 * last in some way, and in which intervals. */
typedef struct {
    uint32_t grid, block, thread, line;
    uint8_t many, blocks; /* others of the block in its interval, other blocks in that of the grid */
    uint8_t equal;        /* of stores: all in the interval of the grid were of what was there */
} Access;
typedef struct {
    Access store, load, atomic;
    uint32_t bytes; /* interval of the grid, or of the block, in which single bytes of the word were touched */
} Shadow;

typedef struct Block {
    uint8_t *shared, *state; /* memory and the state of each byte: see memory.h */
    Shadow *words, *bytes;
    uint32_t index[3], interval, first_thread, n_threads;
} Block;

typedef struct Thread {
    void *stack_pointer, *stack;
    Block *block;
    uint32_t index[3], number_in_block, number;
    int waits, line, barrier;
    uint32_t given[10], made[4]; /* of an instruction of the warp */
    uint64_t executed;
} Thread;

typedef struct {
    uint32_t grid[3], block[3], interval, shared_size;
    const uint8_t *parameters;
    int cooperative;
    uint8_t *state; /* of the global memory */
    Shadow *words, *bytes;
} Launch;

extern Launch launch;
extern int off_by; /* units in the last place by which approximations are off */

/* Note a problem at a line, with another line that has to do with it or 0. */
void report(int problem, const Thread *t, int line, int other_line, uint64_t address);

/* Lines of the kernel with accesses or barriers that some thread came to. */
#define MOST_LINES (1 << 17)
extern uint8_t lines_reached[MOST_LINES];

/* Accesses of shared memory by the first warp of the first block, where somebody asks for them (traced is not NULL): those
 * of vectors once, at their beginnings. */
typedef struct {
    uint32_t line, thread, address, size;
} Traced;
extern Traced *traced;
extern int64_t n_traced, most_traced;

/* End a thread that has gone on for so long that it will not end by itself. */
#define MOST_EXECUTED (1ULL << 28)
void give_up(Thread *t, int line);

/* Leave the thread until what it waits for has happened. */
void wait_for(Thread *t, int what, int line);

static inline void begin_grid_barrier(const Thread *t, uint64_t group, int line) {
    if (!launch.cooperative || group != 1) report(GRID_BARRIER, t, line, 0, group);
}

#include "memory.h"
#include "numbers.h"

#endif
