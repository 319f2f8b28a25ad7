/* One source for every instruction set: 16-float compiler vectors, which the compiler splits where registers are
 * narrower. Built with KERNEL_SUFFIX and the matching -march (CMakeLists.txt). */
#include "engine/kernels.h"

#include <string.h>

typedef float V __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t VI __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t VU __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint64_t VL __attribute__((vector_size(128), aligned(4), may_alias));
enum { LANES = 16, BLOCK_V = LIFT_BLOCK / LANES, CLS_V = CLS_CHANNELS / LANES };

#define LOAD(p) (*(const V *)(p))
#define STORE(p, v) (*(V *)(p) = (v))
#define SLOPE 0.2f /* LeakyReLU of the segmentation head */

/* a where the lane of mask is all ones, b where it is 0 (C has no vector ?: operator). */
static inline V choose(VI mask, V a, V b) {
    return (V)((mask & (VI)a) | (~mask & (VI)b));
}

#define UNROLL _Pragma("GCC unroll 8")

/* ---- lifting --------------------------------------------------------------------------------------------- */

/* scratch (cols, LIFT_BLOCK) = vertical combination of low-resolution rows for output row y. */
static void combine_rows(const LiftMap *m, size_t y, size_t c0, float *scratch) {
    const size_t cols = m->x->in, taps = m->y->taps;
    const float *w = m->y->weight + y * taps;
    const float *base = m->data + (m->y->first[y] - m->top) * cols * m->stride + c0;
    for (size_t j = 0; j < cols; j++) {
        V acc[BLOCK_V] = {0};
        for (size_t t = 0; t < taps; t++) {
            const float *z = base + (t * cols + j) * m->stride;
            UNROLL for (int k = 0; k < BLOCK_V; k++) acc[k] += w[t] * LOAD(z + k * LANES);
        }
        UNROLL for (int k = 0; k < BLOCK_V; k++) STORE(scratch + j * LIFT_BLOCK + k * LANES, acc[k]);
    }
}

static void lift_row(const LiftMap *maps, size_t count, size_t y, size_t c0, float *scratch, float *out) {
    for (size_t i = 0; i < count; i++) {
        const LiftMap *m = maps + i;
        combine_rows(m, y, c0, scratch);
        const size_t w = m->x->out, taps = m->x->taps;
        for (size_t x = 0; x < w; x++) {
            V acc[BLOCK_V] = {0};
            float *o = out + x * LIFT_BLOCK;
            if (i) UNROLL for (int k = 0; k < BLOCK_V; k++) acc[k] = LOAD(o + k * LANES);
            const float *weight = m->x->weight + x * taps, *t = scratch + m->x->first[x] * LIFT_BLOCK;
            for (size_t j = 0; j < taps; j++)
                UNROLL for (int k = 0; k < BLOCK_V; k++) acc[k] += weight[j] * LOAD(t + j * LIFT_BLOCK + k * LANES);
            UNROLL for (int k = 0; k < BLOCK_V; k++) STORE(o + k * LANES, acc[k]);
        }
    }
}

static void project_row(const LiftGrad *grads, size_t count, size_t y, size_t c0, float *scratch, const float *g) {
    for (size_t i = 0; i < count; i++) {
        const LiftGrad *m = grads + i;
        const size_t cols = m->x->in, w = m->x->out, taps = m->x->taps;
        memset(scratch, 0, cols * LIFT_BLOCK * sizeof *scratch);
        for (size_t x = 0; x < w; x++) {
            const float *weight = m->x->weight + x * taps;
            float *t = scratch + m->x->first[x] * LIFT_BLOCK;
            for (size_t j = 0; j < taps; j++) UNROLL for (int k = 0; k < BLOCK_V; k++) {
                    float *s = t + j * LIFT_BLOCK + k * LANES;
                    STORE(s, LOAD(s) + weight[j] * LOAD(g + x * LIFT_BLOCK + k * LANES));
                }
        }
        const float *wy = m->y->weight + y * m->y->taps;
        for (size_t t = 0; t < m->y->taps; t++) {
            float *row = m->data + (m->y->first[y] + t) * cols * m->stride + c0;
            for (size_t j = 0; j < cols; j++) UNROLL for (int k = 0; k < BLOCK_V; k++) {
                    float *d = row + j * m->stride + k * LANES;
                    STORE(d, LOAD(d) + wy[t] * LOAD(scratch + j * LIFT_BLOCK + k * LANES));
                }
        }
    }
}

/* ---- segmentation head ----------------------------------------------------------------------------------- */

