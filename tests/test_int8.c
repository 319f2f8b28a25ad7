/* Integer convolutions against their definition, and quantised networks against fp32. */
#include "helper_model.h"
#include "helper_numbers.h"
#include "image/image.h"
#include "infer/infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int8_t random_s8(Random *r) {
    return (int8_t)((int)random_below(r, 255) - 127);
}

/* src and the residual as integers. */
static void check_conv(Engine *engine, Random *r, const ConvShape *part) {
    ConvShape all = *part, *s = &all;
    all.batch *= part->parts ? part->parts : 1;
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
    assert_ok(conv_open_int8(&conv, engine, part, weight, scale, bias, &e), e.text);
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
                                 .add_scale = 0.7f,
                                 .parts = i % 5 / 2 + i % 5 % 2};
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

/* Against a convolution of the normalised floats in double. What may differ: half a step of the output, half a grey
 * level of each pixel, and half a scale of each weight. Pixels here are whole grey levels, so that theirs is in the
 * border alone. */
static void the_stem_convolves_pixels(void **state) {
    (void)state;
    enum { H = 33, W = 38, OUT = 64, KERNEL = 7, TAPS = KERNEL * KERNEL, PER = 3 * TAPS, BATCH = 2 };
    Random r = random_new(21, 0);
    Engine *engine;
    Conv *conv;
    Error e = {0};
    float *weight = random_floats(&r, OUT * PER), *bias = random_floats(&r, OUT), *in = malloc(BATCH * H * W * 12);
    memset(weight, 0, PER * sizeof *weight); /* one output of no inputs */
    for (size_t i = 0; i < BATCH * H * W * 3; i++)
        in[i] = ((float)random_below(&r, 256) / 255.0f - image_mean[i % 3]) / image_std[i % 3];
    const TrunkConv c = {.in = 3, .out = OUT, .kernel = KERNEL, .stride = 2, .padding = 3, .bias = bias, .step = 0.1f};
    const ConvShape shape = {.batch = BATCH,
                             .height = H,
                             .width = W,
                             .in = 3,
                             .out = OUT,
                             .kernel = KERNEL,
                             .stride = 2,
                             .padding = 3,
                             .relu = true};
    const size_t oh = conv_out_size(H, KERNEL, 2, 3), ow = conv_out_size(W, KERNEL, 2, 3);
    uint8_t *bytes = malloc(stem_input_bytes(BATCH, H, W)), *out = malloc(BATCH * oh * ow * OUT);
    assert_true(in && bytes && out);
    assert_ok(engine_open(&engine, 2, &e), e.text);
    const int before = engine_enter(engine);
    assert_ok(stem_open(&conv, engine, &c, weight, &shape, &e), e.text);
    stem_input(in, BATCH, H, W, bytes);
    void *scratch = array_new(conv_scratch(conv), 1, &e);
    assert_ok(conv_run(conv, bytes, out, scratch, &e), e.text);
    engine_leave(before);
    double sum = 0, expected = 0, count = 0;
    for (size_t p = 0; p < BATCH * oh * ow * OUT; p++) {
        const size_t o = p % OUT, x = p / OUT % ow, y = p / OUT / ow % oh, b = p / OUT / ow / oh;
        double want = (double)bias[o], bound = 0.5 * (double)c.step + 1e-4, most = 0;
        double variance = (double)c.step * (double)c.step / 12;
        for (size_t i = 0; i < PER; i++)
            most = fmax(most, fabs((double)weight[o * PER + i]) / (255 * (double)image_std[i / TAPS]));
        for (size_t i = 0; i < PER; i++) {
            const size_t colour = i / TAPS, py = 2 * y + i / KERNEL % KERNEL - 3, px = 2 * x + i % KERNEL - 3;
            const double w = (double)weight[o * PER + i], level = 255 * (double)image_std[colour];
            const double v = py < H && px < W ? (double)in[((b * H + py) * W + px) * 3 + colour] : 0;
            want += w * v;
            bound += most / 127 * (fabs(v) * level + 0.5) / 2;
            variance += most / 127 * most / 127 * v * v * level * level / 12;
            if (py >= H || px >= W) bound += fabs(w) / level / 2;
        }
        const double error = (double)c.step * out[p] - fmin(fmax(want, 0), 255 * (double)c.step);
        assert_true(fabs(error) <= bound);
        if (out[p] > 0 && out[p] < 255) sum += error * error, expected += variance, count++;
    }
    /* Roundings that are independent of one another; every weight is that of hundreds of outputs, which are not. */
    print_message("stem: root mean square error %.2f of what roundings make\n", sqrt(sum / expected));
    assert_true(count > 1000 && sum > 0.8 * expected && sum < 1.25 * expected);
    conv_close(conv);
    engine_close(engine);
    array_free(scratch);
    free(weight), free(bias), free(in), free(bytes), free(out);
}

