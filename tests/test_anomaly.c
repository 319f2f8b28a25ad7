/* Perlin noise and anomaly masks against their definitions in double, from the same random numbers. */
#include "train/anomaly.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Some forty float operations on numbers below 16 (the fade's polynomial), and an angle rounded at 2 pi. */
#define TOLERANCE (40 * 16 * 0x1p-24)

static double fade(double t) {
    return 6 * pow(t, 5) - 15 * pow(t, 4) + 10 * pow(t, 3);
}

/* The weighted sum over a cell's four corners of gradient . offset. */
static double *perlin(Random *r, size_t height, size_t width, size_t cells_y, size_t cells_x) {
    double *angle = malloc((cells_y + 1) * (cells_x + 1) * sizeof *angle);
    double *out = malloc(height * width * sizeof *out);
    assert_true(angle && out);
    for (size_t i = 0; i < (cells_y + 1) * (cells_x + 1); i++) angle[i] = 2 * M_PI * (double)random_float(r);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const double at_y = (double)(y * cells_y) / (double)height, at_x = (double)(x * cells_x) / (double)width;
            double sum = 0;
            for (size_t i = (size_t)at_y; i < (size_t)at_y + 2; i++)
                for (size_t j = (size_t)at_x; j < (size_t)at_x + 2; j++) {
                    const double dy = at_y - (double)i, dx = at_x - (double)j, a = angle[i * (cells_x + 1) + j];
                    sum += (1 - fade(fabs(dy))) * (1 - fade(fabs(dx))) * (cos(a) * dy + sin(a) * dx);
                }
            out[y * width + x] = sqrt(2) * sum;
        }
    free(angle);
    return out;
}

static void noise_is_its_definition(void **state) {
    (void)state;
    Random shapes = random_new(1, 0);
    for (int round = 0; round < 60; round++) {
        const size_t cells_y = (size_t)1 << random_below(&shapes, 6), cells_x = (size_t)1 << random_below(&shapes, 6);
        const size_t height = cells_y * (1 + random_below(&shapes, 5)),
                     width = cells_x * (1 + random_below(&shapes, 5));
        Random a = random_new(2, (uint64_t)round), b = a;
        float *got = zero_floats(height * width);
        perlin_noise(&a, height, width, cells_y, cells_x, got);
        double *want = perlin(&b, height, width, cells_y, cells_x);
        for (size_t i = 0; i < height * width; i++) {
            const bool corner = i / width % (height / cells_y) == 0 && i % width % (width / cells_x) == 0;
            if (corner) assert_true(got[i] == 0);
            if (!(fabs((double)got[i] - want[i]) < TOLERANCE))
                fail_msg("%zux%zu, %zux%zu cells: at %zu: found %g, expected %g", height, width, cells_y, cells_x, i,
                         (double)got[i], want[i]);
            assert_true(fabs((double)got[i]) <= 1 + TOLERANCE); /* sqrt(1/2) is the most that unit gradients give */
        }
        assert_true(a.position == b.position);
        free(want);
        free(got);
    }
}

/* Turning every gradient around turns the noise around, so it is symmetric about 0. */
static void noise_has_no_bias(void **state) {
    (void)state;
    enum { FIELDS = 400, SIDE = 32 };
    float noise[SIDE * SIDE];
    double sum = 0, square = 0;
    size_t positive = 0, others = 0;
    Random r = random_new(3, 0);
    for (int f = 0; f < FIELDS; f++) {
        double mean = 0;
        perlin_noise(&r, SIDE, SIDE, 4, 4, noise);
        for (size_t i = 0; i < SIDE * SIDE; i++) {
            mean += (double)noise[i] / (SIDE * SIDE);
            positive += noise[i] > 0;
            others += noise[i] != 0;
        }
        sum += mean;
        square += mean * mean;
    }
    /* Five standard errors: a correct generator fails for one seed in a million, and the seed is fixed. */
    assert_true(fabs(sum / FIELDS) < 5 * sqrt(square / FIELDS / FIELDS));
    assert_true(square > 0);
    /* Neighbours are alike: a field counts as the 16 independent pixels of its cells. */
    assert_true(fabs((double)positive / (double)others - 0.5) < 5 * 0.5 / sqrt(16.0 * FIELDS));
}

static size_t power_of_two(size_t n) {
    size_t p = 1;
    while (p < n) p *= 2;
    return p;
}

/* Half-pixel bilinear, edges repeated. */
static double bilinear(const double *in, size_t in_height, size_t in_width, double y, double x) {
    y = fmin(fmax(y, 0), (double)in_height - 1);
    x = fmin(fmax(x, 0), (double)in_width - 1);
    double sum = 0;
    for (size_t i = 0; i < in_height; i++)
        for (size_t j = 0; j < in_width; j++)
            sum += fmax(0, 1 - fabs(y - (double)i)) * fmax(0, 1 - fabs(x - (double)j)) * in[i * in_width + j];
    return sum;
}

static size_t cells(Random *r, size_t pixels) {
    const size_t n = (size_t)1 << random_below(r, 6);
    return n < pixels ? n : pixels;
}

