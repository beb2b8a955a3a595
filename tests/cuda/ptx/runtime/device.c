/* Running a launch: blocks one after another, or all of them in turns where they may wait for each other. */
#define _GNU_SOURCE
#include "device.h"

#include <stdlib.h>
#include <sys/mman.h>

Launch launch;
int off_by;
Traced *traced;
int64_t n_traced, most_traced;
uint8_t lines_reached[MOST_LINES];

static Thread *running;
static void *scheduler_stack_pointer;
static void (*kernel_of_launch)(Thread *);
static uint32_t last_interval; /* of grids and blocks */

/* -- problems ------------------------------------------------------------------------------------------------------ */

#define MOST_PROBLEMS 4096
typedef struct {
    int problem, line, other_line, count;
    uint32_t thread, block;
    uint64_t address;
} Problem;
Problem problems[MOST_PROBLEMS];
int n_problems;

void report(int problem, const Thread *t, int line, int other_line, uint64_t address) {
    for (Problem *p = problems; p < problems + n_problems; p++)
        if (p->problem == problem && p->line == line && p->other_line == other_line) {
            p->count++;
            return;
        }
    if (n_problems < MOST_PROBLEMS)
        problems[n_problems++] = (Problem){problem, line, other_line, 1, t->number_in_block, t->block->index[0], address};
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

static void *mapped(uint64_t address, size_t size) {
    const int fixed = address ? MAP_FIXED_NOREPLACE : 0;
    void *at = mmap((void *)address, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    return at == MAP_FAILED ? 0 : at;
}

/* Reserve the global memory and what is kept of it; pages come when they are touched.  0, or 1 if there is no room. */
int begin_device(void) {
    launch.state = mapped(0, ARENA_SIZE);
    launch.words = mapped(0, ARENA_SIZE / 4 * sizeof(Shadow));
    launch.bytes = mapped(0, ARENA_SIZE * sizeof(Shadow));
    return !(mapped(ARENA, ARENA_SIZE) && launch.state && launch.words && launch.bytes);
}

void set_state(uint64_t address, uint64_t size, int state) { memset(launch.state + (address - ARENA), state, size); }

/* Copy values and what is known of them. */
void copy_on_device(uint64_t to, uint64_t from, uint64_t size) {
    memmove((void *)to, (const void *)from, size);
    memmove(launch.state + (to - ARENA), launch.state + (from - ARENA), size);
}

/* The first byte of some that has no value yet, or -1. */
int64_t first_unwritten(uint64_t address, uint64_t size) {
    for (uint64_t k = 0; k < size; k++)
        if (launch.state[address - ARENA + k] != WRITTEN) return (int64_t)k;
    return -1;
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

#define STACK (256 << 10)

/* Keep what a function must keep on the stack, change stacks, and go on where the other one was left. */
void change_stack(void **left, void *next);
__asm__(".globl change_stack\nchange_stack:\n"
        "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

void wait_for(Thread *t, int what, int line) {
    t->waits = what, t->line = line;
    if (line < MOST_LINES) lines_reached[line] = 1;
    change_stack(&t->stack_pointer, scheduler_stack_pointer);
}

void give_up(Thread *t, int line) {
    report(DEADLOCK, t, line, 0, 0);
    wait_for(t, ENDED, line);
}

static void run_thread(void) {
    kernel_of_launch(running);
    wait_for(running, ENDED, 0);
    abort();
}

static void begin_thread(Thread *t, Block *block, uint32_t number) {
    const uint32_t *size = launch.block;
    t->block = block, t->number_in_block = number, t->number = block->first_thread + number;
    t->index[0] = number % size[0], t->index[1] = number / size[0] % size[1], t->index[2] = number / size[0] / size[1];
    t->waits = RUNNING, t->line = 0, t->executed = 0;
    void **top = (void **)((char *)t->stack + STACK) - 2; /* as a call would leave it: 8 bytes off a multiple of 16 */
    *top = (void *)run_thread;
    t->stack_pointer = top - 6;
}

static uint64_t random_state;
static uint32_t random_below(uint32_t n) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20) % n;
}

/* -- warps --------------------------------------------------------------------------------------------------------- */

/* mma.m16n8k32 of unsigned bytes: the places of the manual's tables. */
static void multiply(Thread **lanes) {
    uint8_t a[16][32], b[32][8];
    for (int l = 0; l < 32; l++) {
        const int group = l / 4, k = l % 4 * 4;
        const uint32_t *given = lanes[l]->given;
        for (int i = 0; i < 4; i++) {
            a[group][k + i] = given[0] >> 8 * i, a[group + 8][k + i] = given[1] >> 8 * i;
            a[group][16 + k + i] = given[2] >> 8 * i, a[group + 8][16 + k + i] = given[3] >> 8 * i;
            b[k + i][group] = given[4] >> 8 * i, b[16 + k + i][group] = given[5] >> 8 * i;
        }
    }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            uint32_t sum = lanes[l]->given[6 + i];
            for (int k = 0; k < 32; k++) sum += (uint32_t)a[row][k] * b[k][column];
            lanes[l]->made[i] = sum;
        }
}

/* Runs the threads of a warp, in any order, until none can go on alone.  Whether one did. */
static int run_warp(Thread **lanes, uint32_t n) {
    int any = 0;
    for (;;) {
        int some = 0, at_product = 0, together = 1;
        const uint32_t first = random_below(n), step = n == 32 ? 2 * random_below(16) + 1 : 1;
        for (uint32_t k = 0; k < n; k++) {
            Thread *t = lanes[(first + k * step) % n];
            if (t->waits != RUNNING) continue;
            running = t, some = 1;
            change_stack(&scheduler_stack_pointer, t->stack_pointer);
        }
        any |= some;
        for (uint32_t k = 0; k < n; k++) {
            at_product += lanes[k]->waits == AT_PRODUCT;
            together &= lanes[k]->waits == AT_PRODUCT && lanes[k]->line == lanes[0]->line;
        }
        if (n == 32 && together) {
            multiply(lanes);
            for (int k = 0; k < 32; k++) lanes[k]->waits = RUNNING;
        } else if (!some) {
            if (at_product) report(WARP_DIVERGENCE, lanes[0], lanes[0]->line, lanes[n - 1]->line, (uint64_t)at_product);
            return any;
        }
    }
}

/* -- blocks -------------------------------------------------------------------------------------------------------- */

enum { BLOCK_ENDED, BLOCK_AT_GRID_BARRIER, BLOCK_STUCK, BLOCK_RUNS };

static void pass_barrier(Thread **threads, uint32_t n, int ended) {
    Thread *first = 0;
    for (uint32_t k = 0; k < n; k++) {
        Thread *t = threads[k];
        if (t->waits != AT_BARRIER) continue;
        if (!first) first = t;
        if (t->line != first->line || t->barrier != first->barrier) report(BARRIER_DIVERGENCE, t, t->line, first->line, k);
        t->waits = RUNNING;
    }
    if (ended) report(BARRIER_AFTER_EXIT, first, first->line, 0, (uint64_t)ended);
    first->block->interval = ++last_interval;
}

static int run_block(Thread **threads, uint32_t n) {
    for (;;) {
        const uint32_t warps = (n + 31) / 32, begin = random_below(warps);
        int ran = 0, count[ENDED + 1] = {0};
        for (uint32_t w = 0; w < warps; w++) {
            const uint32_t first = (begin + w) % warps * 32;
            ran |= run_warp(threads + first, n - first < 32 ? n - first : 32);
        }
        for (uint32_t k = 0; k < n; k++) count[threads[k]->waits]++;
        if ((uint32_t)count[ENDED] == n) return BLOCK_ENDED;
        if ((uint32_t)count[AT_GRID_BARRIER] == n) return BLOCK_AT_GRID_BARRIER;
        if (count[AT_BARRIER] && (uint32_t)(count[AT_BARRIER] + count[ENDED]) == n) {
            pass_barrier(threads, n, count[ENDED]);
        } else if (!ran) {
            for (uint32_t k = 0; k < n; k++)
                if (threads[k]->waits != ENDED) {
                    report(DEADLOCK, threads[k], threads[k]->line, threads[0]->line, 0);
                    return BLOCK_STUCK;
                }
        }
    }
}

/* -- launches ------------------------------------------------------------------------------------------------------ */

static Thread *threads;
static Block *blocks;
static uint32_t n_threads_held, n_blocks_held, shared_held;

static void *grown(void *array, size_t size) {
    array = realloc(array, size);
    if (!array) abort();
    return array;
}

static void hold(uint32_t n_blocks, uint32_t n_threads) {
    if (n_threads_held < n_threads) {
        threads = grown(threads, n_threads * sizeof *threads);
        for (; n_threads_held < n_threads; n_threads_held++)
            if (!(threads[n_threads_held].stack = mapped(0, STACK))) abort();
    }
    if (n_blocks_held >= n_blocks && shared_held >= launch.shared_size) return;
    for (uint32_t k = 0; k < n_blocks_held; k++)
        free(blocks[k].shared), free(blocks[k].state), free(blocks[k].words), free(blocks[k].bytes);
    n_blocks_held = n_blocks > n_blocks_held ? n_blocks : n_blocks_held;
    shared_held = launch.shared_size > shared_held ? launch.shared_size : shared_held;
    blocks = grown(blocks, n_blocks_held * sizeof *blocks);
    const size_t size = (shared_held + 63) / 64 * 64;
    for (uint32_t k = 0; k < n_blocks_held; k++) {
        blocks[k] = (Block){.shared = aligned_alloc(64, size), .state = malloc(size)};
        blocks[k].words = calloc(size / 4, sizeof(Shadow)), blocks[k].bytes = calloc(size, sizeof(Shadow));
        if (!blocks[k].shared || !blocks[k].state || !blocks[k].words || !blocks[k].bytes) abort();
    }
}

static void begin_block(Block *b, uint32_t number, uint32_t n, const uint32_t *arrays, int n_arrays) {
    const uint32_t *grid = launch.grid;
    b->index[0] = number % grid[0], b->index[1] = number / grid[0] % grid[1], b->index[2] = number / grid[0] / grid[1];
    b->interval = ++last_interval, b->first_thread = number * n, b->n_threads = n;
    memset(b->shared, 0xCB, launch.shared_size);
    memset(b->state, NOTHING, launch.shared_size);
    for (int k = 0; k < n_arrays; k++) memset(b->state + arrays[2 * k], UNWRITTEN, arrays[2 * k + 1]);
}

/* Runs blocks that are resident together until all have ended; 0, or 1 if they cannot. */
static int run_together(Thread **list, uint32_t n_blocks, uint32_t n, int *doing) {
    for (uint32_t k = 0; k < n_blocks; k++) doing[k] = BLOCK_RUNS;
    for (;;) {
        uint32_t count[BLOCK_RUNS + 1] = {0};
        const uint32_t begin = random_below(n_blocks);
        for (uint32_t k = 0; k < n_blocks; k++) {
            const uint32_t b = (begin + k) % n_blocks;
            if (doing[b] == BLOCK_RUNS) doing[b] = run_block(list + b * n, n);
            count[doing[b]]++;
        }
        if (count[BLOCK_STUCK]) return 1;
        if (count[BLOCK_ENDED] == n_blocks) return 0;
        if (count[BLOCK_AT_GRID_BARRIER] != n_blocks || !launch.cooperative) { /* some have ended, or nobody comes */
            report(GRID_BARRIER, list[0], list[0]->line, 0, count[BLOCK_ENDED]);
            return 1;
        }
        launch.interval = ++last_interval;
        for (uint32_t b = 0; b < n_blocks; b++) list[b * n]->block->interval = ++last_interval, doing[b] = BLOCK_RUNS;
        for (uint32_t k = 0; k < n_blocks * n; k++) list[k]->waits = RUNNING;
    }
}

/* `arrays`: place and size of each shared array.  `backwards`: the last block first.  Instructions executed, or -1 if the
 * launch did not end. */
int64_t run_launch(void (*kernel)(Thread *), const uint32_t *grid, const uint32_t *block, const uint8_t *parameters,
                   int cooperative, const uint32_t *arrays, int n_arrays, uint32_t shared_size, uint64_t seed,
                   int backwards) {
    memcpy(launch.grid, grid, sizeof launch.grid), memcpy(launch.block, block, sizeof launch.block);
    launch.parameters = parameters, launch.cooperative = cooperative, launch.shared_size = shared_size;
    launch.interval = ++last_interval, kernel_of_launch = kernel;
    random_state = seed * 0x9E3779B97F4A7C15ULL | 1;
    const uint32_t n = block[0] * block[1] * block[2], n_blocks = grid[0] * grid[1] * grid[2];
    const uint32_t together = cooperative ? n_blocks : 1;
    hold(together, together * n);
    Thread **list = grown(0, together * n * sizeof *list);
    int *doing = grown(0, together * sizeof *doing), stuck = 0;
    int64_t executed = 0;
    for (uint32_t first = 0; first < n_blocks && !stuck; first += together) {
        for (uint32_t b = 0; b < together; b++) {
            const uint32_t number = !cooperative && backwards ? n_blocks - 1 - first : first + b;
            begin_block(blocks + b, number, n, arrays, n_arrays);
            for (uint32_t k = 0; k < n; k++) begin_thread(list[b * n + k] = threads + b * n + k, blocks + b, k);
        }
        stuck = run_together(list, together, n, doing);
        for (uint32_t k = 0; k < together * n; k++) executed += (int64_t)list[k]->executed;
    }
    free(list), free(doing);
    return stuck ? -1 : executed;
}
