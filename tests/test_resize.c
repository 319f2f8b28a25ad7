#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The definition, in double: position of output i among the inputs, clamped to the border. */
static double position(size_t i, size_t in, size_t out, bool corners) {
    double x = corners ? (out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0)
                       : ((double)i + 0.5) * (double)in / (double)out - 0.5;
    return fmin(fmax(x, 0), (double)(in - 1));
}

static double bilinear(const double *in, size_t in_height, size_t in_width, double y, double x) {
    size_t y0 = (size_t)y, x0 = (size_t)x;
    size_t y1 = y0 + 1 < in_height ? y0 + 1 : y0, x1 = x0 + 1 < in_width ? x0 + 1 : x0;
    double wy = y - (double)y0, wx = x - (double)x0;
    return (1 - wy) * ((1 - wx) * in[y0 * in_width + x0] + wx * in[y0 * in_width + x1]) +
           wy * ((1 - wx) * in[y1 * in_width + x0] + wx * in[y1 * in_width + x1]);
}

/* in height, in width, out height, out width: up, down, mixed, odd, single rows and columns, and more than one group
 * of columns. */
static const size_t shapes[][4] = {{480, 640, 256, 256}, {37, 53, 88, 29}, {1, 1, 32, 33},   {1, 9, 4, 4},
                                   {9, 1, 4, 4},         {2, 2, 1, 1},     {5, 7, 5, 7},     {3, 1000, 7, 301},
                                   {300, 40, 64, 600},   {64, 64, 65, 63}, {31, 31, 62, 512}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* A random image with a stride wider than its rows, the gap filled with other noise. */
static BlemishImage random_image(Random *r, size_t height, size_t width, int channels, uint8_t **memory) {
    size_t stride = width * (size_t)channels + 5;
    *memory = malloc(stride * height);
    assert_non_null(*memory);
    for (size_t i = 0; i < stride * height; i++) (*memory)[i] = (uint8_t)random_u32(r);
    return (BlemishImage){.data = *memory, .width = width, .height = height, .stride = stride, .channels = channels};
}

static double *plane_of(const BlemishImage *image, int channel) {
    double *plane = malloc(image->width * image->height * sizeof *plane);
    assert_non_null(plane);
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            plane[y * image->width + x] = image->data[y * image->stride + x * (size_t)image->channels +
                                                      (image->channels == 3 ? (size_t)channel : 0)];
    return plane;
}

static void input_is_the_definition(void **state) {
    (void)state;
    const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    Random r = random_new(11, 0);
    for (size_t s = 0; s < 2 * SHAPES; s++) {
        const size_t *n = shapes[s / 2];
        uint8_t *memory;
        BlemishImage image = random_image(&r, n[0], n[1], s % 2 ? 3 : 1, &memory);
        float *out = malloc(n[2] * n[3] * 3 * sizeof *out);
        assert_non_null(out);
        image_to_input(&image, n[2], n[3], out);
        for (int c = 0; c < 3; c++) {
            double *plane = plane_of(&image, c);
            for (size_t y = 0; y < n[2]; y++)
                for (size_t x = 0; x < n[3]; x++) {
                    double v =
                        bilinear(plane, n[0], n[1], position(y, n[0], n[2], false), position(x, n[1], n[3], false));
                    /* A few float roundings of values up to 255, on a scale of 1 / (255 * 0.22). */
                    assert_true(fabs((v / 255 - mean[c]) / std[c] - (double)out[(y * n[3] + x) * 3 + (size_t)c]) <
                                3e-6);
                }
            free(plane);
        }
        free(out);
        free(memory);
    }
}

/* Worked out by hand: two pixels to four columns lie at -0.25, 0.25, 0.75, 1.25. */
static void half_pixel_centres_by_hand(void **state) {
    (void)state;
    const float in[2] = {0, 8}, half[4] = {0, 2, 6, 8}, corners[5] = {0, 2, 4, 6, 8};
    float out[5];
    plane_resize_bilinear(in, 1, 2, out, 1, 4);
    assert_memory_equal(out, half, sizeof half);
    plane_resize_bilinear_corners(in, 1, 2, out, 1, 5);
    assert_memory_equal(out, corners, sizeof corners);
    plane_resize_bilinear_corners(in, 1, 2, out, 1, 1);
    assert_true(out[0] == 0);
}

static void planes_are_the_definition(void **state) {
    (void)state;
    Random r = random_new(12, 0);
    for (size_t s = 0; s < 2 * SHAPES; s++) {
        const size_t *n = shapes[s / 2];
        float *in = malloc(n[0] * n[1] * sizeof *in), *out = malloc(n[2] * n[3] * sizeof *out);
        double *exact = malloc(n[0] * n[1] * sizeof *exact);
        assert_true(in && out && exact);
        for (size_t i = 0; i < n[0] * n[1]; i++) exact[i] = in[i] = random_normal(&r);
        bool corners = s % 2;
        (corners ? plane_resize_bilinear_corners : plane_resize_bilinear)(in, n[0], n[1], out, n[2], n[3]);
        for (size_t y = 0; y < n[2]; y++)
            for (size_t x = 0; x < n[3]; x++) {
                double v =
                    bilinear(exact, n[0], n[1], position(y, n[0], n[2], corners), position(x, n[1], n[3], corners));
                assert_true(fabs(v - (double)out[y * n[3] + x]) < 2e-6); /* float roundings of values up to 5 */
            }
        free(in);
        free(out);
        free(exact);
    }
}

static void pictures_are_rounded(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(13, 0);
    for (size_t s = 0; s < 2 * SHAPES; s++) {
        const size_t *n = shapes[s / 2];
        uint8_t *memory;
        BlemishImage image = random_image(&r, n[0], n[1], s % 2 ? 3 : 1, &memory), out;
        assert_int_equal(image_resize(&image, n[3], n[2], &out, &e), BLEMISH_OK);
        assert_int_equal(out.channels, image.channels);
        assert_true(out.width == n[3] && out.height == n[2]);
        for (int c = 0; c < image.channels; c++) {
            double *plane = plane_of(&image, c);
            for (size_t y = 0; y < n[2]; y++)
                for (size_t x = 0; x < n[3]; x++) {
                    double v =
                        bilinear(plane, n[0], n[1], position(y, n[0], n[2], false), position(x, n[1], n[3], false));
                    /* Half a step of rounding plus float error near a tie. */
                    uint8_t found = out.data[y * out.stride + x * (size_t)out.channels + (size_t)c];
                    assert_true(fabs(v - found) < 0.5 + 1e-4);
                }
            free(plane);
        }
        image_free(&out);
        free(memory);
    }
    uint8_t one = 7;
    BlemishImage image = {.data = &one, .width = 1, .height = 1, .stride = 1, .channels = 1}, out;
    assert_int_equal(image_resize(&image, 0, 4, &out, &e), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(image_resize(&image, SIZE_MAX, 4, &out, &e), BLEMISH_ERROR_MEMORY);
    assert_null(out.data);
}

static void nearest_is_the_floor(void **state) {
    (void)state;
    Random r = random_new(14, 0);
    for (size_t s = 0; s < SHAPES; s++) {
        const size_t *n = shapes[s];
        uint8_t *in = malloc(n[0] * n[1]), *out = malloc(n[2] * n[3]);
        assert_true(in && out);
        for (size_t i = 0; i < n[0] * n[1]; i++) in[i] = (uint8_t)random_u32(&r);
        mask_resize_nearest(in, n[0], n[1], out, n[2], n[3]);
        for (size_t y = 0; y < n[2]; y++)
            for (size_t x = 0; x < n[3]; x++) {
                size_t sy = 0, sx = 0; /* the largest index not above i * in / out, by counting */
                while ((sy + 1) * n[2] <= y * n[0]) sy++;
                while ((sx + 1) * n[3] <= x * n[1]) sx++;
                assert_int_equal(out[y * n[3] + x], in[sy * n[1] + sx]);
            }
        free(in);
        free(out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_pixel_centres_by_hand), cmocka_unit_test(input_is_the_definition),
        cmocka_unit_test(planes_are_the_definition),  cmocka_unit_test(pictures_are_rounded),
        cmocka_unit_test(nearest_is_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
