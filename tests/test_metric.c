#include "metric/metric.h"
#include "metric/ranking.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Both sides sum at most a few thousand terms below 1 in double. */
static const double tolerance = 1e-11;

static void assert_same(double found, double expected) {
    if (isnan(expected) ? !isnan(found) : !(fabs(found - expected) <= tolerance))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

/* ---- definitions, as slow as they read ------------------------------------------------------------------- */

static double brute_auroc(const float *s, const uint8_t *y, size_t n) {
    double right = 0, pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            if (!y[i] || y[j]) continue;
            pairs++;
            right += s[i] > s[j] ? 1 : s[i] == s[j] ? 0.5 : 0;
        }
    return pairs > 0 ? right / pairs : (double)NAN;
}

static void count_accepted(const float *s, const uint8_t *y, size_t n, double t, double *tp, double *accepted) {
    *tp = *accepted = 0;
    for (size_t i = 0; i < n; i++) {
        *accepted += (double)s[i] >= t;
        *tp += (double)s[i] >= t && y[i];
    }
}

/* The next lower distinct score than `below`; -INFINITY where there is none. */
static double next_lower(const float *s, size_t n, double below) {
    double next = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if ((double)s[i] < below && (double)s[i] > next) next = (double)s[i];
    return next;
}

static double count_positives(const uint8_t *y, size_t n) {
    double positives = 0;
    for (size_t i = 0; i < n; i++) positives += y[i] != 0;
    return positives;
}

static double brute_ap(const float *s, const uint8_t *y, size_t n) {
    double ap = 0, recall = 0, tp, accepted, positives = count_positives(y, n);
    for (double t = next_lower(s, n, INFINITY); t > -INFINITY; t = next_lower(s, n, t)) {
        count_accepted(s, y, n, t, &tp, &accepted);
        ap += (tp / positives - recall) * tp / accepted;
        recall = tp / positives;
    }
    return positives > 0 ? ap : (double)NAN;
}

static double brute_f1(const float *s, const uint8_t *y, size_t n, double *threshold) {
    double best = -1, tp, accepted, positives = count_positives(y, n);
    *threshold = NAN;
    if (positives == 0) return NAN;
    for (double t = next_lower(s, n, INFINITY); t > -INFINITY; t = next_lower(s, n, t)) {
        count_accepted(s, y, n, t, &tp, &accepted);
        double f1 = 2 * tp / (accepted + positives), lower = next_lower(s, n, t);
        if (f1 <= best) continue;
        best = f1;
        *threshold = lower > -INFINITY ? (t + lower) / 2 : t;
    }
    return best;
}

/* Fills one 8-connected region of mask with `number`, from pixel i. */
static void flood(const uint8_t *mask, size_t h, size_t w, uint32_t *numbers, size_t i, uint32_t number) {
    if (!mask[i] || numbers[i]) return;
    numbers[i] = number;
    size_t y = i / w, x = i % w;
    for (size_t v = y ? y - 1 : 0; v <= y + 1 && v < h; v++)
        for (size_t u = x ? x - 1 : 0; u <= x + 1 && u < w; u++) flood(mask, h, w, numbers, v * w + u, number);
}

/* Every distinct threshold: the mean over regions of the fraction accepted, against the false-positive rate. */
static double brute_aupro(const float *s, const uint32_t *numbers, size_t n, uint32_t regions) {
    double sound = 0, area = 0, fpr = 0, pro = 0;
    for (size_t i = 0; i < n; i++) sound += numbers[i] == 0;
    if (regions == 0 || sound == 0) return NAN;
    for (double t = next_lower(s, n, INFINITY); t > -INFINITY; t = next_lower(s, n, t)) {
        double fp = 0, overlap = 0;
        for (size_t i = 0; i < n; i++) fp += numbers[i] == 0 && (double)s[i] >= t;
        for (uint32_t k = 1; k <= regions; k++) {
            double size = 0, hit = 0;
            for (size_t i = 0; i < n; i++) {
                size += numbers[i] == k;
                hit += numbers[i] == k && (double)s[i] >= t;
            }
            overlap += hit / size / regions;
        }
        double next = fp / sound, end = next < 0.3 ? next : 0.3;
        if (end > fpr) {
            double at_end = pro + (overlap - pro) * (end - fpr) / (next - fpr);
            area += (pro + at_end) / 2 * (end - fpr);
        }
        if (next >= 0.3) break;
        fpr = next;
        pro = overlap;
    }
    return area / 0.3;
}

