/* Noise, optimiser and number conversion kernels against scalar double-precision twins. */
#include "engine/kernels.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 0x1p-24

/* ---- gauss ----------------------------------------------------------------------------------------------- */

/* Elements 4 i .. 4 i + 3 and the two radii they lie on: two Box-Muller pairs of Philox's four words. */
static void gauss_twin(uint64_t key, uint64_t stream, uint64_t i, double value[4], double radius[2]) {
    uint32_t words[4];
    philox4x32(key, stream, i, words);
    for (int pair = 0; pair < 2; pair++) {
        double u = ((double)(words[2 * pair] >> 8) + 1) * 0x1p-24, turn = (double)(words[2 * pair + 1] >> 8) * 0x1p-24;
        radius[pair] = sqrt(-2 * log(u));
        value[2 * pair] = radius[pair] * cos(2 * M_PI * turn);
        value[2 * pair + 1] = radius[pair] * sin(2 * M_PI * turn);
    }
}

/* A dozen roundings (log, root, sine, products), of which 4.5 units of 2^-24 of the radius are the worst among four
 * million draws on each set; 6 leaves room for a compiler that fuses other operations. */
static void gauss_matches_its_twin(void **state) {
    (void)state;
    enum { N = 4 * 4099 }; /* ends within a vector */
    const struct {
        uint64_t key, stream, first;
        float std;
    } cases[] = {
        {0, 0, 0, 1},
        {1, 2, 4, 0.015f},
        {~0ull, ~0ull, 4 * 0xfffffff8ull, 1}, /* the counter's low word wraps within a vector */
        {0x299f31d0a4093822ull, 0x0370734413198a2eull, ~0ull - 4 * N - 3, 3},
    };
    for (size_t set = 0; kernels_at(set); set++)
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            float *out = zero_floats(N);
            kernels_at(set)->gauss(cases[c].key, cases[c].stream, cases[c].first, N, cases[c].std, out);
            for (size_t i = 0; i < N; i++) {
                double value[4], radius[2], std = (double)cases[c].std;
                gauss_twin(cases[c].key, cases[c].stream, cases[c].first / 4 + i / 4, value, radius);
                double error = fabs((double)out[i] - std * value[i % 4]);
                if (!(error <= 6 * EPSILON * std * radius[i % 4 / 2]))
                    fail_msg("%s: element %zu: found %.9g, expected %.9g", kernels_at(set)->name, i, (double)out[i],
                             std * value[i % 4]);
            }
            free(out);
        }
}

static void gauss_has_a_normal_distribution(void **state) {
    (void)state;
    enum { N = 1 << 20, BINS = 64 };
    for (size_t set = 0; kernels_at(set); set++) {
        float *out = zero_floats(N);
        kernels_at(set)->gauss(7, set, 0, N, 1, out);
        double moment[5] = {0}, neighbours[4] = {0}, counts[BINS] = {0};
        for (size_t i = 0; i < N; i++) {
            double x = (double)out[i], power = 1;
            assert_true(fabs(x) <= 5.7683); /* sqrt(-2 log 2^-24) = 5.76825... */
            for (int m = 1; m < 5; m++) moment[m] += (power *= x) / N;
            for (size_t lag = 1; lag <= 4; lag++) neighbours[lag - 1] += x * (double)out[(i + lag) % N] / N;
            int bin = (int)(0.5 * erfc(-x * M_SQRT1_2) * BINS);
            counts[bin < BINS ? bin : BINS - 1]++;
        }
        /* Five standard errors: the variances of x, x^2, x^3, x^4 are 1, 2, 15, 96. */
        const double expected[5] = {0, 0, 1, 0, 3}, variance[5] = {0, 1, 2, 15, 96};
        for (int m = 1; m < 5; m++) assert_true(fabs(moment[m] - expected[m]) < 5 * sqrt(variance[m] / N));
        for (int lag = 0; lag < 4; lag++) assert_true(fabs(neighbours[lag]) < 5 / sqrt(N));
        double chi2 = 0; /* of equally likely bins: mean BINS - 1, variance 2 (BINS - 1) */
        for (int b = 0; b < BINS; b++) chi2 += pow(counts[b] - (double)N / BINS, 2) / ((double)N / BINS);
        assert_true(fabs(chi2 - (BINS - 1)) < 5 * sqrt(2.0 * (BINS - 1)));
        free(out);
    }
}

