/* Thresholds against brute force over all of them, fits against scikit-learn, and what is promised of new images. */
#include "metric/calibrate.h"
#include "metric/interval.h"
#include "metric/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 200 };

static void count_errors(const float *v, const uint8_t *y, size_t n, float t, size_t *alarms, size_t *escapes) {
    *alarms = *escapes = 0;
    for (size_t i = 0; i < n; i++) {
        *alarms += v[i] >= t && !y[i];
        *escapes += v[i] < t && y[i];
    }
}

/* How good a threshold is by the rule, larger is better; -INFINITY where it is not allowed. */
static double worth(Rule rule, const RuleSettings *s, size_t good, size_t defects, size_t alarms, size_t escapes) {
    const double d = (double)defects, found = d - (double)escapes, rate = d / (d + (double)good);
    switch (rule) {
    case RULE_F1:
        return 2 * found / (found + (double)alarms + d);
    case RULE_ZERO_ESCAPES:
        return escapes ? (double)-INFINITY : -(double)alarms;
    case RULE_COSTS:
        return -rate * s->escape_cost * (double)escapes / d -
               (1 - rate) * s->alarm_cost * (double)alarms / (double)good;
    default:
        return binomial_upper(alarms, good, 1 - s->confidence) > s->budget ? (double)-INFINITY : found;
    }
}

static void thresholds_are_the_best_of_all(void **state) {
    (void)state;
    Random r = random_new(11, 0);
    const RuleSettings s = {0.2, 0.8, 0.1, 7, 2, NAN};
    for (int round = 0; round < 400; round++) {
        float v[MOST];
        uint8_t y[MOST];
        const size_t n = 40 + random_below(&r, 60);
        for (size_t i = 0; i < n; i++) {
            y[i] = i < 2 ? (uint8_t)i : random_below(&r, 3) == 0;
            v[i] = 0.6f * random_float(&r) + 0.3f * (float)y[i];
            if (round % 2) v[i] = floorf(v[i] * 8) / 8;
        }
        size_t good = 0, alarms, escapes;
        for (size_t i = 0; i < n; i++) good += !y[i];
        for (Rule rule = RULE_F1; rule <= RULE_COSTS; rule++) {
            Error e = {0};
            float t;
            if (threshold_choose(rule, &s, "score", v, y, n, &t, &e)) fail_msg("%s", e.text);
            count_errors(v, y, n, t, &alarms, &escapes);
            const double found = worth(rule, &s, good, n - good, alarms, escapes);
            assert_true(t >= 0 && t <= 1 && found > -INFINITY);
            for (size_t i = 0; i <= n; i++) { /* each value as the lowest accepted, and none */
                count_errors(v, y, n, i < n ? v[i] : 1, &alarms, &escapes);
                /* the same sum of two products on both sides */
                assert_true(worth(rule, &s, good, n - good, alarms, escapes) <= found + 1e-12);
            }
        }
    }
}

static void thresholds_lie_between_neighbours(void **state) {
    (void)state;
    float lower = 0.3f;
    assert_true(threshold_between(lower, nextafterf(lower, 1)) == nextafterf(lower, 1));
    assert_true(threshold_between(0.25f, 0.75f) == 0.5f);
    Random r = random_new(12, 0);
    for (int i = 0; i < 10000; i++) {
        lower = random_float(&r);
        float upper = lower;
        for (uint32_t k = 0; k <= random_below(&r, 4); k++) upper = nextafterf(upper, 2);
        const float t = threshold_between(lower, upper);
        assert_true(lower < t && t <= upper);
    }
}

/* The best F1 of one sound and one defective pixel whose values are neighbours: half of all such pairs have a lower one
 * that the nearest float to their middle is. */