static void check_scores(const float *s, const uint8_t *y, size_t n) {
    Error e = {0};
    double auroc, ap, f1, threshold, expected;
    assert_int_equal(metric_auroc(s, y, n, &auroc, &e), BLEMISH_OK);
    assert_int_equal(metric_average_precision(s, y, n, &ap, &e), BLEMISH_OK);
    assert_int_equal(metric_best_f1(s, y, n, &f1, &threshold, &e), BLEMISH_OK);
    assert_same(auroc, brute_auroc(s, y, n));
    assert_same(ap, brute_ap(s, y, n));
    assert_same(f1, brute_f1(s, y, n, &expected));
    if (isnan(expected))
        assert_true(isnan(threshold));
    else
        assert_true(threshold == expected);
}

/* n maps against the same definitions; the maps are one array. */
static void check_pixels(const float *s, const uint8_t *y, size_t n, size_t h, size_t w) {
    Error e = {0};
    PixelMetrics found;
    size_t pixels = h * w, total = n * pixels;
    const float *maps[8] = {0};
    const uint8_t *masks[8] = {0};
    uint32_t *numbers = calloc(total + 1, sizeof *numbers), regions = 0;
    for (size_t i = 0; i < n; i++) {
        maps[i] = s + i * pixels;
        masks[i] = count_positives(y + i * pixels, pixels) > 0 || i % 2 ? y + i * pixels : NULL;
        for (size_t k = 0; k < pixels; k++)
            if (y[i * pixels + k] && !numbers[i * pixels + k])
                flood(y + i * pixels, h, w, numbers + i * pixels, k, ++regions);
    }
    if (metric_pixels(maps, masks, n, h, w, &found, &e) != BLEMISH_OK) fail_msg("%s", e.text);
    double threshold;
    assert_same(found.p_auroc, brute_auroc(s, y, total));
    assert_same(found.ap_loc, brute_ap(s, y, total));
    assert_same(found.best_f1, brute_f1(s, y, total, &threshold));
    assert_same(found.best_f1_threshold, threshold);
    assert_same(found.aupro, brute_aupro(s, numbers, total, regions));
    free(numbers);
}

/* ---- cases ----------------------------------------------------------------------------------------------- */

static void random_scores_match_the_definitions(void **state) {
    (void)state;
    Random r = random_new(1, 0);
    for (int round = 0; round < 300; round++) {
        size_t n = random_below(&r, 90);
        uint32_t levels = round % 3 == 0 ? 4 : round % 3 == 1 ? 40 : 1u << 30, share = random_below(&r, 11);
        float s[90];
        uint8_t y[90];
        for (size_t i = 0; i < n; i++) {
            s[i] = (float)random_below(&r, levels) / (float)levels - 0.5f;
            y[i] = random_below(&r, 10) < share;
        }
        check_scores(s, y, n);
    }
}

/* The sort's later passes: many scores in few leading bytes. */
static void long_lists_match_the_definitions(void **state) {
    (void)state;
    enum { N = 1500 };
    Random r = random_new(2, 0);
    for (int round = 0; round < 6; round++) {
        float s[N];
        uint8_t y[N];
        for (size_t i = 0; i < N; i++) {
            y[i] = random_below(&r, 5) == 0;
            s[i] = round % 2 ? 1 + 0x1p-20f * (float)random_below(&r, 1000)
                             : ldexpf(random_normal(&r) + 0.5f * (float)y[i], (int)random_below(&r, 3) - 1);
        }
        check_scores(s, y, N);
    }
}

