#include "infer/infer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the plain twin: every step by itself, in double ------------------------------------------------------ */

static size_t mirror(long i, long n) {
    while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
    return (size_t)i;
}

static double bilinear(const float *in, size_t h, size_t w, size_t height, size_t width, size_t y, size_t x) {
    double v = fmax(((double)y + 0.5) * (double)h / (double)height - 0.5, 0);
    double u = fmax(((double)x + 0.5) * (double)w / (double)width - 0.5, 0);
    size_t y0 = (size_t)v, x0 = (size_t)u, y1 = y0 + 1 < h ? y0 + 1 : y0, x1 = x0 + 1 < w ? x0 + 1 : x0;
    double b = v - (double)y0, a = u - (double)x0;
    return (1 - b) * ((1 - a) * (double)in[y0 * w + x0] + a * (double)in[y0 * w + x1]) +
           b * ((1 - a) * (double)in[y1 * w + x0] + a * (double)in[y1 * w + x1]);
}

static void plain_map(const float *in, size_t h, size_t w, size_t height, size_t width, double *out) {
    double kernel[25], sum = 0;
    for (int k = 0; k < 25; k++) sum += kernel[k] = exp(-0.5 * (k - 12) * (k - 12) / 16.0);
    Error e = {0};
    double *up = array_new(height * width, sizeof *up, &e), *across = array_new(height * width, sizeof *across, &e);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) up[y * width + x] = bilinear(in, h, w, height, width, y, x);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (int k = 0; k < 25; k++)
                across[y * width + x] += kernel[k] / sum * up[y * width + mirror((long)x + k - 12, (long)width)];
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            double s = 0;
            for (int k = 0; k < 25; k++)
                s += kernel[k] / sum * across[mirror((long)y + k - 12, (long)height) * width + x];
            out[y * width + x] = 1 / (1 + exp(-s));
        }
    array_free(up);
    array_free(across);
}

/* ---- tests ----------------------------------------------------------------------------------------------- */

/* Rounding: about 20 products of logits up to 6 in float, through a sigmoid whose slope is at most 1/4. */
#define MAP_TOLERANCE 2e-6

static void map_equals_the_plain_definition(void **state) {
    (void)state;
    static const size_t sizes[][4] = {
        /* h, w, H, W as the network's geometry gives them, then shapes it never makes */
        {64, 64, 256, 256}, {22, 22, 88, 88}, {160, 58, 640, 232}, {8, 8, 32, 32}, {10, 10, 33, 37},
        {12, 18, 47, 65},   {1, 1, 32, 32},   {1, 5, 8, 13},       {7, 9, 2, 5},   {50, 40, 32, 100},
    };
    Error e = {0};
    Random r = random_new(11, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t h = sizes[i][0], w = sizes[i][1], height = sizes[i][2], width = sizes[i][3];
        Smooth s;
        assert_int_equal(smooth_open(&s, h, w, height, width, &e), BLEMISH_OK);
        float *in = array_new(h * w, sizeof *in, &e), *map = array_new(height * width, sizeof *map, &e);
        double *expected = array_new(height * width, sizeof *expected, &e);
        for (int round = 0; round < 2; round++) { /* twice: nothing is left behind in the scratch */
            float peak = 0;
            for (size_t k = 0; k < h * w; k++) in[k] = 2 * random_normal(&r) - (float)round;
            memset(map, 0xff, height * width * sizeof *map);
            plain_map(in, h, w, height, width, expected);
            float reported = smooth_run(&s, in, map);
            for (size_t k = 0; k < height * width; k++) {
                assert_true(fabs((double)map[k] - expected[k]) < MAP_TOLERANCE);
                peak = fmaxf(peak, map[k]);
            }
            assert_true(reported == peak);
        }
        array_free(in);
        array_free(map);
        array_free(expected);
        smooth_close(&s);
    }
}

static void map_does_not_depend_on_threads(void **state) {
    (void)state;
    Error e = {0};
    Smooth s;
    Random r = random_new(12, 0);
    enum { H = 36, W = 44 };
    assert_int_equal(smooth_open(&s, H / 4, W / 4, H, W, &e), BLEMISH_OK);
    float in[H / 4 * W / 4], one[H * W], three[H * W];
    for (size_t i = 0; i < H / 4 * W / 4; i++) in[i] = random_normal(&r);
    for (int threads = 1; threads <= 3; threads += 2) {
        Engine *engine;
        assert_int_equal(engine_open(&engine, threads, &e), BLEMISH_OK);
        int before = engine_enter(engine);
        smooth_run(&s, in, threads == 1 ? one : three);
        engine_leave(before);
        engine_close(engine);
    }
    assert_memory_equal(one, three, sizeof one);
    smooth_close(&s);
}

