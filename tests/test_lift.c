/* The lift's bands against literal bilinear upsampling followed by a 3x3 average. */
#include "net/net.h"
#include "helper_bands.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the definition -------------------------------------------------------------------------------------- */

/* Where PyTorch's interpolate reads output position `at`: between `low` and `high`, `part` of the way. */
static double source(size_t at, size_t in, size_t out, bool align_corners, size_t *low, size_t *high) {
    double x;
    if (align_corners)
        x = out == 1 ? 0 : (double)at * (double)(in - 1) / (double)(out - 1);
    else
        x = fmax(((double)at + 0.5) * (double)in / (double)out - 0.5, 0);
    *low = (size_t)floor(x);
    *high = *low + 1 < in ? *low + 1 : *low;
    return x - floor(x);
}

/* in (ih, iw) -> out (oh, ow). */
static void upsample(const float *in, size_t ih, size_t iw, size_t oh, size_t ow, bool align_corners, double *out) {
    for (size_t y = 0; y < oh; y++)
        for (size_t x = 0; x < ow; x++) {
            size_t top, bottom, left, right;
            double v = source(y, ih, oh, align_corners, &top, &bottom);
            double u = source(x, iw, ow, align_corners, &left, &right);
            double above = (1 - u) * (double)in[top * iw + left] + u * (double)in[top * iw + right];
            double below_it = (1 - u) * (double)in[bottom * iw + left] + u * (double)in[bottom * iw + right];
            out[y * ow + x] = (1 - v) * above + v * below_it;
        }
}

/* 3x3, stride 1, the zero padding counted in the divisor. */
static double average(const double *map, size_t h, size_t w, size_t y, size_t x) {
    double sum = 0;
    for (size_t i = y ? y - 1 : 0; i <= y + 1 && i < h; i++)
        for (size_t j = x ? x - 1 : 0; j <= x + 1 && j < w; j++) sum += map[i * w + j];
    return sum / 9;
}

/* ---- bands ----------------------------------------------------------------------------------------------- */

static void open_band(Band *band, size_t in, size_t out, bool align_corners) {
    Error e = {0};
    if (band_lift(band, in, out, align_corners, &e)) fail_msg("%s", e.text);
    assert_int_equal(band->in, in);
    assert_int_equal(band->out, out);
    for (size_t r = 0; r < out; r++) assert_true(band->first[r] + band->taps <= in);
}

static void check_lift(Random *r, size_t ih, size_t iw, size_t oh, size_t ow, bool align_corners) {
    Band y, x;
    open_band(&y, ih, oh, align_corners);
    open_band(&x, iw, ow, align_corners);
    if (oh >= ih) assert_true(y.taps <= 4); /* what kernels.h promises of upsampling */
    float *in = random_floats(r, ih * iw);
    double *up = calloc(oh * ow, sizeof *up);
    assert_non_null(up);
    upsample(in, ih, iw, oh, ow, align_corners, up);
    for (size_t i = 0; i < oh * ow; i++) {
        double got = 0;
        for (size_t p = 0; p < ih * iw; p++)
            got += band_at(&y, (ptrdiff_t)(i / ow), p / iw) * band_at(&x, (ptrdiff_t)(i % ow), p % iw) * (double)in[p];
        /* Each weight is a sum of at most three products rounded to float, so 2^-22 of it at most; two weights are
         * multiplied; those of a row sum to at most 1 and inputs are below 1. */
        double want = average(up, oh, ow, i / ow, i % ow);
        if (!(fabs(got - want) <= 2 * 0x1p-22))
            fail_msg("%zux%zu -> %zux%zu: pixel %zu: found %.9g, expected %.9g", ih, iw, oh, ow, i, got, want);
    }
    free(in), free(up);
    band_close(&y);
    band_close(&x);
}

