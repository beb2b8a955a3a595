/* What runs where: the instruction set, the exponent of fixed-point weights, look-ups or row sums.  None of it changes
 * a result. */
#ifdef FRBM_HAS_AMX
#define _GNU_SOURCE /* for syscall */
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(FRBM_HAS_NEON_I8MM) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(FRBM_HAS_NEON_I8MM)
#include <sys/auxv.h>
#endif
#include <math.h>
#include <string.h>

#include "workers.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fastrbm's packed layouts assume a little-endian machine"
#endif

int frbm_vpopcnt = 0;

int frbm_allow_vpopcnt(int allow) {
#ifdef FRBM_X86
    __builtin_cpu_init();
    frbm_vpopcnt = allow && __builtin_cpu_supports("avx512vpopcntdq");
#endif
    return frbm_vpopcnt;
}

int frbm_vnni = 0;

int frbm_allow_vnni(int allow) {
#ifdef FRBM_X86
    __builtin_cpu_init();
    frbm_vnni = allow && __builtin_cpu_supports("avx512vnni");
#endif
    return frbm_vnni;
}

static int always(void) { return 1; }

#ifdef FRBM_X86
static int has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef FRBM_HAS_AMX
#define ASK_FOR_STATE 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18         /* the state that is asked for */

/* Whether there are tile registers, and the kernel lets this process have them: it is asked once, for all threads */
static int has_tiles(void) {
    static int answer = -1;
    unsigned a, b, c, d;
    if (answer < 0)
        answer = has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) && (d >> 25 & 1) &&
                 syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
    return answer;
}
#endif

#ifdef FRBM_HAS_NEON_I8MM
/* Whether there are matrix instructions for bytes */
static int has_i8mm(void) {
#ifdef __APPLE__
    int answer = 0;
    size_t size = sizeof answer;
    return sysctlbyname("hw.optional.arm.FEAT_I8MM", &answer, &size, NULL, 0) == 0 && answer;
#else
    const unsigned long bit = 1ul << 13; /* HWCAP2_I8MM, which older headers do not name */
    return (getauxval(AT_HWCAP2) & bit) != 0;
#endif
}
#endif

/* Targets of the architecture, with NULL for those that are not in this build (setup.py), and what else they ask for */
static const struct {
    const char *name;
    const frbm_table *table;
    int (*can_run)(void);
} targets[] = {
#ifdef FRBM_X86
#ifdef FRBM_HAS_AMX
    {"amx", &frbm_table_amx, has_tiles},
#else
    {"amx", NULL, NULL},
#endif
#ifdef FRBM_HAS_AVX512
    {"avx512", &frbm_table_avx512, has_avx512},
#else
    {"avx512", NULL, NULL},
#endif
#ifdef FRBM_HAS_AVX2
    {"avx2", &frbm_table_avx2, has_avx2},
#else
    {"avx2", NULL, NULL},
#endif
#ifdef FRBM_HAS_AMX_EMULATED
    {"amx_emulated", &frbm_table_amx_emulated, has_avx512},
#else
    {"amx_emulated", NULL, NULL},
#endif
#endif
#ifdef FRBM_ARM64
#ifdef FRBM_HAS_NEON_I8MM
    {"neon_i8mm", &frbm_table_neon_i8mm, has_i8mm},
#else
    {"neon_i8mm", NULL, NULL},
#endif
#ifdef FRBM_HAS_NEON
    {"neon", &frbm_table_neon, always},
#else
    {"neon", NULL, NULL},
#endif
#endif
#ifdef FRBM_HAS_AMX_PLAIN
    {"amx_plain", &frbm_table_amx_plain, always},
#else
    {"amx_plain", NULL, NULL},
#endif
    {"baseline", &frbm_table_baseline, always},
};
#define N_TARGETS (sizeof targets / sizeof *targets)

/* Where the target is; N_TARGETS: nowhere */
static size_t find_target(const char *name) {
    size_t k = 0;
    while (k < N_TARGETS && strcmp(name, targets[k].name)) k++;
    return k;
}

int frbm_is_possible(const char *name) { return find_target(name) < N_TARGETS; }

int frbm_is_built(const char *name) {
    const size_t k = find_target(name);
    return k < N_TARGETS && targets[k].table;
}