static void best_f1_passes_the_lower_neighbour(void **state) {
    (void)state;
    Random r = random_new(14, 0);
    const RuleSettings none = {0};
    const uint8_t mask[2] = {0, 1};
    int astray = 0;
    for (int i = 0; i < 200; i++) {
        Error e = {0};
        PixelMetrics m;
        float map[2] = {random_float(&r), 0}, t;
        map[1] = nextafterf(map[0], 2);
        const float *maps[] = {map};
        const uint8_t *masks[] = {mask};
        assert_int_equal(metric_pixels(maps, masks, 1, 1, 2, &m, &e), BLEMISH_OK);
        assert_true(m.best_f1 == 1);
        astray += (float)m.best_f1_threshold == map[0];
        assert_true(threshold_float(m.best_f1_threshold) == map[1]);
        assert_int_equal(threshold_choose(RULE_F1, &none, "map", map, mask, 2, &t, &e), BLEMISH_OK);
        assert_true(t == map[1]);
    }
    assert_true(astray > 50); /* a plain conversion is wrong */
    assert_true(threshold_float(1.5) == 1 && threshold_float(-1) == 0 && threshold_float(0.25) == 0.25f);
    assert_true(threshold_float(1 - 1e-12) == 1);
}

/* Of 1,000 resamplings, each with its own good images, the part of new good images that is rejected: at most alpha in
 * the mean (conformal), and more than the budget in at most 1 - confidence of the resamplings (budget). */
static void promises_hold(void **state) {
    (void)state;
    enum { TRIALS = 1000, N = 99 };
    Random r = random_new(13, 0);
    const uint8_t y[N] = {0};
    for (int ties = 0; ties < 2; ties++) {
        const RuleSettings s = {0.1, 0.9, 0.05, 1, 1, NAN};
        double rejected = 0;
        int broken = 0;
        for (int trial = 0; trial < TRIALS; trial++) {
            Error e = {0};
            float v[N], t;
            /* uniform values, so that the rate beyond a threshold is known: 1 - t, or that of the levels above */
            for (size_t i = 0; i < N; i++) v[i] = ties ? (float)random_below(&r, 64) / 64 : random_float(&r);
            assert_int_equal(threshold_choose(RULE_CONFORMAL, &s, "score", v, y, N, &t, &e), BLEMISH_OK);
            rejected += ties ? (64 - ceil((double)t * 64)) / 64 : 1 - (double)t;
            assert_int_equal(threshold_choose(RULE_BUDGET, &s, "score", v, y, N, &t, &e), BLEMISH_OK);
            broken += (ties ? (64 - ceil((double)t * 64)) / 64 : 1 - (double)t) > s.budget;
        }
        print_message("%s: conformal, alpha 0.05: %.4f of new good images rejected in the mean of %d resamplings; "
                      "budget 0.1 with 90 %% confidence: exceeded in %d\n",
                      ties ? "64 levels" : "continuous", rejected / TRIALS, TRIALS, broken);
        /* The rejected rate of 99 images at rank 5 is Beta(5, 95): deviation 0.0217, so 3 errors of the mean are
         * 0.0021; three binomial errors of 1 - confidence are 0.028. */
        assert_true(rejected / TRIALS <= s.alpha + 0.0021);
        assert_true(ties || rejected / TRIALS >= s.alpha - 0.0021);
        assert_true(broken <= (1 - s.confidence + 0.028) * TRIALS);
    }
}