static void bands_are_upsampling_and_averaging(void **state) {
    (void)state;
    Random r = random_new(1, 0);
    for (size_t h2 = 1; h2 < 14; h2++)
        for (int align = 0; align < 2; align++) {
            const size_t w2 = 1 + below(&r, 16), h3 = (h2 + 1) / 2, w3 = (w2 + 1) / 2;
            check_lift(&r, h2, w2, 2 * h2, 2 * w2, align);
            check_lift(&r, h3, w3, 2 * h2, 2 * w2, align);
        }
    for (int i = 0; i < 60; i++) /* any sizes, shrinking too */
        check_lift(&r, 1 + below(&r, 20), 1 + below(&r, 20), 1 + below(&r, 20), 1 + below(&r, 20), i & 1);
}

/* A constant map keeps its value but where the padding's zeros come in. */
static void bands_count_the_padding(void **state) {
    (void)state;
    for (int align = 0; align < 2; align++) {
        Band band;
        open_band(&band, 7, 14, align);
        for (size_t r = 0; r < 14; r++) {
            double sum = 0;
            for (size_t t = 0; t < band.taps; t++) sum += (double)band.weight[r * band.taps + t];
            assert_true(fabs(sum - (r == 0 || r == 13 ? 2.0 / 3 : 1)) < 0x1p-22); /* as above */
        }
        band_close(&band);
    }
}

/* ---- geometry -------------------------------------------------------------------------------------------- */

static void geometry_follows_the_convolutions(void **state) {
    (void)state;
    Error e = {0};
    for (size_t size = 32; size < 700; size++) {
        Geometry g;
        assert_int_equal(geometry_make(&g, size, size + 5, 128, 256, &e), BLEMISH_OK);
        size_t sides[2] = {size, size + 5}, second[2];
        for (int i = 0; i < 2; i++) {
            second[i] = conv_out_size(conv_out_size(conv_out_size(sides[i], 7, 2, 3), 3, 2, 1), 3, 2, 1);
            sides[i] = conv_out_size(second[i], 3, 2, 1);
        }
        const Geometry want = {size,          size + 5,      second[0], second[1], sides[0], sides[1],
                               2 * second[0], 2 * second[1], 128,       256,       384};
        assert_memory_equal(&g, &want, sizeof g);
    }
}

static void geometry_refuses_what_is_too_small_or_large(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{31, 64}, {64, 31}, {0, 0}, {16385, 64}, {64, SIZE_MAX}};
    for (size_t i = 0; i < 5; i++) {
        Error e = {0};
        Geometry g;
        assert_int_equal(geometry_make(&g, sizes[i][0], sizes[i][1], 1, 1, &e), BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(e.text, "expected 32 to 16384"));
    }
    Error e = {0};
    Geometry g;
    assert_int_equal(geometry_make(&g, 32, 16384, 1, 1, &e), BLEMISH_OK);
}

static void lift_opens_a_band_for_each_axis_of_each_map(void **state) {
    (void)state;
    for (int align = 0; align < 2; align++) {
        Error e = {0};
        Geometry g;
        Lift lift;
        assert_int_equal(geometry_make(&g, 88, 232, 1, 1, &e), BLEMISH_OK);
        assert_int_equal(lift_open(&lift, &g, align, &e), BLEMISH_OK);
        const struct {
            const Band *band;
            size_t in, out;
        } bands[4] = {{&lift.y2, 11, 22}, {&lift.x2, 29, 58}, {&lift.y3, 6, 22}, {&lift.x3, 15, 58}};
        for (size_t i = 0; i < 4; i++) {
            Band want;
            open_band(&want, bands[i].in, bands[i].out, align);
            assert_int_equal(bands[i].band->taps, want.taps);
            assert_memory_equal(bands[i].band->first, want.first, want.out * sizeof *want.first);
            assert_memory_equal(bands[i].band->weight, want.weight, want.out * want.taps * sizeof *want.weight);
            band_close(&want);
        }
        lift_close(&lift);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bands_are_upsampling_and_averaging),
        cmocka_unit_test(bands_count_the_padding),
        cmocka_unit_test(geometry_follows_the_convolutions),
        cmocka_unit_test(geometry_refuses_what_is_too_small_or_large),
        cmocka_unit_test(lift_opens_a_band_for_each_axis_of_each_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