static void gauss_does_not_depend_on_the_split(void **state) {
    (void)state;
    enum { N = 4 * 1000 };
    const uint64_t first = 4 * (0x100000000ull - 500); /* the counter's low word wraps halfway */
    for (size_t set = 0; kernels_at(set); set++) {
        const Kernels *k = kernels_at(set);
        float *whole = zero_floats(N), *parts = zero_floats(N + 4);
        k->gauss(3, 9, first, N, 0.015f, whole);
        Random r = random_new(5, set);
        for (int repeat = 0; repeat < 20; repeat++) {
            memset(parts, 0, (N + 4) * sizeof *parts);
            for (size_t at = 0, n; at < N; at += n) {
                n = 4 * random_below(&r, repeat < 10 ? 8 : 80);
                if (n > N - at) n = N - at;
                parts[at + n] = 42; /* the element past the end must stay */
                k->gauss(3, 9, first + at, n, 0.015f, parts + at);
                assert_true(parts[at + n] == 42.0f);
            }
            assert_memory_equal(whole, parts, N * sizeof *whole);
        }
        free(whole), free(parts);
    }
}

static void gauss_depends_on_key_and_stream(void **state) {
    (void)state;
    float *base = zero_floats(64), *other = zero_floats(64);
    const uint64_t changes[][2] = {{1, 0}, {1ull << 32, 0}, {0, 1}, {0, 1ull << 32}};
    for (size_t set = 0; kernels_at(set); set++)
        for (size_t c = 0; c < 4; c++) {
            kernels_at(set)->gauss(0, 0, 0, 64, 1, base);
            kernels_at(set)->gauss(changes[c][0], changes[c][1], 0, 64, 1, other);
            size_t same = 0;
            for (size_t i = 0; i < 64; i++) same += base[i] == other[i];
            assert_int_equal(same, 0);
        }
    free(base), free(other);
}

/* ---- adamw ----------------------------------------------------------------------------------------------- */

static void adamw_matches_its_twin(void **state) {
    (void)state;
    const size_t sizes[] = {1, 2, 7, 15, 16, 17, 33, 1000};
    const double lr = 1e-4, decay = 1e-2, gscale = 0.3;
    for (size_t set = 0; kernels_at(set); set++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const size_t n = sizes[s];
            Random r = random_new(11, s);
            float *p = random_floats(&r, n), *g = random_floats(&r, n), *m = zero_floats(n), *v = zero_floats(n);
            for (size_t i = 0; i < n; i += 3) g[i] *= 1e-6f; /* where epsilon counts; then exactly 0 */
            for (size_t i = 0; i < n; i += 5) g[i] = 0;
            for (int t = 1; t <= 4; t++) {
                float *p0 = copy_floats(p, n), *m0 = copy_floats(m, n), *v0 = copy_floats(v, n);
                const float c1 = (float)(1 - pow(0.9, t)), c2 = (float)(1 - pow(0.999, t));
                kernels_at(set)->adamw(n, p, g, m, v, (float)gscale, (float)lr, (float)decay, c1, c2);
                for (size_t i = 0; i < n; i++) {
                    double grad = gscale * (double)g[i];
                    double moment_size = 0.9 * fabs((double)m0[i]) + 0.1 * fabs(grad);
                    double moment = 0.9 * (double)m0[i] + 0.1 * grad,
                           square = 0.999 * (double)v0[i] + 0.001 * grad * grad;
                    double unit = lr / (double)c1 / (sqrt(square) / sqrt((double)c2) + 1e-8);
                    /* Roundings of factors, products and sums; the update's own are 8 beside its moment's 4. */
                    assert_true(fabs((double)m[i] - moment) <= 4 * EPSILON * moment_size);
                    assert_true(fabs((double)v[i] - square) <= 6 * EPSILON * square);
                    double want = (double)p0[i] * (1 - lr * decay) - unit * moment;
                    assert_true(fabs((double)p[i] - want) <=
                                3 * EPSILON * fabs((double)p0[i]) + (12 + 4) * EPSILON * unit * moment_size);
                }
                free(p0), free(m0), free(v0);
            }
            free(p), free(g), free(m), free(v);
        }
}

