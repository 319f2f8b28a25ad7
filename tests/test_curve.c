/* The curves a report is drawn from: every point exact, every one left out close to the one before it. */
#include "metric/curve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

typedef struct Case {
    float *scores;
    uint8_t *labels;
    uint32_t *regions; /* of a defective one, from 1 */
    size_t n;
    double areas[8];
} Case;

static int compare_down(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* By its definition. */
static BlemishCurvePoint brute(const Case *c, float t) {
    size_t tp = 0, fp = 0, positives = 0;
    double hit[8] = {0};
    for (size_t i = 0; i < c->n; i++) {
        positives += c->labels[i];
        tp += c->scores[i] >= t && c->labels[i];
        fp += c->scores[i] >= t && !c->labels[i];
        if (c->regions && c->labels[i] && c->scores[i] >= t) hit[c->regions[i]]++;
    }
    BlemishCurvePoint p = {.threshold = t,
                           .fpr = (double)fp / (double)(c->n - positives),
                           .recall = (double)tp / (double)positives,
                           .precision = (double)tp / (double)(tp + fp)};
    size_t regions = 0;
    for (size_t k = 1; k < 8; k++) {
        if (c->areas[k] > 0) p.overlap += hit[k] / c->areas[k], regions++;
    }
    if (regions) p.overlap /= (double)regions;
    return p;
}

/* Counts over counts are the same doubles; the overlap is a sum in another order. */
static void assert_same(const BlemishCurvePoint *a, const BlemishCurvePoint *b) {
    assert_true(a->threshold == b->threshold && a->fpr == b->fpr && a->recall == b->recall);
    assert_true(a->precision == b->precision && fabs(a->overlap - b->overlap) < 1e-12);
}

static void check(const Case *c, const Curve *curve) {
    float *sorted = malloc(c->n * sizeof *sorted);
    for (size_t i = 0; i < c->n; i++) sorted[i] = c->scores[i];
    qsort(sorted, c->n, sizeof *sorted, compare_down);
    const BlemishCurvePoint *last = NULL;
    size_t next = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (i && sorted[i] == sorted[i - 1]) continue;
        const BlemishCurvePoint here = brute(c, sorted[i]);
        if (next < curve->count && curve->points[next].threshold == sorted[i]) {
            assert_same(&curve->points[next], &here);
            last = &curve->points[next++];
            continue;
        }
        assert_non_null(last); // the first score is a point
        assert_true(fabs(here.fpr - last->fpr) <= CURVE_STEP_FPR && fabs(here.recall - last->recall) <= CURVE_STEP);
        assert_true(fabs(here.precision - last->precision) <= CURVE_STEP);
        assert_true(fabs(here.overlap - last->overlap) <= CURVE_STEP + 1e-12);
    }
    assert_int_equal(next, curve->count); // no point at another score
    assert_true(last->threshold == sorted[c->n - 1] && last->recall == 1 && last->fpr == 1);
    free(sorted);
}

static Case random_case(Random *r, size_t n, uint32_t levels) {
    Case c = {.scores = malloc(n * sizeof(float)), .labels = malloc(n), .n = n};
    for (size_t i = 0; i < n; i++) {
        c.labels[i] = i == 0 || (i > 1 && random_below(r, 3) == 0);
        c.scores[i] = (float)random_below(r, levels) / (float)levels - 0.25f + (c.labels[i] ? 0.2f : 0);
    }
    return c;
}

static void test_scores(void **state) {
    (void)state;
    Random r = random_new(5, 0);
    const size_t sizes[] = {2, 3, 17, 400, 3000};
    const uint32_t levels[] = {1, 7, 1u << 20};
    for (size_t s = 0; s < 5; s++)
        for (size_t l = 0; l < 3; l++) {
            Error e = {0};
            Curve curve;
            Case c = random_case(&r, sizes[s], levels[l]);
            assert_int_equal(curve_scores(&curve, c.scores, c.labels, c.n, &e), BLEMISH_OK);
            check(&c, &curve);
            if (sizes[s] == 3000 && levels[l] > 7) assert_in_range(curve.count, 500, 2900); // some are left out
            curve_close(&curve);
            free(c.scores), free(c.labels);
        }
}

static void test_pixels(void **state) {
    (void)state;
    enum { SIDE = 40, MAPS = 2, PIXELS = SIDE * SIDE };
    Random r = random_new(6, 0);
    for (uint32_t levels = 5; levels < 100000; levels *= 100) {
        Error e = {0};
        PixelRanking ranking;
        Curve curve;
        Case c = {.scores = malloc(MAPS * PIXELS * sizeof(float)),
                  .labels = calloc(MAPS, PIXELS),
                  .regions = calloc(MAPS * PIXELS, sizeof(uint32_t)),
                  .n = MAPS * PIXELS};
        for (size_t y = 0; y < SIDE; y++)
            for (size_t x = 0; x < SIDE; x++) { // a bar and a single pixel in the first map, none in the second
                const uint32_t region = y >= 5 && y < 9 && x >= 3 && x < 30 ? 1 : y == 30 && x == 30 ? 2 : 0;
                c.regions[y * SIDE + x] = region;
                c.labels[y * SIDE + x] = region != 0;
                c.areas[region] += region != 0;
            }
        for (size_t i = 0; i < c.n; i++) {
            c.scores[i] = (float)random_below(&r, levels) / (float)levels + (c.labels[i] ? 0.4f : 0);
        }
        assert_int_equal(pixel_ranking_open(&ranking, MAPS, MAPS * PIXELS, PIXELS, &e), BLEMISH_OK);
        assert_int_equal(pixel_ranking_add(&ranking, c.scores, c.labels, SIDE, SIDE, &e), BLEMISH_OK);
        assert_int_equal(pixel_ranking_add(&ranking, c.scores + PIXELS, NULL, SIDE, SIDE, &e), BLEMISH_OK);
        pixel_ranking_metrics(&ranking);
        assert_int_equal(curve_pixels(&curve, &ranking, &e), BLEMISH_OK);
        check(&c, &curve);
        curve_close(&curve);
        pixel_ranking_close(&ranking);
        free(c.scores), free(c.labels), free(c.regions);
    }
}

static void test_single_class(void **state) {
    (void)state;
    Error e = {0};
    Curve curve;
    const float scores[] = {0.2f, 0.4f};
    const uint8_t good[] = {0, 0}, defects[] = {1, 1};
    assert_int_equal(curve_scores(&curve, scores, good, 2, &e), BLEMISH_OK);
    assert_int_equal(curve.count, 0);
    assert_int_equal(curve_scores(&curve, scores, defects, 2, &e), BLEMISH_OK);
    assert_int_equal(curve.count, 0);
    assert_int_equal(curve_scores(&curve, NULL, NULL, 0, &e), BLEMISH_OK);
    assert_int_equal(curve.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores), cmocka_unit_test(test_pixels),
                                       cmocka_unit_test(test_single_class)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