/* ---- quantised networks ---------------------------------------------------------------------------------- */

static void rows_are_rounded_by_their_largest(void **state) {
    (void)state;
    const float rows[2][4] = {{1.27f, -0.006f, 0.004f, 9}, {0, 0, 0, 9}};
    int8_t out[2][3];
    float scale[2];
    quantise_rows(&rows[0][0], 2, 3, 4, &out[0][0], scale);
    assert_true(fabsf(scale[0] - 0.01f) < 1e-8f);
    assert_true(scale[1] == 1.0f);
    assert_true(out[0][0] == 127 && out[0][1] == -1 && out[0][2] == 0);
    assert_true(out[1][0] == 0 && out[1][1] == 0 && out[1][2] == 0);
}

/* d' M d in double. */
static double output_error(const float *w, const int8_t *q, float scale, const float *moments, size_t per) {
    double error = 0;
    for (size_t i = 0; i < per; i++)
        for (size_t k = 0; k < per; k++)
            error += ((double)q[i] * (double)scale - (double)w[i]) * (double)moments[i * per + k] *
                     ((double)q[k] * (double)scale - (double)w[k]);
    return error;
}

/* No single change of an integer makes the outputs' error smaller, the largest stays, and inputs that are nearly the
 * same everywhere, as neighbouring pixels are, lose most of their error. */
static void rows_are_rounded_for_their_inputs(void **state) {
    (void)state;
    enum { ROWS = 12, PER = 27, INPUTS = 500 };
    Random r = random_new(11, 0);
    float *w = random_floats(&r, ROWS * PER), moments[PER * PER] = {0}, scale[ROWS], nearest_scale[ROWS];
    int8_t out[ROWS * PER], nearest[ROWS * PER];
    for (size_t n = 0; n < INPUTS; n++) {
        float x[PER];
        const float common = random_normal(&r);
        for (size_t i = 0; i < PER; i++) x[i] = common + 0.05f * random_normal(&r);
        for (size_t i = 0; i < PER * PER; i++) moments[i] += x[i / PER] * x[i % PER];
    }
    memset(w + PER, 0, PER * sizeof *w); /* a row of zeros */
    Error e = {0};
    assert_ok(quantise_rows_for(w, ROWS, PER, moments, out, scale, &e), e.text);
    quantise_rows(w, ROWS, PER, PER, nearest, nearest_scale);
    assert_memory_equal(scale, nearest_scale, sizeof scale);
    double all = 0, all_nearest = 0;
    for (size_t row = 0; row < ROWS; row++) {
        int8_t *q = out + row * PER;
        const double error = output_error(w + row * PER, q, scale[row], moments, PER);
        const double before = output_error(w + row * PER, nearest + row * PER, scale[row], moments, PER);
        assert_true(error <= before);
        all += error, all_nearest += before;
        int most = 0;
        for (size_t i = 0; i < PER; i++) {
            most = abs(q[i]) > most ? abs(q[i]) : most;
            for (int change = -1; change <= 1 && row != 1; change += 2) {
                if (abs(nearest[row * PER + i]) == INT8_MOST || abs(q[i] + change) > INT8_MOST) continue;
                q[i] = (int8_t)(q[i] + change);
                /* the last bits of sums that were kept up to date rather than made anew */
                assert_true(output_error(w + row * PER, q, scale[row], moments, PER) >= error * (1 - 1e-9));
                q[i] = (int8_t)(q[i] - change);
            }
        }
        assert_int_equal(most, row == 1 ? 0 : INT8_MOST);
    }
    assert_true(all < 0.2 * all_nearest);
    free(w);
}