static inline V leaky(V y) {
    return choose(y > 0.0f, y, SLOPE * y);
}

static inline float sum_lanes(V v) {
    float lanes[LANES];
    STORE(lanes, v);
    for (int half = LANES / 2; half > 0; half /= 2) /* pairs: a vector at a time, and less rounding than in order */
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

/* acc[k] += one lifted pixel's channels of one map. */
static inline void add_lifted(V acc[BLOCK_V], const Band *band, size_t x, const float *scratch) {
    const float *weight = band->weight + x * band->taps, *t = scratch + band->first[x] * LIFT_BLOCK;
    for (size_t j = 0; j < band->taps; j++)
        UNROLL for (int k = 0; k < BLOCK_V; k++) acc[k] += weight[j] * LOAD(t + j * LIFT_BLOCK + k * LANES);
}

static void seg_map_row(const LiftMap maps[2], size_t y, size_t channels, const float *shift, const float *out,
                        float *scratch, float *m) {
    const Band *x2 = maps[0].x, *x3 = maps[1].x;
    const size_t w = x2->out;
    float *sums = scratch, *rows2 = sums + w * LANES, *rows3 = rows2 + x2->in * LIFT_BLOCK;
    memset(sums, 0, w * LANES * sizeof *sums);
    for (size_t c = 0; c < channels; c += LIFT_BLOCK) {
        combine_rows(&maps[0], y, c, rows2);
        combine_rows(&maps[1], y, c, rows3);
        V from[BLOCK_V], by[BLOCK_V]; /* read once: for all the compiler knows, storing sums changes them */
        UNROLL for (int k = 0; k < BLOCK_V; k++) from[k] = LOAD(shift + c + k * LANES),
                                                 by[k] = LOAD(out + c + k * LANES);
        for (size_t x = 0; x < w; x++) {
            V acc[BLOCK_V], sum = LOAD(sums + x * LANES);
            UNROLL for (int k = 0; k < BLOCK_V; k++) acc[k] = from[k];
            add_lifted(acc, x2, x, rows2);
            add_lifted(acc, x3, x, rows3);
            UNROLL for (int k = 0; k < BLOCK_V; k++) sum += by[k] * leaky(acc[k]);
            STORE(sums + x * LANES, sum);
        }
    }
    for (size_t x = 0; x < w; x++) m[x] = sum_lanes(LOAD(sums + x * LANES));
}

static void seg_dot(const float *row, size_t w, const SegBlock *b, float *m) {
    V scale[BLOCK_V], shift[BLOCK_V], out[BLOCK_V];
    UNROLL for (int k = 0; k < BLOCK_V; k++) {
        scale[k] = LOAD(b->scale + k * LANES);
        shift[k] = LOAD(b->shift + k * LANES);
        out[k] = LOAD(b->out + k * LANES);
    }
    for (size_t x = 0; x < w; x++) {
        V acc = {0};
        UNROLL for (int k = 0; k < BLOCK_V; k++) acc +=
            out[k] * leaky(scale[k] * LOAD(row + x * LIFT_BLOCK + k * LANES) + shift[k]);
        m[x] += sum_lanes(acc);
    }
}

static void column_stats(const float *rows, size_t n, size_t channels, const float *center, float *sum, float *square) {
    for (size_t k = 0; k < channels; k += LANES) {
        V s = {0}, q = {0}, c = LOAD(center + k);
        for (size_t i = 0; i < n; i++) {
            V v = LOAD(rows + i * channels + k) - c;
            s += v;
            q += v * v;
        }
        STORE(sum + k, LOAD(sum + k) + s);
        STORE(square + k, LOAD(square + k) + q);
    }
}

static void seg_grad_sums(const float *row, size_t w, const SegBlock *b, const float *dm, float *sums) {
    for (int k = 0; k < BLOCK_V; k++) {
        const int c = k * LANES;
        V scale = LOAD(b->scale + c), shift = LOAD(b->shift + c), out = LOAD(b->out + c);
        V mean = LOAD(b->mean + c), inv_std = LOAD(b->inv_std + c);
        V s0 = {0}, s1 = {0}, s2 = {0};
        for (size_t x = 0; x < w; x++) {
            V v = LOAD(row + x * LIFT_BLOCK + c), y = scale * v + shift;
            V dy = dm[x] * choose(y > 0.0f, out, SLOPE * out);
            s0 += dy;
            s1 += dy * ((v - mean) * inv_std);
            s2 += dm[x] * leaky(y);
        }
        STORE(sums + c, LOAD(sums + c) + s0);
        STORE(sums + LIFT_BLOCK + c, LOAD(sums + LIFT_BLOCK + c) + s1);
        STORE(sums + 2 * LIFT_BLOCK + c, LOAD(sums + 2 * LIFT_BLOCK + c) + s2);
    }
}

static void seg_grad_row(float *row, size_t w, const SegBlock *b, const float *dm, const float *mean_dy,
                         const float *mean_dy_xhat) {
    for (int k = 0; k < BLOCK_V; k++) {
        const int c = k * LANES;
        V scale = LOAD(b->scale + c), shift = LOAD(b->shift + c), out = LOAD(b->out + c);
        V mean = LOAD(b->mean + c), inv_std = LOAD(b->inv_std + c);
        V k0 = LOAD(mean_dy + c), k1 = LOAD(mean_dy_xhat + c);
        for (size_t x = 0; x < w; x++) {
            V v = LOAD(row + x * LIFT_BLOCK + c), y = scale * v + shift;
            V dy = dm[x] * choose(y > 0.0f, out, SLOPE * out);
            STORE(row + x * LIFT_BLOCK + c, scale * (dy - k0 - (v - mean) * inv_std * k1));
        }
    }
}

#include "engine/kernels_cls.h"
#include "engine/kernels_cls_train.h"
#include "engine/kernels_winograd.h"

/* ---- Gaussian noise -------------------------------------------------------------------------------------- */

static inline void mul_wide(VU a, uint32_t b, VU *high, VU *low) {
    VL p = __builtin_convertvector(a, VL) * (uint64_t)b;
    *low = a * b;
    *high = __builtin_convertvector(p >> 32, VU);
}

/* log of u in (0, 1]: u = 2^e * f, f in [sqrt(1/2), sqrt(2)); atanh series of s = (f - 1) / (f + 1), |s| < 0.1716:
 * the first term left out is 2 s^11 / 11 < 7e-10. */
static inline V log_unit(V u) {
    VI bits = (VI)u;
    VI e = (bits - 0x3f3504f3) >> 23;
    V f = (V)((VU)bits - ((VU)e << 23));
    V s = (f - 1.0f) / (f + 1.0f), q = s * s;
    V series = 2.0f + q * (0.666666667f + q * (0.4f + q * (0.285714286f + q * 0.222222222f)));
    return s * series + 0.693147181f * __builtin_convertvector(e, V);
}

/* sqrt of x >= 0 to a few units in the last place: two Newton steps on the classic first guess of 1/sqrt would leave
 * 5e-6; three leave rounding only. Exactly 0 for 0. */
static inline V sqrt_positive(V x) {
    V r = (V)(0x5f375a86u - ((VU)x >> 1));
    UNROLL for (int i = 0; i < 3; i++) r = r * (1.5f - 0.5f * x * r * r);
    return choose(x > 0.0f, x * r, (V){0});
}

/* cos and sin of 2 pi t for t in [0, 1): quadrant by rounding 4 t, then Taylor to x^9 and x^8 on |x| <= pi/4, whose
 * first terms left out are below 2e-9 and 3e-8. */
static inline void cos_sin_turn(V t, V *cosine, V *sine) {
    VI quadrant = __builtin_convertvector(t * 4.0f + 0.5f, VI);
    V x = (t - 0.25f * __builtin_convertvector(quadrant, V)) * 6.28318531f, q = x * x;
    V s = x * (1.0f + q * (-0.166666667f + q * (8.33333333e-3f + q * (-1.98412698e-4f + q * 2.75573192e-6f))));
    V c = 1.0f + q * (-0.5f + q * (4.16666667e-2f + q * (-1.38888889e-3f + q * 2.48015873e-5f)));
    VI odd = -(quadrant & 1);
    V cc = choose(odd, s, c), ss = choose(odd, c, s);
    VU cos_negative = ((VU)(quadrant + 1) & 2) << 30, sin_negative = ((VU)quadrant & 2) << 30;
    *cosine = (V)((VU)cc ^ cos_negative);
    *sine = (V)((VU)ss ^ sin_negative);
}

/* Two normals of two words each. */
static inline void box_muller(VU a, VU b, float std, V *first, V *second) {
    V u = __builtin_convertvector((VI)(a >> 8) + 1, V) * 0x1p-24f,
      t = __builtin_convertvector((VI)(b >> 8), V) * 0x1p-24f;
    V radius = std * sqrt_positive(-2.0f * log_unit(u)), c, s;
    cos_sin_turn(t, &c, &s);
    *first = radius * c;
    *second = radius * s;
}

static void gauss(uint64_t key, uint64_t stream, uint64_t first, size_t n, float std, float *out) {
    const VU lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (size_t done = 0; done < n; done += 4 * LANES) {
        uint64_t base = first / 4 + done / 4;
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        VU c0 = (uint32_t)base + lane, c1 = (uint32_t)(base >> 32) - (VU)(c0 < (uint32_t)base);
        VU c2 = (uint32_t)stream + (VU){0}, c3 = (uint32_t)(stream >> 32) + (VU){0};
        for (int round = 0; round < 10; round++) {
            VU h0, l0, h1, l1;
            mul_wide(c0, 0xD2511F53u, &h0, &l0);
            mul_wide(c2, 0xCD9E8D57u, &h1, &l1);
            c0 = h1 ^ c1 ^ k0;
            c1 = l1;
            c2 = h0 ^ c3 ^ k1;
            c3 = l0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        V g[4];
        box_muller(c0, c1, std, &g[0], &g[1]);
        box_muller(c2, c3, std, &g[2], &g[3]);
        size_t counters = (n - done) / 4 < LANES ? (n - done) / 4 : LANES;
        for (size_t i = 0; i < counters; i++)
            for (size_t k = 0; k < 4; k++) out[done + 4 * i + k] = g[k][i];
    }
}

/* ---- optimiser, conversion ------------------------------------------------------------------------------- */

static void adamw(size_t n, float *restrict p, const float *restrict g, float *restrict m, float *restrict v,
                  float gscale, float lr, float decay, float c1, float c2) {
    const float keep = 1.0f - lr * decay, step = lr / c1, root_c2 = __builtin_sqrtf(c2);
    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * gscale;
        m[i] = 0.9f * m[i] + 0.1f * grad;
        v[i] = 0.999f * v[i] + 0.001f * grad * grad;
        p[i] = p[i] * keep - step * m[i] / (__builtin_sqrtf(v[i]) / root_c2 + 1e-8f);
    }
}

static void to_bf16(const float *in, size_t n, uint16_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, in + i, sizeof bits);
        uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
        uint32_t nan = bits | 0x400000u; /* rounding would carry a NaN into infinity or zero */
        out[i] = (uint16_t)(((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded) >> 16);
    }
}

