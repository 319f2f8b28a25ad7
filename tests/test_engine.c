/* oneDNN's primitives as the engine sets them up, against loops over their definitions. */
#include "engine/engine.h"
#include "engine/kernels.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Engine *engine_new(int threads) {
    Engine *engine;
    Error e = {0};
    if (engine_open(&engine, threads, &e)) fail_msg("%s", e.text);
    return engine;
}

/* ---- convolution ----------------------------------------------------------------------------------------- */

/* out (batch, oh, ow, out) NHWC; ReLU is left to the caller. */
static void conv_twin(const ConvShape *s, const float *src, const float *weight, const float *bias, Sum *out) {
    const size_t oh = conv_out_size(s->height, s->kernel, s->stride, s->padding);
    const size_t ow = conv_out_size(s->width, s->kernel, s->stride, s->padding);
    for (size_t p = 0; p < s->batch * oh * ow; p++)
        for (size_t u = 0; u < s->kernel; u++)
            for (size_t v = 0; v < s->kernel; v++) {
                const size_t n = p / (oh * ow), y = p / ow % oh * s->stride + u, x = p % ow * s->stride + v;
                if (y < s->padding || x < s->padding || y - s->padding >= s->height || x - s->padding >= s->width)
                    continue;
                const float *pixel = src + ((n * s->height + y - s->padding) * s->width + x - s->padding) * s->in;
                for (size_t o = 0; o < s->out; o++)
                    for (size_t i = 0; i < s->in; i++) {
                        const float w = weight[((o * s->in + i) * s->kernel + u) * s->kernel + v];
                        sum_add(&out[p * s->out + o], (double)w * (double)pixel[i]);
                    }
            }
    for (size_t i = 0; bias && i < s->batch * oh * ow * s->out; i++) sum_add(&out[i], (double)bias[i % s->out]);
}

static void relu_twin(Sum *values, size_t n) {
    for (size_t i = 0; i < n; i++) values[i].value = fmax(values[i].value, 0);
}

/* Parts are a larger batch, whatever the threads. */
static void check_conv(Engine *engine, Random *r, const ConvShape *part, bool with_bias) {
    ConvShape all = *part, *s = &all;
    all.batch *= part->parts ? part->parts : 1;
    const size_t oh = conv_out_size(s->height, s->kernel, s->stride, s->padding);
    const size_t ow = conv_out_size(s->width, s->kernel, s->stride, s->padding), n = s->batch * oh * ow * s->out;
    float *src = random_floats(r, s->batch * s->height * s->width * s->in), *dst = random_floats(r, n);
    float *weight = random_floats(r, s->out * s->in * s->kernel * s->kernel), *bias = random_floats(r, s->out);
    Sum *want = new_sums(s->add ? dst : NULL, n);
    conv_twin(s, src, weight, with_bias ? bias : NULL, want);
    if (s->relu) relu_twin(want, n);
    Conv *conv;
    Error e = {0};
    int before = engine_enter(engine);
    assert_int_equal(conv_open(&conv, engine, part, weight, with_bias ? bias : NULL, &e), BLEMISH_OK);
    memset(weight, 0, s->out * s->in * s->kernel * s->kernel * sizeof *weight); /* conv_open copied it */
    memset(bias, 0, s->out * sizeof *bias);
    void *scratch = array_new(conv_scratch(conv), 1, &e);
    float *dst_again = copy_floats(dst, n);
    assert_int_equal(conv_run(conv, src, dst, scratch, &e), BLEMISH_OK);
    assert_sums("conv", dst, want, n);
    assert_int_equal(conv_run(conv, src, dst_again, scratch, &e), BLEMISH_OK);
    assert_memory_equal(dst, dst_again, n * sizeof *dst);
    engine_leave(before);
    conv_close(conv);
    array_free(scratch);
    free(src), free(dst), free(dst_again), free(weight), free(bias), free(want);
}

/* Every kernel, stride and padding of the ResNets with every combination of what can follow, on odd sizes and on
 * channel counts that are and are not multiples of a vector. */