/* Against the definition: every output pixel's patch, in the weight's order, on an odd size. */
static void moments_are_those_of_the_patches(void **state) {
    (void)state;
    enum { H = 9, W = 14, IN = 2, K = 3, PER = IN * K * K };
    Random r = random_new(12, 0);
    Engine *engine;
    Error e = {0};
    const TrunkConv conv = {.in = IN, .out = 1, .kernel = K, .stride = 2, .padding = 1};
    float *input = random_floats(&r, H * W * IN), moments[PER * PER] = {0};
    double want[PER * PER] = {0};
    for (int y = -1; y + K <= H + 1; y += 2)
        for (int x = -1; x + K <= W + 1; x += 2) {
            double patch[PER];
            for (int i = 0; i < PER; i++) {
                const int py = y + i / K % K, px = x + i % K;
                patch[i] = py < 0 || px < 0 || py >= H || px >= W ? 0 : (double)input[(py * W + px) * IN + i / (K * K)];
            }
            for (size_t i = 0; i < PER * PER; i++) want[i] += 2 * patch[i / PER] * patch[i % PER];
        }
    assert_ok(engine_open(&engine, 1, &e), e.text);
    const int before = engine_enter(engine);
    for (int twice = 0; twice < 2; twice++) assert_ok(moments_add(moments, engine, &conv, input, H, W, &e), e.text);
    engine_leave(before);
    for (size_t i = 0; i < PER * PER; i++) /* fp32 sums of 70 products below 1 */
        assert_true(fabs((double)moments[i] - want[i]) < 1e-4);
    engine_close(engine);
    free(input);
}

/* The weights that a network gets are better for what its convolutions see than the nearest ones, where that is known:
 * of layer1 and of no convolution that sees more than PATCH_MAX numbers. */
static void early_layers_are_rounded_for_their_inputs(void **state) {
    (void)state;
    Model m;
    Statistics statistics;
    Backbone *backbone;
    Engine *engine;
    Error e = {0};
    model_make(&m, 64, 64);
    const Trunk *trunk = &m.trunk;
    assert_ok(engine_open(&engine, 1, &e), e.text);
    assert_ok(backbone_open(&backbone, engine, trunk, ELEMENT_F32, 1, 64, 64, &e), e.text);
    assert_ok(statistics_open(&statistics, trunk, &e), e.text);
    Random r = random_new(13, 0);
    for (size_t i = 0; i < 64 * 64 * 3; i++) backbone_input(backbone)[i] = random_normal(&r);
    const int before = engine_enter(engine);
    assert_ok(statistics_add(&statistics, engine, trunk, backbone, &m.geometry, &e), e.text);
    float *plain[TRUNK_CONVS_MAX];
    for (size_t i = 0; i < trunk->count; i++) {
        const TrunkConv *c = &trunk->convs[i];
        plain[i] = copy_floats(c->weight, c->out * c->in * c->kernel * c->kernel);
    }
    assert_ok(trunk_quantise(&m.trunk, &statistics, &e), e.text);
    for (size_t i = 1; i < trunk->count; i++) {
        const TrunkConv *c = &trunk->convs[i];
        const size_t per = c->in * c->kernel * c->kernel;
        const float *patches = statistics.patches[i];
        assert_int_equal(patches != NULL, per <= PATCH_MAX);
        if (strncmp(c->name, "layer1", 6) == 0) assert_non_null(patches);
        int8_t *got = malloc(c->out * per), *nearest = malloc(c->out * per);
        float *scale = zero_floats(c->out);
        double error = 0, nearest_error = 0;
        quantise_rows(c->weight, c->out, per, per, got, scale); /* exact: they are multiples already */
        quantise_rows(plain[i], c->out, per, per, nearest, scale);
        for (size_t o = 0; o < c->out && patches; o++) {
            error += output_error(plain[i] + o * per, got + o * per, scale[o], patches, per);
            nearest_error += output_error(plain[i] + o * per, nearest + o * per, scale[o], patches, per);
        }
        if (patches)
            assert_true(error < 0.7 * nearest_error);
        else
            assert_memory_equal(got, nearest, c->out * per);
        free(got), free(nearest), free(scale), free(plain[i]);
    }
    free(plain[0]);
    engine_leave(before);
    statistics_close(&statistics);
    backbone_close(backbone);
    engine_close(engine);
    model_close(&m);
}

static double rounding_error(const float *values, size_t n, double step) {
    double error = 0;
    for (size_t i = 0; i < n; i++) {
        const double q = fmin(fmax(rint((double)values[i] / step), -INT8_MOST), INT8_MOST) * step - (double)values[i];
        error += q * q;
    }
    return error;
}

