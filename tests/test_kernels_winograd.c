/* Winograd's kernels of every instruction set against their matrices. */
#include "engine/kernels.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows of B^T: the coefficients of the product of all (x - p') but p's own; the last row of all. */
static const double input_2[4][6] = {{-1, 0, 1}, {0, 1, 1}, {0, -1, 1}, {0, -1, 0, 1}};
static const double input_4[6][6] = {{1, 1.5, -2, -1.5, 1}, {0, -1, -2.5, -0.5, 1}, {0, 1, 0.5, -2.5, 1},
                                     {0, -0.5, -1, 0.5, 1}, {0, 2, -1, -2, 1},      {0, 1, 1.5, -2, -1.5, 1}};
/* Rows of A^T: powers of the points, and infinity in the last. */
static const double output_2[2][6] = {{1, 1, 1, 0}, {0, 1, -1, 1}};
static const double output_4[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -0.5, 0}, {0, 1, 1, 4, 0.25, 0}, {0, 1, -1, 8, -0.125, 1}};

static const double *input_row(size_t tile, size_t i) {
    return tile == 2 ? input_2[i] : input_4[i];
}
static const double *output_row(size_t tile, size_t i) {
    return tile == 2 ? output_2[i] : output_4[i];
}

static void check_input(const Kernels *k, Random *r, size_t tile) {
    enum { CHANNELS = 48 };
    const size_t side = tile + 2, stride = CHANNELS * WINOGRAD_ROWS + 16;
    float *image = random_floats(r, side * side * CHANNELS), *v = random_floats(r, side * side * stride);
    const float *pixels[36];
    for (size_t p = 0; p < side * side; p++) pixels[p] = image + (side * side - 1 - p) * CHANNELS;
    (tile == 2 ? k->winograd_input_2 : k->winograd_input_4)(pixels, CHANNELS, v, stride);
    for (size_t p = 0; p < side * side; p++)
        for (size_t c = 0; c < CHANNELS; c++) {
            Sum want = sum_from(0);
            for (size_t q = 0; q < side * side; q++)
                sum_add(&want, input_row(tile, p / side)[q / side] * input_row(tile, p % side)[q % side] *
                                   (double)pixels[q][c]);
            assert_sums(k->name, v + p * stride + c / 16 * 16 * WINOGRAD_ROWS + c % 16, &want, 1);
        }
    free(image), free(v);
}

static void check_product(const Kernels *k, Random *r, size_t channels, size_t rows) {
    float *v = random_floats(r, rows * channels), *w = random_floats(r, channels * WINOGRAD_PANEL);
    float *m = random_floats(r, rows * WINOGRAD_PANEL);
    k->winograd_product(v, w, channels, rows, m);
    for (size_t i = 0; i < rows; i++)
        for (size_t o = 0; o < WINOGRAD_PANEL; o++) {
            Sum want = sum_from(0);
            for (size_t c = 0; c < channels; c++) {
                const size_t block = i / WINOGRAD_ROWS * channels / 16 + c / 16;
                const float a = v[(block * WINOGRAD_ROWS + i % WINOGRAD_ROWS) * 16 + c % 16];
                const float b = w[(o / WINOGRAD_STRIP * channels + c) * WINOGRAD_STRIP + o % WINOGRAD_STRIP];
                sum_add(&want, (double)a * (double)b);
            }
            assert_sums(k->name, m + i * WINOGRAD_PANEL + o, &want, 1);
        }
    free(v), free(w), free(m);
}

static void check_output(const Kernels *k, Random *r, size_t tile, const WinogradOutput *o) {
    const size_t side = tile + 2, stride = WINOGRAD_PANEL + 16, n = tile * o->row;
    float *m = random_floats(r, side * side * stride), *before = random_floats(r, n), *dst = copy_floats(before, n);
    float *found = copy_floats(before, n);
    (tile == 2 ? k->winograd_output_2 : k->winograd_output_4)(m, stride, o, dst);
    for (size_t i = 0; i < tile && i < o->height; i++)
        for (size_t j = 0; j < tile && j < o->width; j++)
            for (size_t c = 0; c < WINOGRAD_PANEL; c++) {
                const size_t at = i * o->row + j * o->pixel + c;
                Sum want = sum_from((double)o->bias[c]);
                for (size_t p = 0; p < side * side; p++)
                    sum_add(&want,
                            output_row(tile, i)[p / side] * output_row(tile, j)[p % side] * (double)m[p * stride + c]);
                if (o->add) sum_add(&want, (double)before[at]);
                if (o->relu) want.value = fmax(want.value, 0);
                assert_sums(k->name, dst + at, &want, 1);
                found[at] = dst[at];
            }
    assert_memory_equal(found, dst, n * sizeof *dst); /* nothing else was written */
    free(m), free(before), free(dst), free(found);
}

static void kernels_are_their_matrices(void **state) {
    (void)state;
    Random r = random_new(33, 0);
    for (size_t at = 0; kernels_at(at); at++) {
        const Kernels *k = kernels_at(at);
        for (size_t tile = 2; tile <= 4; tile += 2) {
            check_input(k, &r, tile);
            for (size_t i = 0; i < 16; i++) {
                float *bias = random_floats(&r, WINOGRAD_PANEL);
                const size_t pixel = WINOGRAD_PANEL * (1 + i % 2);
                const WinogradOutput o = {.bias = bias,
                                          .height = 1 + random_below(&r, 5),
                                          .width = 1 + random_below(&r, 5),
                                          .row = 4 * pixel,
                                          .pixel = pixel,
                                          .add = i / 2 % 2,
                                          .relu = i / 4 % 2};
                check_output(k, &r, tile, &o);
                free(bias);
            }
        }
        for (size_t i = 1; i <= 6; i++) check_product(k, &r, 16 * i, WINOGRAD_ROWS * (7 - i));
    }
}

static void not_a_number_is_kept(void **state) {
    (void)state;
    for (size_t at = 0; kernels_at(at); at++) {
        float m[16 * WINOGRAD_PANEL] = {0}, bias[WINOGRAD_PANEL] = {0}, dst[2 * 2 * WINOGRAD_PANEL];
        const WinogradOutput o = {
            .bias = bias, .height = 2, .width = 2, .row = 2 * WINOGRAD_PANEL, .pixel = WINOGRAD_PANEL, .relu = true};
        m[5 * WINOGRAD_PANEL] = NAN;
        kernels_at(at)->winograd_output_2(m, WINOGRAD_PANEL, &o, dst);
        assert_true(isnan(dst[0]));
        assert_true(dst[1] == 0.0f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_are_their_matrices),
                                       cmocka_unit_test(not_a_number_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
