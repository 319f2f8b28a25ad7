/* Backbone, heads and post-processing as a session joins them, against the reference's stored outputs. */
#include "helper_golden.h"
#include "helper_model.h"
#include "infer/infer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Every backbone's golden file was made with the reference's default width, 1024. */
static void filled_model(Model *m, const char *backbone, size_t height, size_t width) {
    Error e = {0};
    model_start(m);
    assert_ok(trunk_load(&m->trunk, backbone, NULL, &e), e.text);
    assert_ok(geometry_make(&m->geometry, height, width, m->trunk.c2, m->trunk.c3, &e), e.text);
    assert_ok(heads_open(&m->heads, m->geometry.c, 1024, &e), e.text);
    assert_ok(heads_fill(&m->heads, &e), e.text);
}

/* map and score: the largest differences allowed. */
static void check(const char *name, const char *backbone, size_t batch, BlemishPrecision precision, double map_limit,
                  double score_limit) {
    char file_name[64];
    TensorFile file;
    snprintf(file_name, sizeof file_name, "infer-%s.safetensors", name);
    if (!golden_open(&file, file_name)) skip();
    size_t shape[4], count;
    float *image = golden_nhwc(&file, "image", shape), *map = golden_values(&file, "out.map", &count);
    float *logits = golden_values(&file, "out.map_raw", &count),
          *scores = golden_values(&file, "out.score_logit", &count);
    Model model;
    Session s;
    Error e = {0};
    BlemishSessionSettings settings = {.threads = 2, .batch = batch, .precision = precision};
    filled_model(&model, backbone, shape[2], shape[3]);
    assert_ok(session_open(&s, &model, &settings, &e), e.text);
    const Geometry *g = &model.geometry;
    const size_t pixels = g->height * g->width, low = g->h * g->w;
    double worst_logit = 0, worst_map = 0, worst_score = 0;
    float *smooth = array_new(pixels, sizeof *smooth, &e);
    int before = engine_enter(s.engine);
    assert_true(shape[0] >= batch);
    for (size_t first = 0; first + batch <= shape[0]; first += batch) {
        memcpy(backbone_input(s.backbone), image + first * 3 * pixels, batch * 3 * pixels * sizeof *image);
        const void *features2, *features3;
        assert_ok(backbone_run(s.backbone, &features2, &features3, &e), e.text);
        for (size_t i = 0; i < batch; i++) {
            const size_t element = element_size(s.type);
            const uint8_t *f2 = (const uint8_t *)features2 + i * g->h2 * g->w2 * g->c2 * element;
            const uint8_t *f3 = (const uint8_t *)features3 + i * g->h3 * g->w3 * g->c3 * element;
            float score;
            assert_ok(head_runner_run(s.heads, f2, f3, s.logits, &score, &e), e.text);
            smooth_run(&s.smooth, s.logits, smooth);
            worst_logit = fmax(worst_logit, largest_difference(s.logits, logits + (first + i) * low, low));
            worst_map = fmax(worst_map, largest_difference(smooth, map + (first + i) * pixels, pixels));
            worst_score = fmax(worst_score, fabs((double)score - (double)scores[first + i]));
        }
    }
    engine_leave(before);
    print_message("%s, batch %zu, %s: logits %.1e, map %.1e, score logit %.1e\n", name, batch,
                  session_cost(&s).precision, worst_logit, worst_map, worst_score);
    assert_true(worst_map < map_limit);
    assert_true(worst_score < score_limit);
    array_free(smooth);
    session_close(&s);
    model_close(&model);
    array_free(image);
    array_free(map);
    array_free(logits);
    array_free(scores);
    tensor_file_close(&file);
}

/* fp32: the tolerance promised for maps, which are in [0, 1]. */
static void check_backbone(const char *name, const char *backbone, size_t batch) {
    check(name, backbone, batch, BLEMISH_PRECISION_FP32, 1e-4, 1e-4);
}

static void resnet18(void **state) {
    (void)state;
    check_backbone("resnet18", "resnet18", 1);
    check_backbone("resnet18", "resnet18", 3);
}
static void resnet18_at_an_odd_size(void **state) {
    (void)state;
    check_backbone("odd-resnet18", "resnet18", 1);
}
static void resnet34(void **state) {
    (void)state;
    check_backbone("resnet34", "resnet34", 1);
}
static void resnet50(void **state) {
    (void)state;
    check_backbone("resnet50", "resnet50", 1);
}
static void wide_resnet50_2(void **state) {
    (void)state;
    check_backbone("wide_resnet50_2", "wide_resnet50_2", 1);
}

/* bfloat16 rounds by 2^-9 in each of up to 50 layers: as a random walk 1.4 % of logits around 1. */
static void bf16(void **state) {
    (void)state;
    if (!engine_has_bf16()) {
        print_message("skipped: this processor has no bfloat16 products\n");
        skip();
    }
    static const char *const names[] = {"resnet18", "odd-resnet18", "resnet34", "resnet50", "wide_resnet50_2"};
    for (size_t i = 0; i < 5; i++) check(names[i], i < 2 ? "resnet18" : names[i], 1, BLEMISH_PRECISION_BF16, 0.01, 0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet18), cmocka_unit_test(resnet18_at_an_odd_size), cmocka_unit_test(resnet34),
        cmocka_unit_test(resnet50), cmocka_unit_test(wide_resnet50_2),         cmocka_unit_test(bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
