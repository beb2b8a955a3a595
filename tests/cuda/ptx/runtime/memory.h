/* Loads, stores and atomic operations, each looked after. */
#ifndef PTX_MEMORY_H
#define PTX_MEMORY_H

enum { GLOBAL, SHARED, GENERIC };
enum { READ, WRITE, ATOMIC };
enum { NOTHING, UNWRITTEN, WRITTEN }; /* state of a byte: not allocated, allocated, with a value */

/* Global memory lies here, on the host as well as for kernels; generic addresses of shared memory begin at the window. */
#define ARENA 0x600000000000ULL
#define ARENA_SIZE (1ULL << 30)
#define SHARED_WINDOW 0x610000000000ULL
#define SHARED_WINDOW_SIZE (1ULL << 24)

#define CALLED static __attribute__((noinline, unused)) /* one copy of what each access does */

static inline int other_block(const Thread *t, uint32_t thread) {
    return thread - t->block->first_thread >= t->block->n_threads;
}

/* Whether someone else came to a place without a barrier between; `interval` is the block's for shared memory, which no
 * other block sees, else the grid's. */
static inline int unordered(const Thread *t, const Access *a, uint32_t interval) {
    return (a->block == t->block->interval && (a->many || a->thread != t->number)) ||
           (a->grid == interval && (a->blocks || other_block(t, a->thread)));
}

/* `same`: a store of what is there already */
static inline void compare_accesses(const Thread *t, const Shadow *s, int kind, int same, uint32_t interval, int line,
                                    uint64_t address) {
    if (unordered(t, &s->store, interval))
        report((kind == READ && s->store.equal) || same ? RACE_OF_ONE_VALUE : RACE, t, line, (int)s->store.line, address);
    if (kind != READ && unordered(t, &s->load, interval))
        report(same ? RACE_OF_ONE_VALUE : RACE, t, line, (int)s->load.line, address);
    if (kind != ATOMIC && unordered(t, &s->atomic, interval)) report(RACE, t, line, (int)s->atomic.line, address);
}

static inline void note_access(const Thread *t, Shadow *s, int kind, int same, uint32_t interval, int line) {
    const uint32_t now = t->block->interval;
    Access *a = kind == READ ? &s->load : kind == WRITE ? &s->store : &s->atomic;
    const int again = a->grid == interval;
    const int blocks = again && (a->blocks || other_block(t, a->thread));
    const int many = a->block == now && (a->many || a->thread != t->number);
    *a = (Access){interval, now, t->number, (uint32_t)line, many, blocks, same && (!again || a->equal)};
}