static void from_bf16(const uint16_t *in, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void to_pixels(const float *restrict in, size_t pixels, const float *scale, const float *shift,
                      uint8_t *restrict out) {
    enum { GROUP = 48 }; /* floats: whole pixels and whole vectors */
    float scales[GROUP], shifts[GROUP];
    for (size_t i = 0; i < GROUP; i++) scales[i] = scale[i % 3], shifts[i] = shift[i % 3] + 0.5f;
    for (size_t first = 0; first < 3 * pixels; first += GROUP) {
        const size_t n = 3 * pixels - first < GROUP ? 3 * pixels - first : GROUP;
        for (size_t i = 0; i < n; i++) {
            float v = in[first + i] * scales[i] + shifts[i];
            v = v > 255.0f ? 255.0f : v > 0.0f ? v : 0.0f;
            out[first + i] = (uint8_t)(int32_t)v;
        }
    }
}

#define TABLE_NAME_(suffix) kernels_##suffix
#define TABLE_NAME(suffix) TABLE_NAME_(suffix)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
extern const Kernels TABLE_NAME(KERNEL_SUFFIX);
const Kernels TABLE_NAME(KERNEL_SUFFIX) = {
    .name = TEXT(KERNEL_SUFFIX),
    .lift_row = lift_row,
    .project_row = project_row,
    .seg_map_row = seg_map_row,
    .seg_dot = seg_dot,
    .column_stats = column_stats,
    .seg_grad_sums = seg_grad_sums,
    .seg_grad_row = seg_grad_row,
    .cls_lift_x = cls_lift_x,
    .cls_lift_y = cls_lift_y,
    .cls_project_y = cls_project_y,
    .cls_project_x = cls_project_x,
    .cls_map_row = cls_map_row,
    .cls_scatter = cls_scatter,
    .cls_gather = cls_gather,
    .cls_pool = cls_pool,
    .cls_grad_sums = cls_grad_sums,
    .cls_grad_rows = cls_grad_rows,
    .cls_map_grad_weight = cls_map_grad_weight,
    .cls_map_grad_map = cls_map_grad_map,
    .winograd_input_2 = winograd_input_2,
    .winograd_input_4 = winograd_input_4,
    .winograd_product = winograd_product,
    .winograd_output_2 = winograd_output_2,
    .winograd_output_4 = winograd_output_4,
    .gauss = gauss,
    .adamw = adamw,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .to_pixels = to_pixels,
};
