/* The factorised heads in inference against their plain graph. */
#include "helper_twin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Result {
    size_t images;
    float *map, *score; /* (images, h, w), (images) */
} Result;

/* Every image on one runner, so that nothing of the first may be left in the second. */
static Result run_heads(const Heads *heads, const Geometry *g, bool align_corners, size_t images, const float *f2,
                        const float *f3, int threads) {
    Error e = {0};
    Engine *engine;
    HeadRunner *runner;
    const size_t pixels = g->h * g->w;
    Result out = {images, zero_floats(images * pixels), zero_floats(images)};
    assert_int_equal(engine_open(&engine, threads, &e), 0);
    if (head_runner_open(&runner, engine, heads, g, align_corners, ELEMENT_F32, &e)) fail_msg("%s", e.text);
    const int before = engine_enter(engine);
    for (size_t i = 0; i < images; i++)
        assert_int_equal(head_runner_run(runner, f2 + i * g->h2 * g->w2 * g->c2, f3 + i * g->h3 * g->w3 * g->c3,
                                         out.map + i * pixels, out.score + i, &e),
                         0);
    engine_leave(before);
    head_runner_close(runner);
    engine_close(engine);
    return out;
}

/* Logits are of size 1, and come of sums of at most 3200 products smaller than 1, whose float roundings add up to some
 * 1e-7 (the largest is printed). Ten times that is allowed; a wrong weight or border shows at 1e-2. */
#define TOLERANCE 3e-6

static double check(const Result *found, const Twin *twin) {
    double worst = 0;
    for (size_t i = 0; i < found->images * twin->g.h * twin->g.w; i++)
        worst = fmax(worst, fabs((double)found->map[i] - twin->map[i]));
    for (size_t i = 0; i < found->images; i++) worst = fmax(worst, fabs((double)found->score[i] - twin->score[i]));
    assert_true(worst < TOLERANCE);
    return worst;
}

static void check_size(size_t height, size_t width, size_t images, bool icpr, bool align_corners, bool flat) {
    static const size_t splits[][2] = {{16, 48}, {48, 16}, {32, 96}};
    Error e = {0};
    Random r = random_new(height * 16384 + width, (uint64_t)(2 * icpr + align_corners));
    const size_t *c = splits[random_below(&r, height > 200 ? 2 : 3)]; /* few channels where pixels are many */
    Geometry g;
    Heads heads;
    Twin twin;
    assert_int_equal(geometry_make(&g, height, width, c[0], c[1], &e), 0);
    if (flat) geometry_at_layer2(&g);
    random_heads(&r, &heads, g.c, LIFT_BLOCK * (1 + random_below(&r, 2)));
    heads.icpr = icpr;
    heads.feature_scale = 0.5f + random_float(&r);
    float *f2 = random_floats(&r, images * g.h2 * g.w2 * g.c2), *f3 = random_floats(&r, images * g.h3 * g.w3 * g.c3);
    twin_open(&twin, &heads, &g, align_corners, images, f2, f3, (double)heads.feature_scale, NULL, NULL);
    twin_forward(&twin);
    Result results[3];
    for (int i = 0; i < 3; i++) results[i] = run_heads(&heads, &g, align_corners, images, f2, f3, i + 1);
    for (int i = 1; i < 3; i++) { /* the number of threads changes no bit */
        assert_memory_equal(results[0].map, results[i].map, images * g.h * g.w * sizeof(float));
        assert_memory_equal(results[0].score, results[i].score, images * sizeof(float));
    }
    print_message("%zux%zu, %zu + %zu channels, hidden %zu, %s, align_corners %d: within %.1e\n", height, width, g.c2,
                  g.c3, heads.params.hidden, icpr ? "ICPR" : "JIMS", align_corners, check(&results[0], &twin));
    for (int i = 0; i < 3; i++) free(results[i].map), free(results[i].score);
    twin_close(&twin);
    heads_close(&heads);
    free(f2), free(f3);
}

static void check_variants(size_t height, size_t width) {
    for (int i = 0; i < 4; i++) check_size(height, width, 2, i & 1, i & 2, false);
}

static void square(void **state) {
    (void)state;
    check_variants(88, 88);
}

static void smallest(void **state) {
    (void)state;
    check_variants(32, 32);
}

static void odd(void **state) {
    (void)state;
    check_variants(33, 47);
}

static void any_size(void **state) {
    (void)state;
    Random r = random_new(3, 0);
    for (int i = 0; i < 2; i++) check_variants(32 + random_below(&r, 80), 32 + random_below(&r, 80));
}

/* KolektorSDD2's, 29 columns at layer2: few times, for the twin takes seconds. */
static void tall(void **state) {
    (void)state;
    check_size(640, 232, 1, false, true, false);
    check_size(640, 232, 1, true, false, false);
}

static void without_upscaling(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{32, 32}, {33, 47}, {88, 40}};
    for (int i = 0; i < 12; i++) check_size(sizes[i / 4][0], sizes[i / 4][1], 2, i & 1, i & 2, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(square), cmocka_unit_test(smallest),
                                       cmocka_unit_test(odd),    cmocka_unit_test(any_size),
                                       cmocka_unit_test(tall),   cmocka_unit_test(without_upscaling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
