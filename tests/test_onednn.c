/* The oneDNN wrapper against the definitions, in double: what must hold for 2.x and 3.x alike. */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *normals(Random *r, size_t n) {
    Error e = {0};
    float *p = array_new(n, sizeof *p, &e);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = random_normal(r);
    return p;
}

/* A sum in float, in any order, is within terms * 2^-24 * (sum of its terms' magnitudes) of the exact one (Higham,
 * Accuracy and Stability of Numerical Algorithms, 4.2); the products' own rounding adds one more term. */
static void assert_sum(float found, double expected, size_t terms, double magnitude) {
    const double tolerance = (double)(terms + 2) * 0x1p-24 * magnitude;
    if (!(fabs((double)found - expected) <= tolerance)) fail_msg("found %.9g, expected %.9g", (double)found, expected);
}

static void check_conv(Engine *engine, const ConvShape *s, bool with_bias, Random *r) {
    Error e = {0};
    const size_t oh = conv_out_size(s->height, s->kernel, s->stride, s->padding);
    const size_t ow = conv_out_size(s->width, s->kernel, s->stride, s->padding), k = s->kernel;
    float *src = normals(r, s->batch * s->height * s->width * s->in);
    float *dst = normals(r, s->batch * oh * ow * s->out);
    float *residual = normals(r, s->batch * oh * ow * s->out);
    memcpy(residual, dst, s->batch * oh * ow * s->out * sizeof *dst);
    float *weight = normals(r, s->out * s->in * k * k), *bias = normals(r, s->out);
    Conv *conv;
    assert_int_equal(conv_open(&conv, engine, s, weight, with_bias ? bias : NULL, &e), BLEMISH_OK);
    void *scratch = array_new(conv_scratch(conv) + 1, 1, &e);
    assert_int_equal(conv_run(conv, src, dst, scratch, &e), BLEMISH_OK);
    for (size_t n = 0; n < s->batch; n++)
        for (size_t y = 0; y < oh; y++)
            for (size_t x = 0; x < ow; x++)
                for (size_t o = 0; o < s->out; o++) {
                    size_t at = ((n * oh + y) * ow + x) * s->out + o;
                    const double rest = (with_bias ? (double)bias[o] : 0), old = s->add ? (double)residual[at] : 0;
                    double sum = rest + old, magnitude = fabs(rest) + fabs(old);
                    for (size_t u = 0; u < k; u++)
                        for (size_t v = 0; v < k; v++) {
                            size_t iy = y * s->stride + u - s->padding, ix = x * s->stride + v - s->padding;
                            if (iy >= s->height || ix >= s->width) continue; /* wraps below zero */
                            for (size_t c = 0; c < s->in; c++) {
                                const double term = (double)src[((n * s->height + iy) * s->width + ix) * s->in + c] *
                                                    (double)weight[((o * s->in + c) * k + u) * k + v];
                                sum += term;
                                magnitude += fabs(term);
                            }
                        }
                    assert_sum(dst[at], s->relu && sum < 0 ? 0 : sum, s->in * k * k + 2, magnitude);
                }
    conv_close(conv);
    array_free(scratch), array_free(src), array_free(dst), array_free(residual), array_free(weight), array_free(bias);
}

static void convolutions_match_the_definition(void **state) {
    (void)state;
    Error e = {0};
    Engine *engine;
    assert_int_equal(engine_open(&engine, 2, &e), BLEMISH_OK);
    const size_t kernels[][3] = {{1, 1, 0}, {3, 1, 1}, {3, 2, 1}, {7, 2, 3}, {1, 2, 0}};
    Random r = random_new(5, 0);
    for (size_t i = 0; i < 40; i++) {
        const size_t *k = kernels[i % 5];
        ConvShape s = {.batch = 1 + random_below(&r, 2),
                       .height = 7 + random_below(&r, 9),
                       .width = 7 + random_below(&r, 9),
                       .in = 1 + random_below(&r, 40),
                       .out = 1 + random_below(&r, 40),
                       .kernel = k[0],
                       .stride = k[1],
                       .padding = k[2],
                       .add = random_below(&r, 2),
                       .relu = random_below(&r, 2)};
        check_conv(engine, &s, random_below(&r, 2), &r);
    }
    engine_close(engine);
}

