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
    assert_int_equal(head_runner_open(&runner, engine, &heads, &g, true, &e), 0);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(resnet18), cmocka_unit_test(resnet34),
                                       cmocka_unit_test(resnet50), cmocka_unit_test(wide_resnet50),
                                       cmocka_unit_test(odd_size), cmocka_unit_test(icpr)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
