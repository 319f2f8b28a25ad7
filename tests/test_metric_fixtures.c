/* Metrics against what scikit-learn and anomalib computed (fixtures/make_metrics.py tells how). */
#include "metric/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 2048, WORD = 64 };

typedef struct Fixture {
    FILE *file;
    char kind[WORD], name[WORD];
    size_t n;
} Fixture;

static double number(FILE *file) {
    double value;
    if (fscanf(file, "%lf", &value) != 1) fail_msg("metrics.txt: found no number");
    return value;
}

static size_t count(FILE *file) {
    size_t value;
    if (fscanf(file, "%zu", &value) != 1 || value > MOST) fail_msg("metrics.txt: found no small whole number");
    return value;
}

/* The next case of that kind: its name and first number were read. */
static bool next_case(Fixture *f, const char *kind) {
    if (f->file == NULL) f->file = fopen(TEST_DIR "/fixtures/metrics.txt", "r");
    if (f->file == NULL) fail_msg("fixtures/metrics.txt is not there");
    while (fscanf(f->file, "%63s", f->kind) == 1)
        if (strcmp(f->kind, kind) == 0) {
            if (fscanf(f->file, "%63s", f->name) != 1) fail_msg("metrics.txt: found no name");
            f->n = count(f->file);
            return true;
        }
    fclose(f->file);
    return false;
}

static void rows(FILE *file, size_t n, float *scores, uint8_t *labels) {
    for (size_t i = 0; i < n; i++) {
        scores[i] = (float)number(file);
        labels[i] = count(file) != 0;
    }
}

static void assert_near(const Fixture *f, const char *what, double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s %s: %s: found %.17g, expected %.17g", f->kind, f->name, what, found, expected);
}

static const double exact = 1e-9;    /* both sides are sums in double */
static const double anomalib = 1e-6; /* theirs is a sum in float */

static void scores_match_scikit_learn(void **state) {
    (void)state;
    Fixture f = {0};
    size_t cases = 0;
    float s[MOST];
    uint8_t y[MOST];
    for (; next_case(&f, "scores"); cases++) {
        Error e = {0};
        double auroc = number(f.file), ap = number(f.file), best = number(f.file), found, threshold;
        rows(f.file, f.n, s, y);
        assert_int_equal(metric_auroc(s, y, f.n, &found, &e), BLEMISH_OK);
        assert_near(&f, "AUROC", found, auroc, exact);
        assert_int_equal(metric_average_precision(s, y, f.n, &found, &e), BLEMISH_OK);
        assert_near(&f, "AP", found, ap, exact);
        assert_int_equal(metric_best_f1(s, y, f.n, &found, &threshold, &e), BLEMISH_OK);
        assert_near(&f, "best F1", found, best, exact);
    }
    assert_int_equal(cases, 5);
}

static void maps_match_scikit_learn_and_anomalib(void **state) {
    (void)state;
    Fixture f = {0};
    size_t cases = 0;
    float s[MOST];
    uint8_t y[MOST];
    for (; next_case(&f, "maps"); cases++) {
        Error e = {0};
        PixelMetrics found;
        const float *maps[8];
        const uint8_t *masks[8];
        size_t h = count(f.file), w = count(f.file);
        double auroc = number(f.file), ap = number(f.file), best = number(f.file), aupro = number(f.file),
               theirs = number(f.file);
        assert_true(f.n <= 8 && f.n * h * w <= MOST);
        rows(f.file, f.n * h * w, s, y);
        for (size_t i = 0; i < f.n; i++) {
            maps[i] = s + i * h * w;
            masks[i] = y + i * h * w;
        }
        if (metric_pixels(maps, masks, f.n, h, w, &found, &e)) fail_msg("%s", e.text);
        assert_near(&f, "P-AUROC", found.p_auroc, auroc, exact);
        assert_near(&f, "AP-loc", found.ap_loc, ap, exact);
        assert_near(&f, "best F1", found.best_f1, best, exact);
        assert_near(&f, "AUPRO", found.aupro, aupro, exact);
        assert_near(&f, "anomalib's AUPRO", found.aupro, theirs, anomalib);
    }
    assert_int_equal(cases, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_match_scikit_learn),
        cmocka_unit_test(maps_match_scikit_learn_and_anomalib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
