/* Exact binomial bounds and bootstrap intervals against their definitions. */
#include "metric/interval.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- binomial -------------------------------------------------------------------------------------------- */

static double term(size_t k, size_t n, double p) {
    return exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) + (double)k * log(p) +
               (double)(n - k) * log1p(-p));
}

static void binomial_bounds_match_the_sums(void **state) {
    (void)state;
    const size_t ns[] = {1, 2, 7, 59, 400, 3000};
    for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
        for (size_t k = 0; k <= ns[j]; k += 1 + k / 5) {
            const size_t n = ns[j];
            for (int a = 1; a < 60; a += 7) {
                const double p = a / 60.0;
                double sum = 0;
                for (size_t i = 0; i <= k; i++) sum += term(i, n, p);
                /* lgamma of n is right to 1e-16 of some 1e4 */
                assert_true(fabs(binomial_at_most(k, n, p) - sum) < 1e-11);
            }
            const double alpha = 0.025, upper = binomial_upper(k, n, alpha), lower = binomial_lower(k, n, alpha);
            assert_true(k == n ? upper == 1 : fabs(binomial_at_most(k, n, upper) - alpha) < 1e-11);
            assert_true(k == 0 ? lower == 0 : fabs(1 - binomial_at_most(k - 1, n, lower) - alpha) < 1e-11);
            assert_true(lower <= (double)k / (double)n && upper >= (double)k / (double)n);
        }
    /* R 4: binom.test(3, 20)$conf.int */
    assert_true(fabs(binomial_lower(3, 20, 0.025) - 0.03207094) < 5e-9);
    assert_true(fabs(binomial_upper(3, 20, 0.025) - 0.37892683) < 5e-9);
    assert_true(binomial_upper(0, 0, 0.05) == 1 && binomial_lower(0, 0, 0.05) == 0);
}

static void images_needed_are_the_fewest(void **state) {
    (void)state;
    assert_int_equal(blemish_images_needed(0.05, 0.95), 59);
    assert_int_equal(blemish_images_needed(0.01, 0.95), 299);
    assert_int_equal(blemish_images_needed(0.5, 0.75), 2); /* exactly 1/4 */
    for (double rate = 0.003; rate < 1; rate *= 1.7) {
        size_t n = blemish_images_needed(rate, 0.9);
        assert_true(binomial_upper(0, n, 0.1) <= rate * (1 + 1e-9));
        assert_true(n == 1 || binomial_upper(0, n - 1, 0.1) > rate);
    }
    const double outside[] = {0, 1, -1, NAN, 2};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(blemish_images_needed(outside[i], 0.9), 0);
        assert_int_equal(blemish_images_needed(0.1, outside[i]), 0);
    }
    char text[BLEMISH_ERROR_SIZE] = "";
    assert_int_equal(blemish_too_few(59, 59, 0.05, 0.95, text), 0);
    assert_int_equal(blemish_too_few(59, 0, 0.05, 0.95, text), 0);
    assert_int_equal(blemish_too_few(100, 10, 0.05, 0.95, text), 1);
    assert_non_null(strstr(text, "25.9 % of defects missed (95 % confidence); 5 % takes 59 of each"));
    assert_null(strstr(text, "rejected"));
    assert_int_equal(blemish_too_few(10, 58, 0.05, 0.95, text), 1);
    assert_non_null(strstr(text, "missed and up to 25.9 % of good"));
}

static void rates_are_checked(void **state) {
    (void)state;
    BlemishInterval i;
    assert_int_equal(blemish_rate_interval(3, 20, 0.95, &i), BLEMISH_OK);
    assert_true(i.low == binomial_lower(3, 20, (1 - 0.95) / 2) && i.high == binomial_upper(3, 20, (1 - 0.95) / 2));
    assert_int_equal(blemish_rate_interval(0, 0, 0.95, &i), BLEMISH_OK);
    assert_true(i.low == 0 && i.high == 1);
    assert_int_equal(blemish_rate_interval(2, 1, 0.95, &i), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_rate_interval(1, 2, 1, &i), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_rate_interval(1, 2, NAN, &i), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_rate_interval(1, 2, 0.9, NULL), BLEMISH_ERROR_ARGUMENT);
}