static void adversarial_scores(void **state) {
    (void)state;
    const float ties[6] = {2, 2, 2, 2, 2, 2};
    const float zeros[6] = {0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f};
    const float wide[6] = {FLT_MAX, -FLT_MAX, 0x1p-149f, -0x1p-149f, -0.0f, FLT_MIN};
    const float sorted[6] = {1, 2, 3, 4, 5, 6};
    const float *const lists[] = {ties, zeros, wide, sorted};
    for (size_t l = 0; l < 4; l++)
        for (unsigned truth = 0; truth < 64; truth++)
            for (size_t n = 0; n <= 6; n++) {
                uint8_t y[6];
                for (size_t i = 0; i < 6; i++) y[i] = truth >> i & 1;
                check_scores(lists[l], y, n);
            }
    Error e = {0};
    double out, threshold;
    assert_int_equal(metric_auroc(NULL, NULL, 0, &out, &e), BLEMISH_OK);
    assert_true(isnan(out));
    const uint8_t y[6] = {1, 0, 1, 0, 1, 0};
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        float s[6] = {0, 1, 2, 3, 4, bad[i]};
        assert_int_equal(metric_auroc(s, y, 6, &out, &e), BLEMISH_ERROR_ARGUMENT);
        assert_int_equal(metric_average_precision(s, y, 6, &out, &e), BLEMISH_ERROR_ARGUMENT);
        assert_int_equal(metric_best_f1(s, y, 6, &out, &threshold, &e), BLEMISH_ERROR_ARGUMENT);
        PixelMetrics pixels;
        assert_int_equal(metric_pixels((const float *const[]){s}, (const uint8_t *const[]){y}, 1, 2, 3, &pixels, &e),
                         BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(e.text, "finite"));
    }
}

/* scikit-learn 1.9.1, Python 3:
 *   y = [int((i*i + i//3) % 5 < 2) for i in range(40)]; s = [(i*37 % 23 + 6*y[i]) / 8 for i in range(40)]
 *   roc_auc_score(y, s); average_precision_score(y, s)
 *   p, r, t = precision_recall_curve(y, s); f = 2*p*r / (p+r); f.max(), t[f.argmax()] */
static void scores_match_scikit_learn(void **state) {
    (void)state;
    float s[40];
    uint8_t y[40];
    for (int i = 0; i < 40; i++) {
        y[i] = (i * i + i / 3) % 5 < 2;
        s[i] = (float)(i * 37 % 23 + 6 * y[i]) / 8;
    }
    Error e = {0};
    double auroc, ap, f1, threshold;
    assert_int_equal(metric_auroc(s, y, 40, &auroc, &e), BLEMISH_OK);
    assert_int_equal(metric_average_precision(s, y, 40, &ap, &e), BLEMISH_OK);
    assert_int_equal(metric_best_f1(s, y, 40, &f1, &threshold, &e), BLEMISH_OK);
    assert_same(auroc, 0.625);
    assert_same(ap, 0.69303162834252985);
    assert_same(f1, 0.7142857142857143);
    assert_true(threshold < 0.75 && threshold > 0.75 - 1.0 / 8); /* the scores are eighths */
}

static void random_maps_match_the_definitions(void **state) {
    (void)state;
    Random r = random_new(3, 0);
    for (int round = 0; round < 150; round++) {
        size_t n = random_below(&r, 4), h = 1 + random_below(&r, 9), w = 1 + random_below(&r, 9);
        uint32_t levels = round % 2 ? 6 : 1u << 20, share = random_below(&r, 6);
        float s[3 * 81];
        uint8_t y[3 * 81];
        for (size_t i = 0; i < n * h * w; i++) {
            y[i] = random_below(&r, 10) < share;
            s[i] = (float)(random_below(&r, levels) + y[i] * levels / 3) / (float)levels;
        }
        check_pixels(s, y, n, h, w);
    }
}