static void pooling_takes_the_maximum(void **state) {
    (void)state;
    Error e = {0};
    Engine *engine;
    assert_int_equal(engine_open(&engine, 1, &e), BLEMISH_OK);
    Random r = random_new(6, 0);
    for (size_t i = 0; i < 10; i++) {
        const size_t h = 1 + random_below(&r, 20), w = 1 + random_below(&r, 20), c = 1 + random_below(&r, 70);
        const size_t oh = conv_out_size(h, 3, 2, 1), ow = conv_out_size(w, 3, 2, 1);
        float *src = normals(&r, 2 * h * w * c), *dst = normals(&r, 2 * oh * ow * c);
        Pool *pool;
        assert_int_equal(pool_open(&pool, engine, 2, h, w, c, &e), BLEMISH_OK);
        void *scratch = array_new(pool_scratch(pool) + 1, 1, &e);
        assert_int_equal(pool_run(pool, src, dst, scratch, &e), BLEMISH_OK);
        for (size_t at = 0; at < 2 * oh * ow * c; at++) {
            const size_t ch = at % c, x = at / c % ow, y = at / c / ow % oh, n = at / c / ow / oh;
            float largest = -INFINITY;
            for (size_t iy = 2 * y - (y > 0); iy <= 2 * y + 1 && iy < h; iy++)
                for (size_t ix = 2 * x - (x > 0); ix <= 2 * x + 1 && ix < w; ix++)
                    largest = fmaxf(largest, src[((n * h + iy) * w + ix) * c + ch]);
            assert_true(dst[at] == largest);
        }
        pool_close(pool);
        array_free(scratch), array_free(src), array_free(dst);
    }
    engine_close(engine);
}

static void matrix_products_match_the_definition(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(7, 0);
    for (size_t i = 0; i < 40; i++) {
        const bool ta = random_below(&r, 2), tb = random_below(&r, 2);
        const size_t m = 1 + random_below(&r, 50), n = 1 + random_below(&r, 50), k = 1 + random_below(&r, 50);
        const size_t lda = (ta ? m : k) + random_below(&r, 3), ldb = (tb ? k : n) + random_below(&r, 3);
        const size_t ldc = n + random_below(&r, 3);
        const float alpha = random_normal(&r), beta = i % 3 ? random_normal(&r) : 0;
        float *a = normals(&r, (ta ? k : m) * lda), *b = normals(&r, (tb ? n : k) * ldb), *c = normals(&r, m * ldc);
        float *before = normals(&r, m * ldc);
        memcpy(before, c, m * ldc * sizeof *c);
        assert_int_equal(gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, &e), BLEMISH_OK);
        for (size_t row = 0; row < m; row++)
            for (size_t col = 0; col < ldc; col++) {
                if (col >= n) {
                    assert_true(c[row * ldc + col] == before[row * ldc + col]);
                    continue;
                }
                double sum = (double)beta * (double)before[row * ldc + col], magnitude = fabs(sum);
                for (size_t j = 0; j < k; j++) {
                    const float left = a[ta ? j * lda + row : row * lda + j],
                                right = b[tb ? col * ldb + j : j * ldb + col];
                    const double term = (double)alpha * (double)left * (double)right;
                    sum += term;
                    magnitude += fabs(term);
                }
                /* alpha and beta round once more each. */
                assert_sum(c[row * ldc + col], sum, k + 3, magnitude);
            }
        array_free(a), array_free(b), array_free(c), array_free(before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_match_the_definition),
        cmocka_unit_test(pooling_takes_the_maximum),
        cmocka_unit_test(matrix_products_match_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