/* ---- bootstrap ------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quantile with linear interpolation between order statistics. */
static double quantile(double *values, size_t n, double q) {
    qsort(values, n, sizeof *values, ascending);
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? values[i] + (at - (double)i) * (values[i + 1] - values[i]) : values[i];
}

/* The same draws, each resample written out and measured by metric.h. */
static void score_intervals_match_written_out_resamples(void **state) {
    (void)state;
    enum { N = 60, TIMES = 200 };
    Random r = random_new(7, 0);
    for (int round = 0; round < 6; round++) {
        Error e = {0};
        const size_t n = round == 5 ? 3 : N;
        const Bootstrap b = {0.9, TIMES, (uint64_t)round};
        float s[N], drawn[N];
        uint8_t y[N], drawn_labels[N];
        double aurocs[TIMES], aps[TIMES], f1s[TIMES], threshold;
        uint32_t times[N];
        size_t members[N];
        for (size_t i = 0; i < n; i++) {
            y[i] = i % 3 == 0;
            s[i] = round % 2 ? (float)random_below(&r, 5) : random_normal(&r);
            s[i] += (float)y[i];
        }
        for (size_t k = 0; k < TIMES; k++) {
            size_t count = 0, defects = 0;
            bootstrap_draw(&b, k, y, n, members, times);
            for (size_t i = 0; i < n; i++)
                for (uint32_t t = 0; t < times[i]; t++) {
                    drawn[count] = s[i];
                    defects += y[i];
                    drawn_labels[count++] = y[i];
                }
            assert_int_equal(count, n);
            assert_int_equal(defects, (n + 2) / 3); /* stratified */
            assert_int_equal(metric_auroc(drawn, drawn_labels, n, &aurocs[k], &e), BLEMISH_OK);
            assert_int_equal(metric_average_precision(drawn, drawn_labels, n, &aps[k], &e), BLEMISH_OK);
            assert_int_equal(metric_best_f1(drawn, drawn_labels, n, &f1s[k], &threshold, &e), BLEMISH_OK);
        }
        ScoreIntervals found;
        assert_int_equal(bootstrap_scores(&b, s, y, n, &found, &e), BLEMISH_OK);
        const struct {
            BlemishInterval found;
            double *values;
        } pairs[] = {{found.auroc, aurocs}, {found.ap, aps}, {found.f1, f1s}};
        for (size_t i = 0; i < 3; i++) { /* sums of 60 doubles */
            assert_true(fabs(pairs[i].found.low - quantile(pairs[i].values, TIMES, 0.05)) < 1e-12);
            assert_true(fabs(pairs[i].found.high - quantile(pairs[i].values, TIMES, 0.95)) < 1e-12);
        }
    }
}

/* The population's metric lies in the interval about as often as the confidence says. Percentile intervals of
 * 40 + 40 images fall short of it a little; 200 trials at 0.9 have a standard error of 0.021. */
static void score_intervals_cover(void **state) {
    (void)state;
    enum { N = 80, TRIALS = 200 };
    const double truth = 0.5 * erfc(-0.5); /* AUROC of N(1, 1) against N(0, 1): P(N(1, 2) > 0) */
    Random r = random_new(8, 0);
    int covered = 0;
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        Error e = {0};
        const Bootstrap b = {0.9, 300, trial};
        float s[N];
        uint8_t y[N];
        ScoreIntervals found;
        for (size_t i = 0; i < N; i++) {
            y[i] = i % 2;
            s[i] = random_normal(&r) + (float)y[i];
        }
        assert_int_equal(bootstrap_scores(&b, s, y, N, &found, &e), BLEMISH_OK);
        covered += found.auroc.low <= truth && truth <= found.auroc.high;
    }
    if (covered < 0.82 * TRIALS || covered > 0.97 * TRIALS) fail_msg("covered %d of %d", covered, TRIALS);
}

enum { MAPS = 12, H = 24, W = 20, P = H * W };