static void convolutions_match_their_definition(void **state) {
    (void)state;
    static const size_t kernels[][3] = {{7, 2, 3}, {3, 1, 1}, {3, 2, 1}, {1, 1, 0}, {1, 2, 0}};
    static const size_t channels[][2] = {{3, 64}, {32, 48}, {5, 7}};
    static const size_t sizes[][3] = {{1, 9, 13}, {2, 8, 8}, {3, 1, 7}};
    Engine *engine = engine_new(2);
    Random r = random_new(1, 0);
    for (size_t i = 0; i < 5 * 3 * 3 * 8; i++) {
        const size_t *k = kernels[i / 72], *c = channels[i / 24 % 3], *s = sizes[i / 8 % 3];
        const ConvShape shape = {.batch = s[0],
                                 .height = s[1],
                                 .width = s[2],
                                 .in = c[0],
                                 .out = c[1],
                                 .kernel = k[0],
                                 .stride = k[1],
                                 .padding = k[2],
                                 .add = i & 1,
                                 .relu = i & 2,
                                 .parts = i % 5 / 2 + i % 5 % 2};
        check_conv(engine, &r, &shape, i & 4);
    }
    engine_close(engine);
}

static void an_impossible_convolution_is_an_error(void **state) {
    (void)state;
    Engine *engine = engine_new(1);
    const ConvShape shape = {.batch = 1, .height = 4, .width = 4, .in = 1, .out = 1, .kernel = 7, .stride = 1};
    const float weight[49] = {0};
    Conv *conv = (Conv *)&shape;
    Error e = {0};
    assert_int_not_equal(conv_open(&conv, engine, &shape, weight, NULL, &e), BLEMISH_OK);
    assert_null(conv);
    assert_true(e.status != BLEMISH_OK && e.text[0] != 0);
    engine_close(engine);
}

/* ---- pooling --------------------------------------------------------------------------------------------- */

/* All inputs are negative: padding must not win. */
static void pooling_matches_its_definition(void **state) {
    (void)state;
    static const size_t sizes[][4] = {{1, 16, 16, 64}, {2, 9, 13, 64}, {1, 1, 1, 3}, {3, 2, 5, 7}, {1, 1, 8, 17}};
    Engine *engine = engine_new(2);
    Random r = random_new(2, 0);
    for (size_t t = 0; t < sizeof sizes / sizeof *sizes; t++) {
        const size_t b = sizes[t][0], h = sizes[t][1], w = sizes[t][2], c = sizes[t][3];
        const size_t oh = conv_out_size(h, 3, 2, 1), ow = conv_out_size(w, 3, 2, 1);
        float *src = random_floats(&r, b * h * w * c), *dst = zero_floats(b * oh * ow * c);
        for (size_t i = 0; i < b * h * w * c; i++) src[i] -= 1.5f;
        Pool *pool;
        Error e = {0};
        int before = engine_enter(engine);
        assert_int_equal(pool_open(&pool, engine, ELEMENT_F32, b, h, w, c, &e), BLEMISH_OK);
        void *scratch = array_new(pool_scratch(pool), 1, &e);
        assert_int_equal(pool_run(pool, src, dst, scratch, &e), BLEMISH_OK);
        engine_leave(before);
        for (size_t i = 0; i < b * oh * ow * c; i++) {
            const size_t n = i / (oh * ow * c), y = i / (ow * c) % oh, x = i / c % ow;
            float max = -INFINITY;
            for (size_t u = y > 0 ? 2 * y - 1 : 0; u <= 2 * y + 1 && u < h; u++)
                for (size_t v = x > 0 ? 2 * x - 1 : 0; v <= 2 * x + 1 && v < w; v++)
                    max = fmaxf(max, src[((n * h + u) * w + v) * c + i % c]);
            assert_true(dst[i] == max);
        }
        pool_close(pool);
        array_free(scratch);
        free(src), free(dst);
    }
    engine_close(engine);
}

/* ---- matrix products ------------------------------------------------------------------------------------- */

/* Rounded in place, so that the plain sum multiplies the very numbers that the product does. */
static uint16_t *round_to_bf16(float *values, size_t n) {
    Error e = {0};
    uint16_t *rounded = array_new(n, sizeof *rounded, &e);
    kernels()->to_bf16(values, n, rounded);
    kernels()->from_bf16(rounded, n, values);
    return rounded;
}