static void check_mask(size_t h, size_t w, double threshold, const uint8_t *real, uint64_t stream) {
    const size_t height = power_of_two(h), width = power_of_two(w);
    Random a = random_new(4, stream), b = a;
    uint8_t *got = malloc(h * w);
    float *scratch = zero_floats(anomaly_scratch(h, w));
    assert_non_null(got);
    memset(got, 0x5a, h * w);
    anomaly_mask(&a, h, w, threshold, real, scratch, got);
    if (random_below(&b, 2)) {
        for (size_t i = 0; i < h * w; i++) assert_int_equal(got[i], 0);
    } else {
        const size_t cells_y = cells(&b, height), cells_x = cells(&b, width);
        double *noise = perlin(&b, height, width, cells_y, cells_x);
        for (size_t i = 0; i < h * w; i++) {
            const double y = ((double)(i / w) + 0.5) * (double)height / (double)h - 0.5;
            const double x = ((double)(i % w) + 0.5) * (double)width / (double)w - 0.5;
            const double v = bilinear(noise, height, width, y, x);
            if (fabs(v - threshold) < 2 * TOLERANCE) continue; /* float and double may fall on different sides */
            if (got[i] != (v > threshold && !(real && real[i])))
                fail_msg("%zux%zu: at %zu: found %d for noise %g, threshold %g", h, w, i, got[i], v, threshold);
        }
        free(noise);
    }
    assert_true(a.position == b.position);
    free(scratch);
    free(got);
}

static void mask_is_its_definition(void **state) {
    (void)state;
    const size_t sizes[][2] = {{29, 40}, {1, 1}, {1, 17}, {13, 1}, {32, 32}, {33, 2}, {2, 31}, {36, 36}};
    Random r = random_new(5, 0);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint64_t round = 0; round < 12; round++) {
            const size_t h = sizes[s][0], w = sizes[s][1];
            uint8_t *real = malloc(h * w);
            assert_non_null(real);
            for (size_t i = 0; i < h * w; i++) real[i] = random_below(&r, 3) == 0;
            check_mask(h, w, round % 2 ? 0.2 : 0.6, round % 3 ? real : NULL, 100 * s + round);
            free(real);
        }
}

/* The same numbers whatever lay in the buffers, whatever the real mask, and more of them at the lower threshold. */
static void mask_depends_on_the_stream_alone(void **state) {
    (void)state;
    enum { H = 29, W = 40 };
    uint8_t low[H * W], high[H * W], masked[H * W], real[H * W];
    const size_t n = anomaly_scratch(H, W);
    float *zeros = zero_floats(n), *garbage = zero_floats(n);
    Random any = random_new(6, 0);
    for (uint64_t stream = 0; stream < 100; stream++) {
        Random a = random_new(7, stream), b = a, c = a;
        for (size_t i = 0; i < n; i++) garbage[i] = NAN;
        for (size_t i = 0; i < H * W; i++) real[i] = (uint8_t)random_below(&any, 2);
        anomaly_mask(&a, H, W, 0.2, NULL, zeros, low);
        anomaly_mask(&b, H, W, 0.6, NULL, garbage, high);
        anomaly_mask(&c, H, W, 0.2, real, garbage, masked);
        assert_true(a.position == b.position && a.position == c.position);
        for (size_t i = 0; i < H * W; i++) {
            assert_true(high[i] <= low[i]);
            assert_int_equal(masked[i], low[i] && !real[i]);
        }
    }
    free(garbage);
    free(zeros);
}

static void half_of_the_masks_are_empty(void **state) {
    (void)state;
    enum { DRAWS = 3000, SIDE = 64 };
    uint8_t mask[SIDE * SIDE];
    float *scratch = zero_floats(anomaly_scratch(SIDE, SIDE));
    const double thresholds[2] = {0.2, 0.6};
    double covered[2] = {0};
    for (int k = 0; k < 2; k++) {
        size_t empty = 0;
        Random r = random_new(8, 0);
        for (int i = 0; i < DRAWS; i++) {
            size_t pixels = 0;
            anomaly_mask(&r, SIDE, SIDE, thresholds[k], NULL, scratch, mask);
            for (size_t p = 0; p < SIDE * SIDE; p++) pixels += mask[p];
            empty += pixels == 0;
            covered[k] += (double)pixels / (SIDE * SIDE) / DRAWS;
        }
        if (k == 1) continue;
        /* A drawn mask stays empty where all noise is low, which takes few cells: at most the 3 of 36 grids of one or
         * two cells. Five standard deviations of a fair coin. */
        const double spread = 5 * sqrt(DRAWS * 0.25);
        assert_true((double)empty > DRAWS * 0.5 - spread);
        assert_true((double)empty < DRAWS * (0.5 + 0.5 * 3 / 36) + spread);
    }
    /* Perlin noise times sqrt(2) has a standard deviation near 0.35: 0.2 is 0.57 of it, above which a normal law has
     * 28 %, and 0.6 is 1.7 of it: 4.5 %; half of each, because half of the masks are empty. */
    assert_true(covered[0] > 0.10 && covered[0] < 0.17);
    assert_true(covered[1] > 0.005 && covered[1] < 0.04);
    free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_its_definition),     cmocka_unit_test(noise_has_no_bias),
        cmocka_unit_test(mask_is_its_definition),      cmocka_unit_test(mask_depends_on_the_stream_alone),
        cmocka_unit_test(half_of_the_masks_are_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