static void what_cannot_be_is_told(void **state) {
    (void)state;
    Error e = {0};
    float t;
    const RuleSettings s = {0.05, 0.95, 0.05, 1, 1, NAN};
    float v[60] = {0};
    uint8_t y[60] = {0};
    assert_int_equal(threshold_choose(RULE_BUDGET, &s, "score", v, y, 58, &t, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "found 58 good images to choose the threshold on, expected 59 or more"));
    assert_int_equal(threshold_choose(RULE_BUDGET, &s, "score", v, y, 59, &t, &e), BLEMISH_OK);
    assert_int_equal(threshold_choose(RULE_CONFORMAL, &s, "score", v, y, 18, &t, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "found 18 good images to choose the threshold on, expected 19 or more"));
    assert_int_equal(threshold_choose(RULE_CONFORMAL, &s, "score", v, y, 19, &t, &e), BLEMISH_OK);
    assert_true(t > 0);
    for (Rule rule = RULE_F1; rule < RULE_CONFORMAL; rule++)
        if (rule != RULE_BUDGET)
            assert_int_equal(threshold_choose(rule, &s, "score", v, y, 60, &t, &e), BLEMISH_ERROR_ARGUMENT);
    for (size_t i = 0; i < 60; i++) v[i] = 1;
    assert_int_equal(threshold_choose(RULE_BUDGET, &s, "score", v, y, 60, &t, &e), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(threshold_choose(RULE_CONFORMAL, &s, "score", v, y, 60, &t, &e), BLEMISH_ERROR_ARGUMENT);
    const float outside[] = {NAN, -0.5f, 1.5f, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        v[3] = outside[i];
        assert_int_equal(threshold_choose(RULE_F1, &s, "score", v, y, 60, &t, &e), BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(e.text, "expected numbers from 0 to 1"));
    }
}

/* ---- scikit-learn (fixtures/make_metrics.py) --------------------------------------------------------------- */

static double number(FILE *file) {
    double value;
    if (fscanf(file, "%lf", &value) != 1) fail_msg("metrics.txt: found no number");
    return value;
}

static void fits_match_scikit_learn(void **state) {
    (void)state;
    FILE *file = fopen(TEST_DIR "/fixtures/metrics.txt", "r");
    char kind[64], name[64];
    int cases = 0;
    size_t n;
    assert_non_null(file);
    while (fscanf(file, "%63s", kind) == 1) {
        const bool platt = strcmp(kind, "platt") == 0, isotonic = strcmp(kind, "isotonic") == 0;
        if (!platt && !isotonic && strcmp(kind, "logistic") != 0) continue;
        assert_int_equal(fscanf(file, "%63s %zu", name, &n), 2);
        assert_true(n <= MOST);
        Error e = {0};
        double x[MOST], x2[MOST] = {0}, wanted[3] = {0}, found[3] = {0};
        float values[MOST];
        uint8_t y[MOST];
        const size_t numbers = platt ? 2 : isotonic ? 1 : 3;
        for (size_t i = 0; i < numbers; i++) wanted[i] = number(file);
        for (size_t i = 0; i < n; i++) {
            values[i] = (float)number(file);
            x[i] = (double)values[i];
            if (!platt && !isotonic) x2[i] = (double)(float)number(file);
            y[i] = number(file) > 0;
        }
        cases++;
        if (isotonic) {
            Calibration c = {.probability = PROBABILITY_ISOTONIC};
            assert_int_equal(isotonic_fit(values, y, n, &c, &e), BLEMISH_OK);
            for (double i = 0; i < wanted[0]; i++) {
                const float at = (float)number(file);
                const double p = number(file); /* the probability is a float */
                if (!(fabs((double)calibration_probability(&c, at) - p) <= 1e-7))
                    fail_msg("isotonic %s at %g", name, (double)at);
            }
            calibration_close(&c);
            continue;
        }
        if (platt)
            assert_int_equal(platt_fit(x, y, n, &found[0], &found[1], &e), BLEMISH_OK);
        else
            assert_int_equal(combination_fit(x, x2, y, n, found, &e), BLEMISH_OK);
        for (size_t i = 0; i < numbers; i++) /* minima are flat: a loss right to 1e-15 places them to about 1e-7 */
            if (!(fabs(found[i] - wanted[i]) <= 1e-6))
                fail_msg("%s %s: weight %zu: found %.12g, expected %.12g", kind, name, i, found[i], wanted[i]);
    }
    fclose(file);
    assert_int_equal(cases, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_are_the_best_of_all),
        cmocka_unit_test(thresholds_lie_between_neighbours),
        cmocka_unit_test(best_f1_passes_the_lower_neighbour),
        cmocka_unit_test(promises_hold),
        cmocka_unit_test(what_cannot_be_is_told),
        cmocka_unit_test(fits_match_scikit_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