static void check_gemm(Engine *engine, Random *r, size_t m, size_t n, size_t k, bool ta, bool tb, bool add, bool bf16) {
    const size_t lda = (ta ? m : k) + random_below(r, 4), ldb = (tb ? k : n) + random_below(r, 4);
    const size_t ldc = n + random_below(r, 4), floats = m * ldc;
    float *a = random_floats(r, (ta ? k : m) * lda), *b = random_floats(r, (tb ? n : k) * ldb);
    float *c = random_floats(r, floats);
    uint16_t *a16 = bf16 ? round_to_bf16(a, (ta ? k : m) * lda) : NULL;
    uint16_t *b16 = bf16 ? round_to_bf16(b, (tb ? n : k) * ldb) : NULL;
    Sum *want = new_sums(c, floats); /* what lies between the rows must stay */
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            Sum *sum = &want[i * ldc + j];
            *sum = (Sum){0};
            if (add)
                sum_add(sum, (double)c[i * ldc + j]);
            else
                c[i * ldc + j] = NAN; /* must not be read */
            for (size_t l = 0; l < k; l++)
                sum_add(sum, (double)(ta ? a[l * lda + i] : a[i * lda + l]) *
                                 (double)(tb ? b[j * ldb + l] : b[l * ldb + j]));
        }
    Error e = {0};
    if (bf16 ? gemm_bf16(engine, ta, tb, m, n, k, a16, lda, b16, ldb, add, c, ldc, &e)
             : gemm(engine, ta, tb, m, n, k, a, lda, b, ldb, add, c, ldc, &e))
        fail_msg("%s", e.text);
    assert_sums("gemm", c, want, floats);
    free(a), free(b), free(c), free(want);
    array_free(a16), array_free(b16);
}

static void matrix_products_match_their_definition(void **state) {
    (void)state;
    static const size_t sizes[][3] = {{2, 2, 1},    {2, 37, 5},   {41, 3, 9},    {7, 13, 1},   {17, 19, 23},
                                      {64, 48, 32}, {3, 129, 70}, {65, 33, 129}, {96, 5, 300}, {130, 70, 17}};
    Engine *engine = engine_new(2);
    int before = engine_enter(engine);
    Random r = random_new(3, 0);
    /* More shapes than the engine keeps, and each of them twice. */
    for (int bf16 = 0; bf16 <= engine_has_bf16(); bf16++)
        for (size_t i = 0; i < 2 * 10 * 8; i++)
            check_gemm(engine, &r, sizes[i / 8 % 10][0], sizes[i / 8 % 10][1], sizes[i / 8 % 10][2], i & 1, i & 2,
                       i & 4, bf16);
    for (size_t i = 0; i < 8; i++) check_gemm(engine, &r, 5, 6, 0, i & 1, i & 2, i & 4, false);
    engine_leave(before);
    engine_close(engine);
}

static void an_empty_matrix_product_does_nothing(void **state) {
    (void)state;
    Error e = {0};
    Engine *engine = engine_new(1);
    assert_int_equal(gemm(engine, false, false, 0, 3, 2, NULL, 2, NULL, 3, false, NULL, 3, &e), BLEMISH_OK);
    assert_int_equal(gemm(engine, false, false, 3, 0, 2, NULL, 2, NULL, 1, false, NULL, 1, &e), BLEMISH_OK);
    engine_close(engine);
}

/* ---- threads --------------------------------------------------------------------------------------------- */

static void the_callers_thread_count_survives(void **state) {
    (void)state;
    Engine *engine = engine_new(3);
    assert_int_equal(engine_threads(engine), 3);
    omp_set_num_threads(5);
    int before = engine_enter(engine);
    assert_int_equal(omp_get_max_threads(), 3);
    engine_leave(before);
    assert_int_equal(omp_get_max_threads(), 5);
    engine_close(engine);
    engine = engine_new(0);
    assert_int_equal(engine_threads(engine), cores_limit(omp_get_num_procs()));
    engine_close(engine);
}