/* Host address of `size` bytes, or NULL.  `whole`: of the vector that begins here, by which it must be aligned. */
static inline uint8_t *accessed(Thread *t, int space, uint64_t a, int size, int whole, int kind, int line,
                                uint64_t value) {
    uint8_t *memory, *state;
    Shadow *words, *bytes;
    uint64_t at;
    if (line < MOST_LINES) lines_reached[line] = 1;
    if (space == GENERIC) {
        space = a - SHARED_WINDOW < SHARED_WINDOW_SIZE ? SHARED : GLOBAL;
        at = space == SHARED ? a - SHARED_WINDOW : a - ARENA;
    } else {
        at = space == SHARED ? a : a - ARENA;
    }
    if (at >= (space == SHARED ? launch.shared_size : ARENA_SIZE - 64)) {
        report(OUT_OF_BOUNDS, t, line, 0, a);
        return 0;
    }
    if (space == SHARED) {
        memory = t->block->shared, state = t->block->state, words = t->block->words, bytes = t->block->bytes;
    } else {
        memory = (uint8_t *)ARENA, state = launch.state, words = launch.words, bytes = launch.bytes;
    }
    if (a % (uint64_t)whole) {
        report(MISALIGNED, t, line, 0, a);
        return 0;
    }
    int least = WRITTEN;
    for (int k = 0; k < size; k++) least = state[at + k] < least ? state[at + k] : least;
    if (least == NOTHING) {
        report(OUT_OF_BOUNDS, t, line, 0, a);
        return 0;
    }
    if (kind != WRITE && least == UNWRITTEN) report(space == SHARED ? UNWRITTEN_SHARED : UNWRITTEN_GLOBAL, t, line, 0, a);

    if (traced && space == SHARED && t->number_in_block < 32 && a % (uint64_t)whole == 0 && n_traced < most_traced &&
        !(t->block->index[0] | t->block->index[1] | t->block->index[2]))
        traced[n_traced++] = (Traced){(uint32_t)line, t->number_in_block, (uint32_t)at, (uint32_t)whole};
    const int same = kind == WRITE && !memcmp(memory + at, &value, size);
    const uint32_t interval = space == SHARED ? t->block->interval : launch.interval;
    if (size >= 4) {
        for (int k = 0; k < size; k += 4) {
            Shadow *word = words + (at + k) / 4;
            compare_accesses(t, word, kind, same, interval, line, a);
            if (word->bytes == interval)
                for (int b = 0; b < 4; b++) compare_accesses(t, bytes + at + k + b, kind, same, interval, line, a);
            note_access(t, word, kind, same, interval, line);
        }
    } else {
        Shadow *word = words + at / 4;
        compare_accesses(t, word, kind, same, interval, line, a);
        word->bytes = interval;
        for (int b = 0; b < size; b++) {
            compare_accesses(t, bytes + at + b, kind, same, interval, line, a);
            note_access(t, bytes + at + b, kind, same, interval, line);
        }
    }
    if (kind != READ) memset(state + at, WRITTEN, size);
    return memory + at;
}

#define LOAD_AND_STORE(BITS) \
    CALLED uint##BITS##_t load_##BITS(Thread *t, int space, uint64_t a, int whole, int line) { \
        uint##BITS##_t value = 0; \
        const uint8_t *at = accessed(t, space, a, BITS / 8, whole, READ, line, 0); \
        if (at) memcpy(&value, at, BITS / 8); \
        return value; \
    } \
    CALLED void store_##BITS(Thread *t, int space, uint64_t a, int whole, int line, uint##BITS##_t value) { \
        uint8_t *at = accessed(t, space, a, BITS / 8, whole, WRITE, line, value); \
        if (at) memcpy(at, &value, BITS / 8); \
    }
LOAD_AND_STORE(8)
LOAD_AND_STORE(16)
LOAD_AND_STORE(32)
LOAD_AND_STORE(64)
#undef LOAD_AND_STORE

#define ATOMIC_OPERATION(BITS, NAME, RESULT) \
    CALLED uint##BITS##_t atomic_##NAME(Thread *t, int space, uint64_t a, uint##BITS##_t x, int line) { \
        uint##BITS##_t old = 0; \
        uint8_t *at = accessed(t, space, a, BITS / 8, BITS / 8, ATOMIC, line, 0); \
        if (!at) return 0; \
        memcpy(&old, at, BITS / 8); \
        const uint##BITS##_t result = (RESULT); \
        memcpy(at, &result, BITS / 8); \
        return old; \
    }
ATOMIC_OPERATION(32, add_u32, old + x)
ATOMIC_OPERATION(32, add_s32, old + x)
ATOMIC_OPERATION(64, add_u64, old + x)
ATOMIC_OPERATION(32, or_b32, old | x)
ATOMIC_OPERATION(32, and_b32, old & x)
ATOMIC_OPERATION(32, xor_b32, old ^ x)
ATOMIC_OPERATION(32, exch_b32, x)
ATOMIC_OPERATION(32, max_u32, old > x ? old : x)
ATOMIC_OPERATION(32, min_u32, old < x ? old : x)
ATOMIC_OPERATION(32, max_s32, (int32_t)old > (int32_t)x ? old : x)
ATOMIC_OPERATION(32, min_s32, (int32_t)old < (int32_t)x ? old : x)
ATOMIC_OPERATION(64, max_u64, old > x ? old : x)
ATOMIC_OPERATION(64, max_s64, (int64_t)old > (int64_t)x ? old : x)
#undef ATOMIC_OPERATION

#endif
