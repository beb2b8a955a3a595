/* Wave functions of spins +-1: psi = e^(a.s) prod over j of 2 cosh(theta_j), theta = b + W s, real or complex.
 *
 * A move turns one spin, or two of which one is `relation` times the other; theta changes by -2 sigma D, sigma the first
 * of them.  With p = e^theta / (2 cosh theta) and q = 1 - p,
 *
 *     cosh(theta - 2 sigma D) / cosh theta = p e^(-2 sigma D) + q e^(2 sigma D),
 *
 * whose terms are the new p and q but for their sum.  So chains need no exponentials: those of D are tables, and p and q
 * follow the spins.  They are made anew of the spins before each sweep, which keeps rounding from growing.
 *
 * Complex numbers are two rows, real parts and imaginary ones, ld each; ld is a multiple of 8 and padding has D = 0 and
 * p = 1, factors of 1.  Products go by lanes, the lanes pairwise, so that they are the same on all targets. */
#ifndef FASTRBM_WAVE_H
#define FASTRBM_WAVE_H

#include <math.h>

#include "kernels.h"
#include "lane_math.h"
#include "philox.h"

typedef struct {
    vec_d re, im; /* im is not used of real numbers: `c` is a constant, 0 or 1, of every function below */
} vec_z;

typedef struct {
    double re, im;
} one_z;

INLINE vec_z load_z(const int c, const double *x, size_t ld) {
    return c ? (vec_z){load_d(x), load_d(x + ld)} : (vec_z){load_d(x), {0}};
}

INLINE void store_z(const int c, double *x, size_t ld, vec_z z) {
    STORE(x, z.re);
    if (c) STORE(x + ld, z.im);
}

