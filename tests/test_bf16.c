/* bfloat16: convolutions and pooling against their definitions, a backbone and a session against fp32. All but the
 * refusals skip, and say so, where the processor has no bfloat16 products. */
#include "helper_model.h"
#include "helper_numbers.h"
#include "infer/infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HALF_ULP 0x1p-8 /* of a bfloat16, relative: 8 bits of significand, rounded to nearest */

static bool skipped(void) {
    if (!engine_has_bf16()) print_message("skipped: this processor has no bfloat16 products\n");
    return !engine_has_bf16();
}

/* Random numbers that bfloat16 holds exactly, and the same as bfloat16. */
static uint16_t *random_bf16(Random *r, float *values, size_t n) {
    uint16_t *rounded = malloc(n * sizeof *rounded);
    assert_non_null(rounded);
    for (size_t i = 0; i < n; i++) values[i] = random_signed(r);
    kernels()->to_bf16(values, n, rounded);
    kernels()->from_bf16(rounded, n, values);
    return rounded;
}

/* ---- primitives ------------------------------------------------------------------------------------------ */

static void check_conv(Engine *engine, Random *r, const ConvShape *s) {
    const size_t oh = conv_out_size(s->height, s->kernel, s->stride, s->padding);
    const size_t ow = conv_out_size(s->width, s->kernel, s->stride, s->padding), n = s->batch * oh * ow * s->out;
    const size_t count = s->batch * s->height * s->width * s->in, weights = s->out * s->in * s->kernel * s->kernel;
    float *src = zero_floats(count), *start = zero_floats(n), *weight = zero_floats(weights), *got = zero_floats(n);
    float *bias = random_floats(r, s->out);
    uint16_t *from = random_bf16(r, src, count), *to = random_bf16(r, start, n);
    free(random_bf16(r, weight, weights));
    Sum *want = new_sums(s->add ? start : NULL, n);
    for (size_t p = 0; p < n; p++)
        for (size_t t = 0; t < s->kernel * s->kernel * s->in; t++) {
            const size_t pixel = p / s->out, o = p % s->out, u = t / s->in / s->kernel, v = t / s->in % s->kernel;
            const size_t y = pixel / ow % oh * s->stride + u, x = pixel % ow * s->stride + v, i = t % s->in;
            if (y < s->padding || x < s->padding || y - s->padding >= s->height || x - s->padding >= s->width) continue;
            const size_t at = (pixel / (oh * ow) * s->height + y - s->padding) * s->width + x - s->padding;
            const float w = weight[((o * s->in + i) * s->kernel + u) * s->kernel + v];
            sum_add(&want[p], (double)w * (double)src[at * s->in + i]);
        }
    for (size_t i = 0; i < n; i++) sum_add(&want[i], (double)bias[i % s->out]);
    if (s->relu)
        for (size_t i = 0; i < n; i++) want[i].value = fmax(want[i].value, 0);
    Conv *conv;
    Error e = {0};
    const int before = engine_enter(engine);
    assert_ok(conv_open(&conv, engine, s, weight, bias, &e), e.text);
    void *scratch = array_new(conv_scratch(conv), 1, &e);
    if (s->to == ELEMENT_F32) { /* the products are exact and sums are fp32's: no other error than fp32's own */
        assert_ok(conv_run(conv, from, got, scratch, &e), e.text);
        assert_sums("fp32 of bf16", got, want, n);
    } else {
        assert_ok(conv_run(conv, from, to, scratch, &e), e.text);
        kernels()->from_bf16(to, n, got);
        for (size_t i = 0; i < n; i++) {
            const double sum = (double)(want[i].terms + SUM_OWN_ROUNDINGS) * 0x1p-24 * want[i].size;
            assert_true(fabs((double)got[i] - want[i].value) <= HALF_ULP * fabs(want[i].value) + 2 * sum);
        }
    }
    engine_leave(before);
    conv_close(conv);
    array_free(scratch);
    free(src), free(start), free(weight), free(got), free(bias), free(from), free(to), free(want);
}