/* By brute force over the values themselves: the step's error is within the slack of the least one, and a larger step's
 * is not. Two percent are the bins' share; steps are tried by the 128th part of the range. */
static void steps_saturate_least_within_the_slack(void **state) {
    (void)state;
    enum { N = 20000 };
    Random r = random_new(5, 0);
    Range range = {0};
    float *values = malloc(N * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < N; i++) values[i] = random_normal(&r) * (i % 1000 ? 1.0f : 12.0f);
    range_add(&range, values, N / 100); /* a small part first: the range has to widen */
    range_add(&range, values + N / 100, N - N / 100);
    const double step = (double)range_step(&range, INT8_MOST);
    double best = rounding_error(values, N, step);
    for (int k = 1; k <= 100; k++) best = fmin(best, rounding_error(values, N, 40.0 * k / 100 / INT8_MOST));
    assert_true(rounding_error(values, N, step) <= 1.02 * RANGE_SLACK * best);
    const double next = step + (double)range.width * RANGE_BINS / 128 / INT8_MOST;
    assert_true(rounding_error(values, N, next) > RANGE_SLACK * best / 1.02);
    const Range empty = {0};
    assert_true(range_step(&empty, 255) == 1.0f);
    free(values);
}

static float judge(const Model *m, BlemishPrecision precision, float *map) {
    BlemishSessionSettings settings = {.threads = 2, .batch = 1, .precision = precision};
    Session s;
    Error e = {0};
    BlemishImage image;
    BlemishResult result;
    picture_make(&image, 70, 50, 3, 9);
    assert_ok(session_open(&s, m, &settings, &e), e.text);
    assert_ok(session_run(&s, &image, 1, &result, &e), e.text);
    memcpy(map, result.map, m->geometry.height * m->geometry.width * sizeof *map);
    assert_string_equal(session_cost(&s).precision, precision == BLEMISH_PRECISION_FP32 ? "fp32" : "int8");
    session_close(&s);
    image_free(&image);
    return result.score;
}

/* On an odd size. The file gives back the very same integers; int8 stays near fp32: eight bits a layer leave the
 * features a few percent, the logits some hundredths and less after the sigmoid, whose slope is at most 1/4. */
static void a_quantised_model_survives_its_file(void **state) {
    (void)state;
    enum { H = 65, W = 90 };
    char folder[PATH_SIZE], path[PATH_SIZE];
    float fp32[H * W], before[H * W], after[H * W];
    Model m, again;
    Error e = {0};
    folder_make(folder);
    path_in(path, folder, "m.blemish");
    model_make(&m, H, W);
    const float score = judge(&m, BLEMISH_PRECISION_FP32, fp32);
    model_quantise(&m);
    const float quantised = judge(&m, BLEMISH_PRECISION_AUTO, before);
    double worst = 0;
    for (size_t i = 0; i < H * W; i++) worst = fmax(worst, fabs((double)fp32[i] - (double)before[i]));
    print_message("int8: map within %.1e, score within %.1e\n", worst, fabs((double)(score - quantised)));
    assert_true(worst > 0 && worst < 0.03);
    assert_true(fabsf(score - quantised) < 0.03f);
    assert_ok(model_write(&m, path, &e), e.text);
    assert_ok(model_read(&again, path, &e), e.text);
    assert_true(again.quantised);
    assert_non_null(strstr(again.header_json, "\"format_version\":2"));
    assert_non_null(strstr(again.header_json, "\"precision\":\"int8\""));
    assert_true(judge(&again, BLEMISH_PRECISION_INT8, after) == quantised);
    assert_memory_equal(before, after, sizeof before);
    model_close(&m);
    model_close(&again);
    folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_match_their_definition),
        cmocka_unit_test(floats_are_refused),
        cmocka_unit_test(the_stem_convolves_pixels),
        cmocka_unit_test(rows_are_rounded_by_their_largest),
        cmocka_unit_test(steps_saturate_least_within_the_slack),
        cmocka_unit_test(rows_are_rounded_for_their_inputs),
        cmocka_unit_test(moments_are_those_of_the_patches),
        cmocka_unit_test(early_layers_are_rounded_for_their_inputs),
        cmocka_unit_test(a_quantised_model_survives_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
