/* Integer convolutions against their definition. */
#include "helper_model.h"
#include "helper_numbers.h"
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>

static int8_t random_s8(Random *r) {
    return (int8_t)((int)random_below(r, 255) - 127);
}

/* src and the residual as integers. */
static void check_conv(Engine *engine, Random *r, const ConvShape *s) {
    const size_t oh = conv_out_size(s->height, s->kernel, s->stride, s->padding);
    const size_t ow = conv_out_size(s->width, s->kernel, s->stride, s->padding), n = s->batch * oh * ow * s->out;
    const size_t count = s->batch * s->height * s->width * s->in, per = s->in * s->kernel * s->kernel;
    uint8_t *src = malloc(count), *dst = malloc(n * element_size(s->to));
    int8_t *weight = malloc(s->out * per);
    float *scale = random_floats(r, s->out), *bias = random_floats(r, s->out);
    double *want = calloc(n, sizeof *want);
    assert_true(src && dst && weight && want);
    for (size_t i = 0; i < count; i++)
        src[i] = s->from == ELEMENT_U8 ? (uint8_t)random_below(r, 256) : (uint8_t)random_s8(r);
    for (size_t i = 0; i < s->out * per; i++) weight[i] = random_s8(r);
    for (size_t i = 0; i < s->out; i++) {
        scale[i] = (1.5f + scale[i]) * 0.01f / sqrtf((float)per);
        bias[i] *= 40.0f;
    }
    for (size_t i = 0; i < n && s->to != ELEMENT_F32; i++)
        dst[i] = s->added == ELEMENT_U8 ? (uint8_t)random_below(r, 256) : (uint8_t)random_s8(r);
    for (size_t p = 0; p < n; p++) {
        const size_t pixel = p / s->out, o = p % s->out;
        int64_t sum = 0;
        for (size_t t = 0; t < per; t++) {
            const size_t u = t / s->in / s->kernel, v = t / s->in % s->kernel, i = t % s->in;
            const size_t y = pixel / ow % oh * s->stride + u, x = pixel % ow * s->stride + v;
            if (y < s->padding || x < s->padding || y - s->padding >= s->height || x - s->padding >= s->width) continue;
            const size_t at =
                ((pixel / (oh * ow) * s->height + y - s->padding) * s->width + x - s->padding) * s->in + i;
            const int value = s->from == ELEMENT_U8 ? src[at] : (int8_t)src[at];
            sum += (int64_t)value * weight[((o * s->in + i) * s->kernel + u) * s->kernel + v];
        }
        want[p] = (double)scale[o] * (double)sum + (double)bias[o];
        if (s->add) want[p] += (double)s->add_scale * (s->added == ELEMENT_U8 ? dst[p] : (int8_t)dst[p]);
        if (s->relu) want[p] = fmax(want[p], 0);
    }
    Conv *conv;
    Error e = {0};
    const int before = engine_enter(engine);
    assert_ok(conv_open_int8(&conv, engine, s, weight, scale, bias, &e), e.text);
    void *scratch = array_new(conv_scratch(conv), 1, &e);
    assert_ok(conv_run(conv, src, dst, scratch, &e), e.text);
    engine_leave(before);
    /* The sum is exact; a handful of fp32 operations on numbers of some hundreds follow, then the rounding. */
    const double rounding = 1e-4;
    for (size_t p = 0; p < n; p++) {
        double got, half = s->to == ELEMENT_F32 ? 0 : 0.5, low = -INFINITY, high = INFINITY;
        if (s->to == ELEMENT_F32)
            got = (double)((float *)(void *)dst)[p];
        else if (s->to == ELEMENT_U8)
            got = dst[p], low = 0, high = 255;
        else
            got = (int8_t)dst[p], low = -128, high = 127;
        assert_true(fabs(got - fmin(fmax(want[p], low), high)) <= half + rounding);
    }
    conv_close(conv);
    array_free(scratch);
    free(src), free(dst), free(weight), free(scale), free(bias), free(want);
}

static void convolutions_match_their_definition(void **state) {
    (void)state;
    static const size_t kernels_[][3] = {{7, 2, 3}, {3, 1, 1}, {3, 2, 1}, {1, 1, 0}, {1, 2, 0}};
    static const size_t channels[][2] = {{3, 64}, {32, 48}, {64, 128}};
    static const Element types[][2] = {
        {ELEMENT_U8, ELEMENT_U8}, {ELEMENT_U8, ELEMENT_S8}, {ELEMENT_S8, ELEMENT_U8}, {ELEMENT_U8, ELEMENT_F32}};
    Engine *engine;
    Error e = {0};
    Random r = random_new(1, 0);
    assert_ok(engine_open(&engine, 2, &e), e.text);
    for (size_t i = 0; i < 5 * 3 * 4 * 3; i++) {
        const size_t *k = kernels_[i / 36], *c = channels[i / 12 % 3];
        const Element *t = types[i / 3 % 4];
        const ConvShape shape = {.batch = 1 + i % 2,
                                 .height = 9,
                                 .width = 13,
                                 .in = c[0],
                                 .out = c[1],
                                 .kernel = k[0],
                                 .stride = k[1],
                                 .padding = k[2],
                                 .relu = t[1] == ELEMENT_U8,
                                 .from = t[0],
                                 .to = t[1],
                                 .add = i % 3 && t[1] == ELEMENT_U8,
                                 .added = i % 3 == 1 ? ELEMENT_U8 : ELEMENT_S8,
                                 .add_scale = 0.7f};
        check_conv(engine, &r, &shape);
    }
    engine_close(engine);
}

static void floats_are_refused(void **state) {
    (void)state;
    Engine *engine;
    Error e = {0};
    Conv *conv;
    const ConvShape shape = {.batch = 1, .height = 4, .width = 4, .in = 1, .out = 1, .kernel = 1, .stride = 1};
    assert_ok(engine_open(&engine, 1, &e), e.text);
    assert_int_equal(conv_open_int8(&conv, engine, &shape, &(int8_t){1}, &(float){1}, NULL, &e),
                     BLEMISH_ERROR_INTERNAL);
    assert_null(conv);
    engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_match_their_definition),
        cmocka_unit_test(floats_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