/* The networks' kernels with every combination of what follows, on odd sizes and channel counts. */
static void convolutions_match_their_definition(void **state) {
    (void)state;
    if (skipped()) skip();
    static const size_t kernels_[][3] = {{7, 2, 3}, {3, 1, 1}, {3, 2, 1}, {1, 1, 0}, {1, 2, 0}};
    static const size_t channels[][2] = {{3, 64}, {32, 48}, {5, 7}};
    Engine *engine;
    Error e = {0};
    Random r = random_new(1, 0);
    assert_ok(engine_open(&engine, 2, &e), e.text);
    for (size_t i = 0; i < 5 * 3 * 8; i++) {
        const size_t *k = kernels_[i / 24], *c = channels[i / 8 % 3];
        const ConvShape shape = {.batch = 1 + i % 2,
                                 .height = 9,
                                 .width = 13,
                                 .in = c[0],
                                 .out = c[1],
                                 .kernel = k[0],
                                 .stride = k[1],
                                 .padding = k[2],
                                 .add = (i & 1) && !(i & 4), /* a residual is of the result's type */
                                 .relu = i & 2,
                                 .from = ELEMENT_BF16,
                                 .to = i & 4 ? ELEMENT_F32 : ELEMENT_BF16};
        check_conv(engine, &r, &shape);
    }
    engine_close(engine);
}

static void pooling_is_exact(void **state) {
    (void)state;
    if (skipped()) skip();
    enum { H = 9, W = 13, C = 64, OH = 5, OW = 7 };
    Engine *engine;
    Error e = {0};
    Random r = random_new(2, 0);
    Pool *pool;
    float *src = zero_floats(H * W * C), got[C];
    uint16_t *from = random_bf16(&r, src, H * W * C), *to = calloc(OH * OW * C, sizeof *to);
    assert_non_null(to);
    assert_ok(engine_open(&engine, 2, &e), e.text);
    const int before = engine_enter(engine);
    assert_ok(pool_open(&pool, engine, ELEMENT_BF16, 1, H, W, C, &e), e.text);
    void *scratch = array_new(pool_scratch(pool), 1, &e);
    assert_ok(pool_run(pool, from, to, scratch, &e), e.text);
    engine_leave(before);
    for (size_t p = 0; p < OH * OW; p++) {
        kernels()->from_bf16(to + p * C, C, got);
        for (size_t c = 0; c < C; c++) {
            float max = -INFINITY;
            for (size_t y = 2 * (p / OW); y <= 2 * (p / OW) + 2; y++)
                for (size_t x = 2 * (p % OW); x <= 2 * (p % OW) + 2; x++)
                    if (y >= 1 && x >= 1 && y <= H && x <= W) max = fmaxf(max, src[((y - 1) * W + x - 1) * C + c]);
            assert_true(got[c] == max);
        }
    }
    pool_close(pool);
    engine_close(engine);
    array_free(scratch);
    free(src), free(from), free(to);
}

/* ---- networks -------------------------------------------------------------------------------------------- */

static double norm(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (b ? (double)b[i] : 0)) * ((double)a[i] - (b ? (double)b[i] : 0));
    return sqrt(sum);
}

/* f2 and f3 in a row, as floats; the caller frees. */
static float *features_of(const Trunk *trunk, const Geometry *g, Element type, const float *input, size_t n2,
                          size_t n3) {
    Engine *engine;
    Backbone *backbone;
    Error e = {0};
    const void *f2, *f3;
    float *out = zero_floats(n2 + n3);
    assert_ok(engine_open(&engine, 2, &e), e.text);
    assert_ok(backbone_open(&backbone, engine, trunk, type, 2, g->height, g->width, &e), e.text);
    const int before = engine_enter(engine);
    memcpy(backbone_input(backbone), input, 2 * g->height * g->width * 3 * sizeof *input);
    assert_ok(backbone_run(backbone, &f2, &f3, &e), e.text);
    if (type == ELEMENT_BF16) {
        kernels()->from_bf16(f2, n2, out);
        kernels()->from_bf16(f3, n3, out + n2);
    } else {
        memcpy(out, f2, n2 * sizeof *out);
        memcpy(out + n2, f3, n3 * sizeof *out);
    }
    engine_leave(before);
    backbone_close(backbone);
    engine_close(engine);
    return out;
}

/* Each layer rounds its weights and its result, by at most HALF_ULP and independently: the errors' squares add, so a
 * map's root mean square error stays below HALF_ULP * sqrt(2 * layers) of the map's own. */