static void thread_counts_are_checked(void **state) {
    (void)state;
    const int bad[] = {-1, ENGINE_THREADS_MAX + 1, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Engine *engine;
        Error e = {0};
        assert_int_equal(engine_open(&engine, bad[i], &e), BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(e.text, "threads: found "));
        assert_null(engine);
    }
}

typedef struct Worker {
    int threads, wrong; /* wrong: how many runs did not give the bits that this worker gets alone */
    size_t height;
    pthread_barrier_t *start;
} Worker;

/* A convolution and a product on this thread's own engine, over and over; no cmocka calls outside the main thread. */
static void *work(void *argument) {
    Worker *worker = argument;
    enum { RUNS = 20, CHANNELS = 32, WIDTH = 11 };
    const ConvShape s = {.batch = 1,
                         .height = worker->height,
                         .width = WIDTH,
                         .in = CHANNELS,
                         .out = CHANNELS,
                         .kernel = 3,
                         .stride = 1,
                         .padding = 1,
                         .relu = true};
    const size_t pixels = s.height * WIDTH, n = pixels * CHANNELS, weights = 9 * CHANNELS * CHANNELS;
    Error e = {0};
    Random r = random_new(4, s.height);
    float *src = array_new(n, sizeof *src, &e), *dst = array_new(n, sizeof *dst, &e);
    float *product = array_new(n, sizeof *product, &e), *expected = array_new(2 * n, sizeof *expected, &e);
    float *weight = array_new(weights, sizeof *weight, &e);
    for (size_t i = 0; i < n; i++) src[i] = random_signed(&r);
    for (size_t i = 0; i < weights; i++) weight[i] = random_signed(&r);
    Engine *engine = NULL;
    Conv *conv = NULL;
    worker->wrong += engine_open(&engine, worker->threads, &e) != BLEMISH_OK;
    int before = engine_enter(engine);
    worker->wrong += conv_open(&conv, engine, &s, weight, NULL, &e) != BLEMISH_OK;
    void *scratch = array_new(conv_scratch(conv), 1, &e);
    for (int run = -1; run < RUNS; run++) {
        if (run == 0 && worker->start) pthread_barrier_wait(worker->start);
        worker->wrong += conv_run(conv, src, dst, scratch, &e) != BLEMISH_OK;
        worker->wrong += gemm(engine, false, true, pixels, CHANNELS, CHANNELS, src, CHANNELS, weight, CHANNELS, false,
                              product, CHANNELS, &e) != BLEMISH_OK;
        if (run < 0) {
            memcpy(expected, dst, n * sizeof *dst);
            memcpy(expected + n, product, n * sizeof *dst);
        }
        worker->wrong += memcmp(expected, dst, n * sizeof *dst) || memcmp(expected + n, product, n * sizeof *dst);
    }
    worker->wrong += omp_get_max_threads() != worker->threads;
    engine_leave(before);
    conv_close(conv);
    engine_close(engine);
    array_free(src), array_free(dst), array_free(product), array_free(expected), array_free(weight);
    array_free(scratch);
    return NULL;
}

static void two_engines_run_in_two_threads(void **state) {
    (void)state;
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    Worker workers[2] = {{.threads = 1, .height = 23, .start = &start}, {.threads = 2, .height = 40, .start = &start}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    for (int i = 0; i < 2; i++) assert_int_equal(workers[i].wrong, 0);
}

static void the_library_has_a_version(void **state) {
    (void)state;
    char text[32];
    int parts[3];
    engine_library_version(text);
    assert_int_equal(sscanf(text, "%d.%d.%d", &parts[0], &parts[1], &parts[2]), 3);
    assert_true(parts[0] >= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_match_their_definition),
        cmocka_unit_test(an_impossible_convolution_is_an_error),
        cmocka_unit_test(pooling_matches_its_definition),
        cmocka_unit_test(matrix_products_match_their_definition),
        cmocka_unit_test(an_empty_matrix_product_does_nothing),
        cmocka_unit_test(the_callers_thread_count_survives),
        cmocka_unit_test(thread_counts_are_checked),
        cmocka_unit_test(two_engines_run_in_two_threads),
        cmocka_unit_test(the_library_has_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