/* Maps of some noise, their defects brighter by chance; every second one without a defect. */
static void make_maps(Random *r, int levels, float maps[MAPS][P], uint8_t masks[MAPS][P]) {
    memset(masks, 0, MAPS * P);
    for (size_t m = 0; m < MAPS; m++) {
        const float level = 0.2f * random_float(r);
        for (size_t k = 0; m % 2 && k < 1 + m / 4; k++) {
            size_t x = random_below(r, W - 4), y = random_below(r, H - 4);
            for (size_t i = 0; i < 12; i++) masks[m][(y + i / 4) * W + x + i % 4] = 1;
        }
        for (size_t i = 0; i < P; i++) {
            maps[m][i] = 0.5f * random_float(r) + level + 0.3f * (float)masks[m][i];
            if (levels) maps[m][i] = floorf(maps[m][i] * (float)levels) / (float)levels;
        }
    }
}

static void open_maps(PixelRanking *r, float maps[MAPS][P], uint8_t masks[MAPS][P]) {
    Error e = {0};
    if (pixel_ranking_open(r, MAPS, MAPS * P, P, &e)) fail_msg("%s", e.text);
    for (size_t m = 0; m < MAPS; m++)
        if (pixel_ranking_add(r, maps[m], m % 2 ? masks[m] : NULL, H, W, &e)) fail_msg("%s", e.text);
}

static BlemishStatus pixel_intervals(const Bootstrap *b, const PixelHistograms *h, const PixelMetrics *exact,
                                     PixelIntervals *found, Error *e) {
    double *values = array_new(4, b->resamples * sizeof *values, e);
    BlemishStatus status = values ? bootstrap_pixel_values(b, h, exact, values, e) : e->status;
    if (status == BLEMISH_OK) status = bootstrap_pixels(b, values, found, e);
    array_free(values);
    return status;
}

/* With as few levels as bins the histograms lose nothing: every resample is the exact metric of its maps. */
static void pixel_intervals_match_written_out_resamples(void **state) {
    (void)state;
    enum { TIMES = 100 };
    static float maps[MAPS][P];
    static uint8_t masks[MAPS][P];
    Random random = random_new(9, 0);
    make_maps(&random, 40, maps, masks);
    Error e = {0};
    PixelRanking r;
    PixelHistograms h;
    open_maps(&r, maps, masks);
    assert_int_equal(pixel_histograms_open(&h, &r, &e), BLEMISH_OK);
    const PixelMetrics exact = pixel_ranking_metrics(&r), binned = pixel_histograms_metrics(&h);
    assert_true(fabs(exact.p_auroc - binned.p_auroc) < 1e-12 && fabs(exact.ap_loc - binned.ap_loc) < 1e-12);
    assert_true(fabs(exact.aupro - binned.aupro) < 1e-12 && fabs(exact.best_f1 - binned.best_f1) < 1e-12);
    const Bootstrap b = {0.8, TIMES, 3};
    uint8_t classes[MAPS];
    uint32_t times[MAPS];
    size_t members[MAPS];
    double values[4][TIMES];
    for (size_t m = 0; m < MAPS; m++) classes[m] = m % 2;
    for (size_t k = 0; k < TIMES; k++) {
        const float *drawn[MAPS];
        const uint8_t *drawn_masks[MAPS];
        size_t count = 0;
        PixelMetrics p;
        bootstrap_draw(&b, k, classes, MAPS, members, times);
        for (size_t m = 0; m < MAPS; m++)
            for (uint32_t t = 0; t < times[m]; t++) {
                drawn[count] = maps[m];
                drawn_masks[count++] = masks[m];
            }
        assert_int_equal(metric_pixels(drawn, drawn_masks, MAPS, H, W, &p, &e), BLEMISH_OK);
        values[0][k] = p.p_auroc, values[1][k] = p.ap_loc, values[2][k] = p.aupro, values[3][k] = p.best_f1;
    }
    PixelIntervals found;
    assert_int_equal(pixel_intervals(&b, &h, &exact, &found, &e), BLEMISH_OK);
    const BlemishInterval *intervals[] = {&found.p_auroc, &found.ap_loc, &found.aupro, &found.best_f1};
    for (size_t i = 0; i < 4; i++) { /* sums of some thousand doubles below 1, in another order */
        assert_true(fabs(intervals[i]->low - quantile(values[i], TIMES, 0.1)) < 1e-10);
        assert_true(fabs(intervals[i]->high - quantile(values[i], TIMES, 0.9)) < 1e-10);
    }
    pixel_histograms_close(&h);
    pixel_ranking_close(&r);
}