static void extreme_logits_stay_in_range(void **state) {
    (void)state;
    Error e = {0};
    Smooth s;
    assert_int_equal(smooth_open(&s, 8, 8, 32, 32, &e), BLEMISH_OK);
    float in[64], map[32 * 32];
    const float values[] = {1e4f, -1e4f, 1e30f, -1e30f, 88.0f, -88.0f, 0.0f};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (int k = 0; k < 64; k++) in[k] = values[i];
        float peak = smooth_run(&s, in, map);
        float expected = values[i] > 0 ? 1.0f : values[i] < 0 ? 0.0f : 0.5f;
        for (int k = 0; k < 32 * 32; k++) {
            assert_true(map[k] >= 0 && map[k] <= 1);
            assert_true(fabsf(map[k] - expected) < 1e-7f);
        }
        assert_true(fabsf(peak - expected) < 1e-7f);
    }
    smooth_close(&s);
}

/* Half a million points over the whole range, and every float close to where the polynomial's pieces meet. */
static void sigmoid_is_within_its_stated_error(void **state) {
    (void)state;
    double worst = 0, worst_relative = 0;
    enum { N = 1 << 19 };
    for (int i = 0; i <= N; i++) {
        float x = -100.0f + 200.0f * (float)i / N, y = x;
        sigmoid_rows(&y, 1);
        double exact = 1 / (1 + exp(-(double)x));
        worst = fmax(worst, fabs((double)y - exact));
        if (x > -80) worst_relative = fmax(worst_relative, fabs((double)y - exact) / exact);
    }
    for (int k = -20; k <= 20; k++) {
        float x = ((float)k + 0.5f) * 0.693147181f;
        for (int i = 0; i < 64; i++) x = nextafterf(x, -FLT_MAX);
        for (int i = 0; i < 128; i++, x = nextafterf(x, FLT_MAX)) {
            float y = x;
            sigmoid_rows(&y, 1);
            worst = fmax(worst, fabs((double)y - 1 / (1 + exp(-(double)x))));
        }
    }
    printf("sigmoid: largest error %.2e, relative %.2e\n", worst, worst_relative);
    assert_true(worst < 2e-7);
    assert_true(worst_relative < 1e-6);
}

static void golden_maps(void **state) {
    (void)state;
    static const char *const names[] = {"resnet18", "odd-resnet18", "resnet34", "resnet50", "wide_resnet50_2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/golden/infer-%s.safetensors", SHARED_DIR, names[i]);
        FILE *there = fopen(path, "rb");
        if (there == NULL) {
            print_message("skipped: %s is absent\n", path);
            skip();
        }
        fclose(there);
        Error e = {0};
        TensorFile file;
        assert_int_equal(tensor_file_open(&file, path, &e), BLEMISH_OK);
        const Tensor *raw = tensor_file_find(&file, "out.map_raw"), *want = tensor_file_find(&file, "out.map");
        assert_true(raw && want && raw->rank == 4 && want->rank == 4);
        size_t h = raw->shape[2], w = raw->shape[3], height = want->shape[2], width = want->shape[3];
        float *in = array_new(raw->count, sizeof *in, &e), *expected = array_new(want->count, sizeof *expected, &e);
        float *map = array_new(height * width, sizeof *map, &e);
        tensor_to_f32(raw, in);
        tensor_to_f32(want, expected);
        Smooth s;
        assert_int_equal(smooth_open(&s, h, w, height, width, &e), BLEMISH_OK);
        float worst = 0;
        for (size_t b = 0; b < raw->shape[0]; b++) {
            smooth_run(&s, in + b * h * w, map);
            for (size_t k = 0; k < height * width; k++)
                worst = fmaxf(worst, fabsf(map[k] - expected[b * height * width + k]));
        }
        printf("%s: largest difference from the reference %.2e\n", names[i], (double)worst);
        assert_true(worst < 2e-6f); /* both sides are float: rounding of ~27 products each */
        smooth_close(&s);
        array_free(in);
        array_free(expected);
        array_free(map);
        tensor_file_close(&file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_equals_the_plain_definition),
        cmocka_unit_test(map_does_not_depend_on_threads),
        cmocka_unit_test(extreme_logits_stay_in_range),
        cmocka_unit_test(sigmoid_is_within_its_stated_error),
        cmocka_unit_test(golden_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