INLINE vec_z times_z(const int c, vec_z a, vec_z b) {
    if (!c) return (vec_z){a.re * b.re, {0}};
    return (vec_z){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

INLINE vec_z plus_z(const int c, vec_z a, vec_z b) { return (vec_z){a.re + b.re, c ? a.im + b.im : a.im}; }

INLINE vec_z inverse_z(const int c, vec_z a) {
    if (!c) return (vec_z){1.0 / a.re, {0}};
    const vec_d scale = 1.0 / (a.re * a.re + a.im * a.im);
    return (vec_z){a.re * scale, -a.im * scale};
}

INLINE vec_z one_vector(void) {
    vec_z one = {{0}, {0}};
    one.re = one.re + 1.0;
    return one;
}

INLINE vec_d choose_d(vec_l mask, vec_d yes, vec_d no) { return (vec_d)((mask & (vec_l)yes) | (~mask & (vec_l)no)); }

/* Lanes l and l + 4, then l and l + 2, l and l + 1: by vectors, as compilers fuse scalar products of complex numbers
 * (GCC 12, in spite of -ffp-contract=off) */
INLINE one_z product_of_lanes(const int c, vec_z x) {
    x = times_z(c, x, (vec_z){ROTATE_D(x.re, 4), c ? ROTATE_D(x.im, 4) : x.im});
    x = times_z(c, x, (vec_z){ROTATE_D(x.re, 2), c ? ROTATE_D(x.im, 2) : x.im});
    x = times_z(c, x, (vec_z){ROTATE_D(x.re, 1), c ? ROTATE_D(x.im, 1) : x.im});
    return (one_z){x.re[0], c ? x.im[0] : 0.0};
}

/* x = e^x of n doubles, n a multiple of 8, x between -700 and 700; ln 2 in two parts, of which the first has trailing zeros */
INLINE void exponentials_of(double *x, size_t n) {
    for (size_t at = 0; at < n; at += REGISTER / 8) {
        const reg_d v = load_reg_d(x + at), shifted = v * 1.4426950408889634 + 6755399441055744.0;
        const reg_d whole = shifted - 6755399441055744.0;
        const reg_d rest = (v - whole * 0.693147180369123816490) - whole * 1.90821492927058770002e-10;
        const reg_d e = exp2_reg_d(rest * 1.4426950408889634);
        const reg_d scaled = (reg_d)((reg_l)e + ((reg_l)shifted << 52));
        STORE(x + at, scaled);
    }
}

/* sigma of a move: the first spin, or 0 where the two do not stand so */
INLINE int sign_of(const frbm_wave *w, const int8_t *state, size_t move) {
    const int32_t *site = w->moves + 3 * move;
    const int first = state[site[0]];
    return site[1] >= 0 && state[site[1]] != site[2] * first ? 0 : first;
}

/* p, q of one state into pq (p, then q), and, where the pointers are there, tanh theta and log psi */
INLINE void activate_wave(const int c, const frbm_wave *w, const int8_t *state, double *pq, double *tanh_theta,
                           double *log_psi) {
    const size_t ld = w->ld, all = ld << c;
    double *theta = pq, *z = pq + all;
    one_z linear = {0, 0};
    memcpy(theta, w->hidden_bias, all * sizeof *theta);
    for (size_t i = 0; i < w->n_sites; i++) {
        const double s = state[i], *row = w->weights + i * all;
        for (size_t at = 0; at < all; at += 8) {
            const vec_d sum = load_d(theta + at) + s * load_d(row + at);
            STORE(theta + at, sum);
        }
        linear.re += s * w->visible_bias[i];
        if (c) linear.im += s * w->visible_bias[w->n_sites + i];
    }
    for (size_t j = 0; j < ld; j++) {
        const double size = fabs(theta[j]);
        linear.re += size;
        z[j] = size < 350.0 ? -2.0 * size : -700.0;
    }
    exponentials_of(z, ld);
    if (c) /* e^(-2 theta) where the real part is not negative, else e^(2 theta) */
        for (size_t j = 0; j < ld; j++) {
            const double size = z[j], turn = theta[j] < 0 ? -theta[ld + j] : theta[ld + j];
            linear.im += turn;
            z[j] = size * cos(2.0 * turn);
            z[ld + j] = -size * sin(2.0 * turn);
        }
    vec_z product = one_vector();
    for (size_t at = 0; at < ld; at += 8) {
        const vec_l minus = (vec_l)(load_d(theta + at) < 0.0);
        vec_z low = load_z(c, z + at, ld), sum = low;
        sum.re = sum.re + 1.0;
        for (size_t l = w->n_hidden > at ? w->n_hidden - at : 0; l < 8; l++)
            low.re[l] = 0, low.im[l] = 0, sum.re[l] = 1, sum.im[l] = 0;
        product = times_z(c, product, sum);
        const vec_z high = inverse_z(c, sum);
        low = times_z(c, low, high);
        const vec_z p = {choose_d(minus, low.re, high.re), choose_d(minus, low.im, high.im)};
        const vec_z q = {choose_d(minus, high.re, low.re), choose_d(minus, high.im, low.im)};
        store_z(c, theta + at, ld, p);
        store_z(c, z + at, ld, q);
        if (tanh_theta) {
            const vec_z t = {p.re - q.re, p.im - q.im};
            store_z(c, tanh_theta + at, ld, t);
        }
        if (at % 512 == 504 || at + 8 == ld) { /* factors of at most 2 */
            const one_z lanes = product_of_lanes(c, product);
            linear.re += log(c ? hypot(lanes.re, lanes.im) : lanes.re);
            if (c) linear.im += atan2(lanes.im, lanes.re);
            product = one_vector();
        }
    }
    if (!log_psi) return;
    log_psi[0] = linear.re;
    if (c) log_psi[1] = linear.im;
}

/* psi after a move of sign sigma over psi before */
INLINE one_z ratio_of(const int c, const frbm_wave *w, const double *pq, size_t move, int sigma) {
    const size_t ld = w->ld, all = ld << c;
    const double *grow = w->grow + move * all, *shrink = w->shrink + move * all;
    const double *of_p = sigma > 0 ? shrink : grow, *of_q = sigma > 0 ? grow : shrink;
    const double *linear = w->linear + ((2 * move + (sigma > 0)) << c);
    vec_z product = one_vector();
    product.re[0] = linear[0];
    if (c) product.im[0] = linear[1];
    for (size_t at = 0; at < ld; at += 8) {
        const vec_z up = times_z(c, load_z(c, pq + at, ld), load_z(c, of_p + at, ld));
        const vec_z down = times_z(c, load_z(c, pq + all + at, ld), load_z(c, of_q + at, ld));
        product = times_z(c, product, plus_z(c, up, down));
    }
    return product_of_lanes(c, product);
}

/* p and q after it */
INLINE void follow_move(const int c, const frbm_wave *w, double *pq, size_t move, int sigma) {
    const size_t ld = w->ld, all = ld << c;
    const double *grow = w->grow + move * all, *shrink = w->shrink + move * all;
    const double *of_p = sigma > 0 ? shrink : grow, *of_q = sigma > 0 ? grow : shrink;
    for (size_t at = 0; at < ld; at += 8) {
        const vec_z up = times_z(c, load_z(c, pq + at, ld), load_z(c, of_p + at, ld));
        const vec_z down = times_z(c, load_z(c, pq + all + at, ld), load_z(c, of_q + at, ld));
        const vec_z scale = inverse_z(c, plus_z(c, up, down));
        store_z(c, pq + at, ld, times_z(c, up, scale));
        store_z(c, pq + all + at, ld, times_z(c, down, scale));
    }
}

INLINE void evaluate_state(const int c, const frbm_wave *w, size_t state, double *pq) {
    const int8_t *spins = w->states + state * w->n_sites;
    activate_wave(c, w, spins, pq, w->tanh_theta ? w->tanh_theta + (state * w->ld << c) : NULL,
                   w->log_psi ? w->log_psi + (state << c) : NULL);
    if (!w->ratios) return;
    for (size_t move = 0; move < w->n_moves; move++) {
        double *out = w->ratios + ((state * w->n_moves + move) << c);
        const int sigma = sign_of(w, spins, move);
        const one_z ratio = sigma ? ratio_of(c, w, pq, move, sigma) : (one_z){0, 0};
        out[0] = ratio.re;
        if (c) out[1] = ratio.im;
    }
}

/* Sweeps of one chain of 16, whose words are words[step / 2][2 * (step % 2) + (0 site, 1 uniform)][lane] */
INLINE void sweep_chain(const int c, const frbm_wave *w, int8_t *spins, size_t lane, const uint32_t (*words)[4][16],
                        double *pq, uint32_t *accepted) {
    activate_wave(c, w, spins, pq, NULL, NULL);
    for (size_t step = 0; step < w->n_moves; step++) {
        const uint32_t *of_step = words[step / 2][2 * (step % 2)];
        const size_t move = w->in_order ? step : (size_t)((uint64_t)of_step[lane] * w->n_moves >> 32);
        const int sigma = sign_of(w, spins, move);
        if (!sigma) continue;
        const one_z ratio = ratio_of(c, w, pq, move, sigma);
        const double u = ((double)of_step[16 + lane] + 0.5) * 2.3283064365386963e-10;
        const double weight = c ? ratio.re * ratio.re + ratio.im * ratio.im : ratio.re * ratio.re;
        if (!(u < (w->in_order ? weight * (1.0 - u) : weight))) continue;
        const int32_t *site = w->moves + 3 * move;
        spins[site[0]] = (int8_t)-spins[site[0]];
        if (site[1] >= 0) spins[site[1]] = (int8_t)-spins[site[1]];
        follow_move(c, w, pq, move, sigma);
        ++*accepted;
    }
}

/* log psi, tanh theta and ratios of a state; pq: 2 ld numbers, 4 ld of complex ones */
static void wave_state(const frbm_wave *w, size_t state, double *pq) {
    if (w->is_complex)
        evaluate_state(1, w, state, pq);
    else
        evaluate_state(0, w, state, pq);
}

/* n_sweeps sweeps of chains [first, first + 16), those that there are; words: 64 ceil(n_moves / 2) of them */
static void wave_sweeps(const frbm_wave *w, size_t first, double *pq, uint32_t *words) {
    uint32_t (*of_pair)[4][16] = (uint32_t (*)[4][16])words;
    const size_t here = w->n_states - first < 16 ? w->n_states - first : 16;
    for (size_t sweep = 0; sweep < w->n_sweeps; sweep++) {
        frbm_draw draw = w->draw;
        draw.step += sweep;
        const philox_step step = philox_step_of(&draw);
        for (size_t pair = 0; 2 * pair < w->n_moves; pair++)
            philox_lanes(of_pair[pair], (uint32_t)pair, draw.first_chain + (uint32_t)first, &step);
        for (size_t lane = 0; lane < here; lane++) {
            int8_t *spins = w->states + (first + lane) * w->n_sites;
            const uint32_t (*drawn)[4][16] = (const uint32_t (*)[4][16])of_pair;
            if (w->is_complex)
                sweep_chain(1, w, spins, lane, drawn, pq, w->accepted + first + lane);
            else
                sweep_chain(0, w, spins, lane, drawn, pq, w->accepted + first + lane);
        }
    }
}

#endif
