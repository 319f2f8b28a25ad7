/* The factorised heads against the reference's outputs. */
#include "helper_golden.h"
#include "net/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>

static void check_file(const char *name, bool icpr) {
    TensorFile file;
    Error e = {0};
    size_t s2[4], s3[4], sm[4], si[4];
    if (!golden_open(&file, name)) skip();
    float *f2 = golden_nhwc(&file, "out.f2", s2), *f3 = golden_nhwc(&file, "out.f3", s3);
    float *map = golden_nhwc(&file, "out.map_raw", sm), *image = golden_nhwc(&file, "image", si);
    float *score = golden_values(&file, "out.score_logit", NULL);
    const Tensor *hidden = tensor_file_find(&file, "grad.seg.conv.bias");
    Geometry g;
    Heads heads;
    Engine *engine;
    HeadRunner *runner;
    assert_int_equal(geometry_make(&g, si[2], si[3], s2[1], s3[1], &e), 0);
    assert_int_equal(g.h, sm[2]);
    assert_int_equal(g.w, sm[3]);
    assert_int_equal(heads_open(&heads, g.c, hidden ? hidden->shape[0] : 1024, &e), 0);
    assert_int_equal(heads_fill(&heads, &e), 0);
    heads.icpr = icpr;
    assert_int_equal(engine_open(&engine, 2, &e), 0);
    assert_int_equal(head_runner_open(&runner, engine, &heads, &g, true, ELEMENT_F32, &e), 0);
    float *out = array_new(g.h * g.w, sizeof *out, &e);
    const int before = engine_enter(engine);
    for (size_t i = 0; i < s2[0]; i++) {
        float logit;
        assert_int_equal(
            head_runner_run(runner, f2 + i * g.h2 * g.w2 * g.c2, f3 + i * g.h3 * g.w3 * g.c3, out, &logit, &e), 0);
        const double d = largest_difference(out, map + i * g.h * g.w, g.h * g.w), ds = fabs((double)(logit - score[i]));
        print_message("%s image %zu: map within %.1e, score logit within %.1e\n", name, i, d, ds);
        assert_true(d < 1e-4); /* the tolerance promised against the reference */
        assert_true(ds < 1e-4);
    }
    engine_leave(before);
    head_runner_close(runner);
    engine_close(engine);
    heads_close(&heads);
    array_free(f2), array_free(f3), array_free(map), array_free(image), array_free(score), array_free(out);
    tensor_file_close(&file);
}

static void resnet18(void **state) {
    (void)state, check_file("infer-resnet18.safetensors", false);
}
static void resnet34(void **state) {
    (void)state, check_file("infer-resnet34.safetensors", false);
}
static void resnet50(void **state) {
    (void)state, check_file("infer-resnet50.safetensors", false);
}
static void wide_resnet50(void **state) {
    (void)state, check_file("infer-wide_resnet50_2.safetensors", false);
}
static void odd_size(void **state) {
    (void)state, check_file("infer-odd-resnet18.safetensors", false);
}
static void icpr(void **state) {
    (void)state, check_file("step-icpr.safetensors", true);
}

/* ---- strips ---------------------------------------------------------------------------------------------- */

typedef struct Output {
    float *map, score;
    double gmac;
} Output;

/* The heads on random features; a strip has up to 128 pixels for each thread. */
static Output run_heads(const Heads *heads, const Geometry *g, int threads) {
    Error e = {0};
    Engine *engine;
    HeadRunner *runner;
    Random r = random_new(5, 0);
    const size_t n2 = g->h2 * g->w2 * g->c2, n3 = g->h3 * g->w3 * g->c3;
    float *f2 = array_new(n2, sizeof *f2, &e), *f3 = array_new(n3, sizeof *f3, &e);
    Output out = {.map = array_new(g->h * g->w, sizeof *out.map, &e)};
    for (size_t i = 0; i < n2; i++) f2[i] = random_float(&r);
    for (size_t i = 0; i < n3; i++) f3[i] = random_float(&r);
    assert_int_equal(engine_open(&engine, threads, &e), 0);
    assert_int_equal(head_runner_open(&runner, engine, heads, g, true, ELEMENT_F32, &e), 0);
    const int before = engine_enter(engine);
    for (int i = 0; i < 2; i++) /* a second run finds the first one's rows */
        assert_int_equal(head_runner_run(runner, f2, f3, out.map, &out.score, &e), 0);
    engine_leave(before);
    out.gmac = head_runner_gmac(runner);
    head_runner_close(runner);
    engine_close(engine);
    array_free(f2), array_free(f3);
    return out;
}

/* Sizes whose strips end with the map, overlap at its end, are single rows, are all of it, and have work for one of two
 * threads; every other one without upscaling. */
static void strips_change_nothing(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{256, 256}, {200, 328}, {40, 1100}, {328, 200},
                                      {41, 1043}, {136, 520}, {40, 56},   {33, 47}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Error e = {0};
        Geometry g;
        Heads heads;
        assert_int_equal(geometry_make(&g, sizes[i][0], sizes[i][1], 24, 40, &e), 0);
        if (i % 2) geometry_at_layer2(&g);
        assert_int_equal(heads_open(&heads, g.c, 64, &e), 0);
        assert_int_equal(heads_initialise(&heads, 1, &e), 0);
        const Output strips = run_heads(&heads, &g, 1), two = run_heads(&heads, &g, 2),
                     whole = run_heads(&heads, &g, 9);
        /* The same sums, which oneDNN may take in another order: rounding of logits around 1. */
        assert_true(largest_difference(strips.map, whole.map, g.h * g.w) < 1e-5);
        assert_true(largest_difference(two.map, whole.map, g.h * g.w) < 1e-5);
        assert_true(fabsf(strips.score - whole.score) < 1e-5f && fabsf(two.score - whole.score) < 1e-5f);
        array_free(strips.map), array_free(two.map), array_free(whole.map);
        heads_close(&heads);
    }
}

static void without_a_classification_head_there_is_none(void **state) {
    (void)state;
    Error e = {0};
    Geometry g;
    Heads heads;
    assert_int_equal(geometry_make(&g, 72, 104, 24, 40, &e), 0);
    assert_int_equal(heads_open(&heads, g.c, 64, &e), 0);
    assert_int_equal(heads_initialise(&heads, 1, &e), 0);
    const Output both = run_heads(&heads, &g, 2);
    heads.map_score = true;
    const Output alone = run_heads(&heads, &g, 2);
    assert_memory_equal(both.map, alone.map, g.h * g.w * sizeof(float));
    assert_true(alone.score == 0 && both.score != 0);
    const double mixes = (double)(g.h2 * g.w2 * 24 + g.h3 * g.w3 * 40);
    assert_true(fabs(alone.gmac - 1e-9 * mixes * 64) < 1e-12);
    assert_true(fabs(both.gmac - 1e-9 * mixes * (64 + CLS_TAPS * CLS_CHANNELS)) < 1e-12);
    array_free(both.map), array_free(alone.map);
    heads_close(&heads);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(resnet18),
                                       cmocka_unit_test(resnet34),
                                       cmocka_unit_test(resnet50),
                                       cmocka_unit_test(wide_resnet50),
                                       cmocka_unit_test(odd_size),
                                       cmocka_unit_test(icpr),
                                       cmocka_unit_test(strips_change_nothing),
                                       cmocka_unit_test(without_a_classification_head_there_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