/* ---- bfloat16 -------------------------------------------------------------------------------------------- */

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* By definition: of the two neighbours (every bfloat16 is a float's upper half) the nearer, in a tie the even one.
 * Beyond the largest finite number the next step stands for infinity. */
static uint16_t bf16_twin(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint16_t low = (uint16_t)(bits >> 16), high = (uint16_t)(low + 1);
    if (isinf(x)) return low;
    double at_high = (high & 0x7f80) == 0x7f80 ? copysign(0x1p128, (double)x) : (double)float_of((uint32_t)high << 16);
    double below = fabs((double)x - (double)float_of((uint32_t)low << 16)), above = fabs(at_high - (double)x);
    return below < above || (below == above && low % 2 == 0) ? low : high;
}

static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    static const uint32_t halves[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    enum { N = 6 * 0x10000 + 13 };
    float *in = zero_floats(N);
    uint16_t *out = calloc(N, sizeof *out);
    assert_non_null(out);
    Random r = random_new(13, 0);
    for (uint32_t i = 0; i < N; i++) in[i] = float_of(i < 6 * 0x10000 ? (i / 6) << 16 | halves[i % 6] : random_u32(&r));
    for (size_t set = 0; kernels_at(set); set++) {
        kernels_at(set)->to_bf16(in, N, out);
        for (size_t i = 0; i < N; i++)
            if (isnan(in[i]))
                assert_true((out[i] & 0x7fff) > 0x7f80);
            else if (out[i] != bf16_twin(in[i]))
                fail_msg("%.9g: found %04x, expected %04x", (double)in[i], out[i], bf16_twin(in[i]));
    }
    free(in), free(out);
}

/* Every count of pixels up to some vectors and beyond: nothing is written past the last one. */
static void pixels_are_rounded(void **state) {
    (void)state;
    enum { MOST = 70 };
    static const float scale[3] = {58.395f, 57.12f, 57.375f}, shift[3] = {123.675f, 116.28f, 103.53f};
    float in[3 * MOST];
    uint8_t out[3 * MOST + 16];
    Random r = random_new(17, 0);
    for (size_t set = 0; kernels_at(set); set++)
        for (size_t pixels = 0; pixels <= MOST; pixels++) {
            for (size_t i = 0; i < 3 * pixels; i++) in[i] = 3 * random_signed(&r);
            if (pixels > 1) in[0] = INFINITY, in[1] = -INFINITY, in[2] = NAN, in[3] = -0.0f, in[4] = 1e30f;
            memset(out, 0x55, sizeof out);
            kernels_at(set)->to_pixels(in, pixels, scale, shift, out);
            for (size_t i = 0; i < 3 * pixels; i++) {
                const double v = (double)in[i] * (double)scale[i % 3] + (double)shift[i % 3];
                const double within = fmin(fmax(isnan(v) ? 0 : v, 0), 255);
                assert_true(fabs(out[i] - within) < 0.5 + 1e-4); /* fp32's rounding of numbers up to 256 */
            }
            for (size_t i = 3 * pixels; i < sizeof out; i++) assert_int_equal(out[i], 0x55);
        }
    /* Every pixel of 8 bits is itself, through the normalisation and back. */
    for (int level = 0; level < 256; level++)
        for (size_t set = 0; kernels_at(set); set++) {
            for (size_t c = 0; c < 3; c++) in[c] = ((float)level - shift[c]) / scale[c];
            kernels_at(set)->to_pixels(in, 1, scale, shift, out);
            for (size_t i = 0; i < 3; i++) assert_int_equal(out[i], level);
        }
}

static void bf16_comes_back_exactly(void **state) {
    (void)state;
    enum { N = 0x10000 };
    uint16_t *in = calloc(N, sizeof *in);
    float *out = zero_floats(N);
    assert_non_null(in);
    for (size_t i = 0; i < N; i++) in[i] = (uint16_t)i;
    for (size_t set = 0; kernels_at(set); set++)
        for (size_t n = 0; n <= N; n = n < 40 ? n + 1 : n + N - 40) {
            memset(out, 0x55, N * sizeof *out);
            kernels_at(set)->from_bf16(in, n, out);
            for (uint32_t i = 0; i < N; i++) {
                uint32_t bits;
                memcpy(&bits, out + i, sizeof bits);
                assert_int_equal(bits, i < n ? i << 16 : 0x55555555u);
            }
        }
    free(in), free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gauss_matches_its_twin),
        cmocka_unit_test(gauss_has_a_normal_distribution),
        cmocka_unit_test(gauss_does_not_depend_on_the_split),
        cmocka_unit_test(gauss_depends_on_key_and_stream),
        cmocka_unit_test(adamw_matches_its_twin),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_comes_back_exactly),
        cmocka_unit_test(pixels_are_rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