static void adversarial_maps(void **state) {
    (void)state;
    enum { H = 7, W = 5, P = H * W };
    Random r = random_new(4, 0);
    float s[4 * P], flat[4 * P];
    uint8_t none[4 * P] = {0}, all[4 * P], one[4 * P] = {0}, checkers[4 * P], perfect[4 * P];
    for (size_t i = 0; i < 4 * P; i++) {
        s[i] = random_float(&r);
        flat[i] = 0.5f;
        all[i] = 1;
        checkers[i] = i % 2;
        perfect[i] = s[i] > 0.8f;
    }
    one[P + 17] = 1;
    const uint8_t *const masks[] = {none, all, one, checkers, perfect};
    for (size_t m = 0; m < 5; m++)
        for (size_t n = 0; n <= 4; n++) {
            check_pixels(s, masks[m], n, H, W);
            check_pixels(flat, masks[m], n, H, W);
        }
    check_pixels(s, one + P + 17, 1, 1, 1); /* one pixel, all of it a defect */
    check_pixels(s, none, 4, 1, 1);
    check_pixels(s, none, 2, 0, 5);

    Error e = {0};
    PixelMetrics found;
    assert_int_equal(metric_pixels((const float *const[]){s}, (const uint8_t *const[]){perfect}, 1, H, W, &found, &e),
                     BLEMISH_OK);
    assert_same(found.aupro, 1);
    assert_same(found.p_auroc, 1);
    assert_int_equal(metric_pixels(NULL, NULL, SIZE_MAX / 2, 3, 1, &found, &e), BLEMISH_ERROR_MEMORY);
    assert_int_equal(metric_pixels(NULL, NULL, 1, 70000, 70000, &found, &e), BLEMISH_ERROR_ARGUMENT);
}

/* Enough keys for tasks of their own, few and many distinct ones. */
static void large_sorts_are_in_order(void **state) {
    (void)state;
    enum { N = 300000 };
    Error e = {0};
    Random r = random_new(6, 0);
    uint32_t *keys = array_new(N, sizeof *keys, &e);
    uint64_t *items = array_new(N, sizeof *items, &e);
    float *scores = array_new(N, sizeof *scores, &e);
    for (int round = 0; round < 3; round++) {
        double before = 0, after = 0;
        for (size_t i = 0; i < N; i++)
            scores[i] = round == 0   ? random_float(&r)
                        : round == 1 ? ldexpf(random_normal(&r), (int)random_below(&r, 60) - 30)
                                     : 0.5f + 0x1p-24f * (float)random_below(&r, 3);
        assert_true(keys_make(scores, N, keys));
        for (size_t i = 0; i < N; i++) {
            items[i] = item_make(keys[i], (uint32_t)i);
            before += (double)scores[i];
            assert_true(key_score(keys[i]) == scores[i]);
        }
        keys_sort(keys, N);
        items_sort(items, N);
        for (size_t i = 0; i < N; i++) {
            assert_true(i == 0 || key_score(keys[i - 1]) >= key_score(keys[i]));
            assert_int_equal(item_key(items[i]), keys[i]);
            assert_true(scores[item_region(items[i])] == key_score(keys[i]));
            after += (double)key_score(keys[i]);
        }
        assert_true(fabs(before - after) <= 1e-9 * N * fabs(before)); /* a sum of N doubles in another order */
    }
    array_free(keys), array_free(items), array_free(scores);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_scores_match_the_definitions),
        cmocka_unit_test(long_lists_match_the_definitions),
        cmocka_unit_test(adversarial_scores),
        cmocka_unit_test(scores_match_scikit_learn),
        cmocka_unit_test(random_maps_match_the_definitions),
        cmocka_unit_test(adversarial_maps),
        cmocka_unit_test(large_sorts_are_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