static void backbones_stay_close_to_fp32(void **state) {
    (void)state;
    if (skipped()) skip();
    static const char *const names[] = {"resnet18", "wide_resnet50_2"};
    static const size_t sizes[][2] = {{65, 90}, {64, 64}};
    for (size_t i = 0; i < 2; i++) {
        Trunk trunk;
        Geometry g;
        Error e = {0};
        Random r = random_new(3, i);
        assert_ok(trunk_load(&trunk, names[i], NULL, &e), e.text);
        assert_ok(geometry_make(&g, sizes[i][0], sizes[i][1], trunk.c2, trunk.c3, &e), e.text);
        float *input = random_floats(&r, 2 * g.height * g.width * 3);
        const size_t n2 = 2 * g.h2 * g.w2 * g.c2, n3 = 2 * g.h3 * g.w3 * g.c3;
        float *want = features_of(&trunk, &g, ELEMENT_F32, input, n2, n3);
        float *got = features_of(&trunk, &g, ELEMENT_BF16, input, n2, n3);
        const double limit = HALF_ULP * sqrt(2 * (double)trunk.count);
        const double d2 = norm(got, want, n2) / norm(want, NULL, n2);
        const double d3 = norm(got + n2, want + n2, n3) / norm(want + n2, NULL, n3);
        print_message("%s: f2 within %.2f %%, f3 within %.2f %%, allowed %.2f %%\n", names[i], 100 * d2, 100 * d3,
                      100 * limit);
        assert_true(d2 > 0 && d2 < limit);
        assert_true(d3 > 0 && d3 < limit);
        free(input), free(want), free(got);
        trunk_close(&trunk);
    }
}

/* Score and map of one picture; *precision is what the session says it computed in. */
static float run_session(const Model *model, BlemishPrecision wanted, float *map, const char **precision) {
    BlemishSessionSettings settings = {.threads = 2, .batch = 1, .precision = wanted};
    Session s;
    Error e = {0};
    BlemishImage image;
    BlemishResult result;
    picture_make(&image, 70, 50, 3, 4);
    assert_ok(session_open(&s, model, &settings, &e), e.text);
    assert_ok(session_run(&s, &image, 1, &result, &e), e.text);
    memcpy(map, result.map, model->geometry.height * model->geometry.width * sizeof *map);
    *precision = session_cost(&s).precision;
    session_close(&s);
    image_free(&image);
    return result.score;
}

/* Features within 2 % make logits within a few hundredths, and the sigmoid's slope is at most 1/4. */
static void sessions_choose_their_precision(void **state) {
    (void)state;
    enum { H = 64, W = 96 };
    Model model;
    float fp32[H * W], other[H * W];
    const char *precision;
    model_make(&model, H, W);
    const float score = run_session(&model, BLEMISH_PRECISION_FP32, fp32, &precision);
    assert_string_equal(precision, "fp32");
    assert_true(run_session(&model, BLEMISH_PRECISION_AUTO, other, &precision) == score);
    assert_string_equal(precision, "fp32");
    assert_memory_equal(fp32, other, sizeof fp32);
    if (engine_has_bf16()) {
        const float rounded = run_session(&model, BLEMISH_PRECISION_BF16, other, &precision);
        double worst = 0;
        for (size_t i = 0; i < H * W; i++) worst = fmax(worst, fabs((double)fp32[i] - (double)other[i]));
        print_message("bf16: map within %.1e, score within %.1e\n", worst, fabs((double)(rounded - score)));
        assert_string_equal(precision, "bf16");
        assert_true(worst > 0 && worst < 0.01);
        assert_true(fabsf(rounded - score) < 0.01f);
    }
    model_close(&model);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    Model model;
    model_make(&model, 32, 32);
    for (int p = -1; p <= 4; p++) {
        BlemishSessionSettings settings = {.threads = 1, .batch = 1, .precision = (BlemishPrecision)p};
        Session s;
        Error e = {0};
        const BlemishStatus status = session_open(&s, &model, &settings, &e);
        const bool bf16 = p == BLEMISH_PRECISION_BF16 && !engine_has_bf16();
        if (p < 0 || p > 3)
            assert_int_equal(status, BLEMISH_ERROR_ARGUMENT);
        else if (p == BLEMISH_PRECISION_INT8 || bf16)
            assert_int_equal(status, BLEMISH_ERROR_UNSUPPORTED);
        else
            assert_ok(status, e.text);
        if (status) assert_non_null(strstr(e.text, "precision: found "));
        if (status == BLEMISH_OK) session_close(&s);
    }
    model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_match_their_definition), cmocka_unit_test(pooling_is_exact),
        cmocka_unit_test(backbones_stay_close_to_fp32),        cmocka_unit_test(sessions_choose_their_precision),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