/* Continuous values in 1024 bins: 1/512 of a class in each at most, so that no metric is off by more. */
static void bins_are_close_to_exact(void **state) {
    (void)state;
    static float maps[MAPS][P];
    static uint8_t masks[MAPS][P];
    Random random = random_new(10, 0);
    make_maps(&random, 0, maps, masks);
    Error e = {0};
    PixelRanking r;
    PixelHistograms h;
    open_maps(&r, maps, masks);
    assert_int_equal(pixel_histograms_open(&h, &r, &e), BLEMISH_OK);
    const PixelMetrics exact = pixel_ranking_metrics(&r), binned = pixel_histograms_metrics(&h);
    assert_true(h.bins > PIXEL_BINS / 2);
    assert_true(fabs(exact.p_auroc - binned.p_auroc) < 1.0 / 1024); /* half of the ties in a bin */
    assert_true(fabs(exact.ap_loc - binned.ap_loc) < 1.0 / 512);
    assert_true(fabs(exact.aupro - binned.aupro) < 1.0 / 512);
    assert_true(fabs(exact.best_f1 - binned.best_f1) < 1.0 / 512);
    pixel_histograms_close(&h);
    pixel_ranking_close(&r);
    /* No maps, and maps without a defect. */
    PixelIntervals found;
    const Bootstrap b = {0.95, 100, 0};
    assert_int_equal(pixel_ranking_open(&r, 0, 0, P, &e), BLEMISH_OK);
    assert_int_equal(pixel_histograms_open(&h, &r, &e), BLEMISH_OK);
    assert_int_equal(pixel_intervals(&b, &h, &exact, &found, &e), BLEMISH_OK);
    assert_true(isnan(found.aupro.low));
    pixel_ranking_close(&r);
    assert_int_equal(pixel_ranking_open(&r, 1, P, P, &e), BLEMISH_OK);
    assert_int_equal(pixel_ranking_add(&r, maps[0], NULL, H, W, &e), BLEMISH_OK);
    assert_int_equal(pixel_histograms_open(&h, &r, &e), BLEMISH_OK);
    assert_int_equal(pixel_intervals(&b, &h, &exact, &found, &e), BLEMISH_OK);
    assert_true(isnan(found.p_auroc.low));
    pixel_histograms_close(&h);
    pixel_ranking_close(&r);
}

static void misuse_is_told(void **state) {
    (void)state;
    char error[BLEMISH_ERROR_SIZE];
    BlemishMetrics m;
    BlemishIntervals v;
    const float s[4] = {0.1f, 0.9f, 0.4f, 0.3f}, bad[2] = {NAN, 1};
    const uint8_t y[4] = {0, 1, 0, 1};
    blemish_intervals_defaults(&v);
    assert_int_equal(blemish_score_intervals(s, y, 4, &m, &v, error), BLEMISH_OK);
    assert_true(m.images == 4 && m.defects == 2 && m.i_auroc == 0.75 && v.i_auroc.low <= 0.75 && v.i_auroc.high == 1);
    assert_true(isnan(m.p_auroc) && isnan(v.p_auroc.low) && v.confidence == 0.95 && v.resamples == 1000);
    assert_int_equal(blemish_score_intervals(NULL, y, 4, &m, &v, error), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(error, "scores: found a null pointer");
    assert_int_equal(blemish_score_intervals(bad, y, 2, &m, &v, error), BLEMISH_ERROR_ARGUMENT);
    v.resamples = 99;
    assert_int_equal(blemish_score_intervals(s, y, 4, &m, &v, error), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(error, "resamples: found 99, expected 100 to 100000");
    v = (BlemishIntervals){.confidence = 1, .resamples = 100};
    assert_int_equal(blemish_score_intervals(s, y, 4, &m, &v, error), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(error, "confidence: found 1, expected a number between 0 and 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binomial_bounds_match_the_sums),
        cmocka_unit_test(images_needed_are_the_fewest),
        cmocka_unit_test(rates_are_checked),
        cmocka_unit_test(score_intervals_match_written_out_resamples),
        cmocka_unit_test(score_intervals_cover),
        cmocka_unit_test(pixel_intervals_match_written_out_resamples),
        cmocka_unit_test(bins_are_close_to_exact),
        cmocka_unit_test(misuse_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
