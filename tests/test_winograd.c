/* Winograd's convolution against the sum that defines a convolution, in double. */
#include "engine/winograd.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* out (batch, height, width, out) = the 3x3 convolution with padding 1, plus bias, plus `before`, before the ReLU. */
static void twin(const ConvShape *s, const float *src, const float *weight, const float *bias, const float *before,
                 double *out) {
    const size_t h = s->height, w = s->width;
    for (size_t p = 0; p < s->batch * h * w; p++)
        for (size_t o = 0; o < s->out; o++) {
            double sum = (bias ? (double)bias[o] : 0) + (s->add ? (double)before[p * s->out + o] : 0);
            for (size_t tap = 0; tap < 9; tap++) {
                const size_t y = p / w % h + tap / 3 - 1, x = p % w + tap % 3 - 1;
                if (y >= h || x >= w) continue;
                const float *pixel = src + ((p / (h * w) * h + y) * w + x) * s->in;
                for (size_t i = 0; i < s->in; i++) sum += (double)weight[(o * s->in + i) * 9 + tap] * (double)pixel[i];
            }
            out[p * s->out + o] = s->relu ? fmax(sum, 0) : sum;
        }
}

static void run(const ConvShape *s, size_t tile, int threads, const float *src, const float *weight, const float *bias,
                float *dst) {
    Error e = {0};
    Winograd *winograd;
    if (winograd_open(&winograd, s, tile, weight, bias, threads, &e)) fail_msg("%s", e.text);
    void *scratch = array_new(winograd_scratch(winograd), 1, &e);
    assert_non_null(scratch);
    memset(scratch, 0xff, winograd_scratch(winograd)); /* NaN: nothing may be read that was not written */
    winograd_run(winograd, src, dst, scratch);
    array_free(scratch);
    winograd_close(winograd);
}

/* The largest error allowed: every product passes in + 16 roundings of 2^-24 at most, in a sum whose terms the
 * transforms make larger than the 9 * in products of a convolution, in the worst case by the square of the largest row
 * sum of |A^T| diag(|G| 1) |B^T| (8 for tile 2, 29.6 for tile 4). Inputs and weights are below 1. Rounding is rarely
 * that unlucky: as a random walk its root mean square is near 2^-24 sqrt(in + 16) of the output's for tile 2 and twice
 * that for tile 4, of which twice as much is allowed. */
static void check(Random *r, const ConvShape *s, size_t tile, bool with_bias) {
    const size_t n = s->batch * s->height * s->width * s->out;
    const double row = tile == 2 ? 8 : 29.6, in = (double)s->in;
    const double bound = row * row * in * (in + 16) * 0x1p-24;
    float *src = random_floats(r, s->batch * s->height * s->width * s->in),
          *weight = random_floats(r, s->out * s->in * 9);
    float *bias = random_floats(r, s->out), *before = random_floats(r, n), *dst = copy_floats(before, n);
    double *want = calloc(n, sizeof *want), error = 0, size = 0;
    assert_non_null(want);
    twin(s, src, weight, with_bias ? bias : NULL, before, want);
    run(s, tile, 1, src, weight, with_bias ? bias : NULL, dst);
    for (size_t i = 0; i < n; i++) {
        const double off = (double)dst[i] - want[i];
        if (!(fabs(off) <= bound))
            fail_msg("%zux%zu, %zu channels, tile %zu, element %zu: found %g, expected %g", s->height, s->width, s->in,
                     tile, i, (double)dst[i], want[i]);
        error += off * off;
        size += want[i] * want[i];
    }
    if (n >= 4096 && !(sqrt(error) <= 0x1p-24 * sqrt(in + 16) * (double)tile * sqrt(size)))
        fail_msg("tile %zu: found an error of %g, root mean square", tile, sqrt(error / size));

    float *again = copy_floats(before, n); /* the bits depend on neither the threads nor the batch */
    run(s, tile, 2, src, weight, with_bias ? bias : NULL, again);
    assert_memory_equal(dst, again, n * sizeof *dst);
    ConvShape single = *s;
    single.batch = 1;
    memcpy(again, before, n * sizeof *again);
    for (size_t b = 0; b < s->batch; b++)
        run(&single, tile, 3, src + b * s->height * s->width * s->in, weight, with_bias ? bias : NULL,
            again + b * n / s->batch);
    assert_memory_equal(dst, again, n * sizeof *dst);
    free(src), free(weight), free(bias), free(before), free(dst), free(want), free(again);
}

static void convolutions_are_their_definition(void **state) {
    (void)state;
    Random r = random_new(31, 0);
    for (size_t i = 0; i < 48; i++) {
        const ConvShape s = {.batch = 1 + i / 2 % 3,
                             .height = 1 + random_below(&r, 19),
                             .width = 1 + random_below(&r, 19),
                             .in = 16 * (1 + random_below(&r, 4)),
                             .out = 64 * (1 + random_below(&r, 2)),
                             .kernel = 3,
                             .stride = 1,
                             .padding = 1,
                             .add = i / 4 % 2,
                             .relu = i / 8 % 2};
        check(&r, &s, i % 2 ? 4 : 2, i / 16 % 2);
    }
}

/* More tiles than a thread takes at a time, and more than a group holds. */
static void large_maps_go_in_groups(void **state) {
    (void)state;
    Random r = random_new(32, 0);
    ConvShape s = {.batch = 2, .height = 67, .width = 53, .in = 16, .out = 64, .kernel = 3, .stride = 1, .padding = 1};
    check(&r, &s, 4, true);
    check(&r, &s, 2, true);
}

static void shapes_choose_the_tile(void **state) {
    (void)state;
    const ConvShape base = {
        .batch = 1, .height = 64, .width = 64, .in = 64, .out = 64, .kernel = 3, .stride = 1, .padding = 1};
    ConvShape s = base;
    assert_int_equal(winograd_tile(&s), 4);
    s.height = s.width = 16;
    assert_int_equal(winograd_tile(&s), 2);
    s.batch = 64;
    assert_int_equal(winograd_tile(&s), 2);
    s.height = s.width = 8;
    assert_int_equal(winograd_tile(&s), 0);
    s = base, s.stride = 2;
    assert_int_equal(winograd_tile(&s), 0);
    s = base, s.kernel = 1, s.padding = 0;
    assert_int_equal(winograd_tile(&s), 0);
    s = base, s.in = 24;
    assert_int_equal(winograd_tile(&s), 0);
    s = base, s.out = 96;
    assert_int_equal(winograd_tile(&s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(convolutions_are_their_definition),
                                       cmocka_unit_test(large_maps_go_in_groups),
                                       cmocka_unit_test(shapes_choose_the_tile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