const frbm_table *frbm_select(const char *name) {
    const size_t k = find_target(name);
    return k < N_TARGETS && targets[k].table && targets[k].can_run() ? targets[k].table : NULL;
}

static size_t larger_layer(size_t a, size_t b) { return a > b ? a : b; }

int frbm_magnitude_shift(size_t n_visible, size_t n_hidden) {
    int shift = 22;
    for (size_t n = larger_layer(n_visible, n_hidden); n > 1; n = (n + 1) / 2) shift--;
    return shift > 10 ? 10 : shift;
}

/* The largest k for which sums of rounded weights fit, `step` more by rounding; -1: none from `least` on */
static int largest_exponent(uint64_t sum, uint64_t step, int shift, int least, int most) {
    for (int k = most; k >= least; k--)
        if ((k < shift ? sum >> (shift - k) : sum << (k - shift)) + step < (uint64_t)1 << 31) return k;
    return -1;
}

int frbm_exponent(const frbm_magnitudes *magnitudes, int n_sharing, size_t n_visible, size_t n_hidden, int *int16) {
    const size_t most = larger_layer(n_visible, n_hidden);
    const int shift = frbm_magnitude_shift(n_visible, n_hidden);
    uint64_t largest = 0;
    uint32_t seen = 0;
    if (shift < 0) return -1;
    for (int b = 0; b < n_sharing; b++) {
        if (magnitudes[b].row > largest) largest = magnitudes[b].row;
        seen |= magnitudes[b].seen;
    }
    /* a single weight of 512 or more, or nan; below, the 32-bit sums of columns cannot have wrapped */
    if (seen >> (9 + shift)) return -1;
    for (size_t i = 0; i < n_visible; i++) {
        uint64_t column = 0;
        for (int b = 0; b < n_sharing; b++) column += magnitudes[b].columns[i];
        if (column > largest) largest = column;
    }
    largest += most; /* magnitudes were rounded down */
    if (*int16) {
        const int k = largest_exponent(largest, (uint64_t)most << 15, shift, FRBM_INT16_EXPONENT, 30);
        if (k >= 0) return k;
        *int16 = 0; /* too coarse */
    }
    return largest_exponent(largest, most, shift, FRBM_SMALLEST_EXPONENT, FRBM_LARGEST_EXPONENT);
}

/* Set bits; the builtin is a function call where the instruction cannot be taken for granted, and does not vectorise */
static inline uint32_t count_bits(uint32_t x) {
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    x = (x + (x >> 4)) & 0x0F0F0F0Fu;
    x += x >> 8;
    return (x + (x >> 16)) & 0x3Fu;
}

/* Share of bits that are on in the first lanes */
static double density(const frbm_operand *op, size_t n_lanes) {
    const size_t n_words = (op->n_inputs + 31) / 32, lanes = n_lanes < 32 ? n_lanes : 32;
    size_t count = 0;
    for (size_t w = 0; w < n_words; w++) {
        uint32_t here = 0;
        for (size_t l = 0; l < lanes; l++) here += count_bits(op->bits[w * op->stride + l]);
        count += here;
    }
    return (double)count / ((double)lanes * (double)op->n_inputs);
}

int frbm_prefers_tiles(const frbm_table *table, double n_lanes) {
    return table->tile_cost > 0 && n_lanes >= FRBM_TILE_LANES;
}

double frbm_whole_cost(const frbm_table *table, double n_lanes, int int16, int tiled) {
    if (tiled) /* weights of 16 bits have two limbs, others three and little of a fourth; lanes go by 32 */
        return (double)table->tile_cost * (int16 ? 2.0 : 3.0) * 32.0 * ceil(n_lanes / 32.0) / n_lanes;
    return (double)(int16 && table->int16_cost > 0 ? table->int16_cost : table->look_cost) +
           (double)table->build_cost / n_lanes;
}

void frbm_choose(const frbm_table *table, frbm_layer *layer) {
    const frbm_operand *op = &layer->op;
    const double n = (double)layer->n_lanes;
    layer->sparse = layer->tiled = 0;
    if (!op->bits || !layer->n_lanes) return;
    layer->tiled = op->limbs && op->limbs->bytes && frbm_prefers_tiles(table, n);
    layer->sparse = op->rows && (double)table->row_cost * density(op, layer->n_lanes) <
                                    frbm_whole_cost(table, n, layer->int16, layer->tiled);
}
