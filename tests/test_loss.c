/* The loss and its gradients against the definition in double and its finite differences. */
#include "helper_twin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 5, PIXELS = 77 };

typedef struct Batch {
    float map[SAMPLES * PIXELS], score[SAMPLES], weight[SAMPLES * PIXELS];
    uint8_t mask[SAMPLES * PIXELS], label[SAMPLES], segmented[SAMPLES];
} Batch;

/* Logits within +-size; samples 0 and 3 are switched off. */
static void random_batch(Random *r, Batch *b, float size) {
    for (size_t i = 0; i < SAMPLES * PIXELS; i++) {
        b->map[i] = size * random_signed(r);
        b->weight[i] = 3 * random_float(r);
        b->mask[i] = random_below(r, 3) == 0;
    }
    for (size_t s = 0; s < SAMPLES; s++) {
        b->score[s] = size * random_signed(r);
        b->label[s] = s & 1;
        b->segmented[s] = s % 3 != 0;
    }
}

static LossInput input_of(const Batch *b, bool weighted) {
    return (LossInput){SAMPLES, PIXELS, b->map, b->score, b->mask, b->label, b->segmented, weighted ? b->weight : NULL,
                       false};
}

static void close_to(double found, double expected) {
    /* Both are sums in double of at most 400 terms; the definition's own 1 - p_t is what rounds most. */
    assert_true(fabs(found - expected) <= 1e-12 * fmax(1, fabs(expected)));
}

/* d/dx of the definition by central differences; x is one of the twin's logits. */
static double slope(const LossInput *in, const double *map, const double *score, double *x) {
    const double step = 1e-6, before = *x;
    *x = before + step;
    const double above = twin_loss(in, map, score).total;
    *x = before - step;
    const double below = twin_loss(in, map, score).total;
    *x = before;
    return (above - below) / (2 * step);
}

/* Differences of a loss L round by 1e-16 L / 1e-6; gradients are returned as floats. */
static void check_slope(double found, double expected, double loss) {
    assert_true(fabs(found - expected) <= 1e-9 * fmax(1, loss) + 0x1p-23 * fabs(expected));
}

static LossTerms check(const Batch *b, bool weighted) {
    double map[SAMPLES * PIXELS], score[SAMPLES];
    float dmap[SAMPLES * PIXELS], dscore[SAMPLES];
    LossTerms found;
    const LossInput in = input_of(b, weighted);
    memset(dmap, 0x7f, sizeof dmap); /* what was there before must not count */
    memset(dscore, 0x7f, sizeof dscore);
    loss_terms(&in, &found, dmap, dscore);
    for (size_t i = 0; i < SAMPLES * PIXELS; i++) map[i] = (double)b->map[i];
    for (size_t s = 0; s < SAMPLES; s++) score[s] = (double)b->score[s];
    const LossTerms expected = twin_loss(&in, map, score);
    close_to(found.l1_good, expected.l1_good);
    close_to(found.l1_bad, expected.l1_bad);
    close_to(found.focal_map, expected.focal_map);
    close_to(found.focal_score, expected.focal_score);
    close_to(found.total, expected.total);
    for (size_t i = 0; i < SAMPLES * PIXELS; i++) {
        if (!b->segmented[i / PIXELS]) assert_true(dmap[i] == 0);
        if (fabs(fabs(map[i]) - 0.5) > 1e-5) /* not across the margin's corner */
            check_slope((double)dmap[i], slope(&in, map, score, map + i), expected.total);
    }
    for (size_t s = 0; s < SAMPLES; s++)
        check_slope((double)dscore[s], slope(&in, map, score, score + s), expected.total);
    return found;
}

static void any_batch(void **state) {
    (void)state;
    static const float sizes[] = {0.1f, 1, 8, 50};
    Random r = random_new(1, 0);
    Batch b;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int weighted = 0; weighted < 2; weighted++) {
            random_batch(&r, &b, sizes[i]);
            const LossTerms terms = check(&b, weighted);
            assert_true(terms.l1_good > 0 && terms.l1_bad > 0 && terms.focal_map > 0 && terms.focal_score > 0);
        }
}

static void no_defective_pixel(void **state) {
    (void)state;
    Random r = random_new(2, 0);
    Batch b;
    random_batch(&r, &b, 2);
    memset(b.mask, 0, sizeof b.mask);
    assert_true(check(&b, true).l1_bad == 0);
    memset(b.mask, 1, sizeof b.mask); /* and no other */
    assert_true(check(&b, true).l1_good == 0);
}

/* Defects in images that are switched off are as good as none. */
static void defects_switched_off(void **state) {
    (void)state;
    Random r = random_new(3, 0);
    Batch b;
    random_batch(&r, &b, 2);
    for (size_t i = 0; i < SAMPLES * PIXELS; i++) b.mask[i] = !b.segmented[i / PIXELS];
    assert_true(check(&b, false).l1_bad == 0);
}

static void nothing_segmented(void **state) {
    (void)state;
    Random r = random_new(4, 0);
    Batch b;
    random_batch(&r, &b, 2);
    memset(b.segmented, 0, sizeof b.segmented);
    const LossTerms terms = check(&b, true);
    assert_true(terms.l1_good == 0 && terms.l1_bad == 0 && terms.focal_map == 0 && terms.focal_score > 0);
}

/* Where exp overflows: as the limits of the formulas say. */
/* Without a classification head the score has no term and no gradient; the map's are as before. */
static void unscored(void **state) {
    (void)state;
    Random r = random_new(5, 0);
    Batch b;
    float dmap[2][SAMPLES * PIXELS], dscore[2][SAMPLES];
    LossTerms terms[2];
    random_batch(&r, &b, 2);
    for (int i = 0; i < 2; i++) {
        LossInput in = input_of(&b, true);
        in.unscored = i;
        memset(dscore[i], 0x7f, sizeof dscore[i]);
        loss_terms(&in, &terms[i], dmap[i], dscore[i]);
    }
    assert_true(terms[1].focal_score == 0);
    close_to(terms[1].total, terms[0].total - terms[0].focal_score);
    assert_memory_equal(dmap[0], dmap[1], sizeof dmap[0]);
    for (size_t s = 0; s < SAMPLES; s++) assert_true(dscore[1][s] == 0);
}

static void extreme_logits(void **state) {
    (void)state;
    static const float logits[] = {-1000, -50, 0, 50, 1000};
    Batch b;
    memset(&b, 0, sizeof b);
    for (size_t i = 0; i < SAMPLES * PIXELS; i++) {
        b.map[i] = logits[i % 5];
        b.mask[i] = i / 5 % 2 == 0;
    }
    memcpy(b.score, logits, sizeof b.score);
    memset(b.segmented, 1, sizeof b.segmented);
    for (int label = 0; label < 2; label++) {
        memset(b.label, label, sizeof b.label);
        const LossTerms terms = check(&b, false);
        /* Two of five scores are certain and wrong, costing their logits; two certain and right, costing nothing. */
        close_to(terms.focal_score, (1000 + 50 + log(2) / 16) / SAMPLES);
    }
}

/* The derivative at certainty: -1 for a score that is surely wrong (each logit unit costs one), 0 for a right one. */
static void extreme_gradients(void **state) {
    (void)state;
    static const float logits[] = {-1e30f, -1000, -50, 50, 1000};
    static const float expected[] = {-1, -1, -1, 0, 0};
    float dmap[SAMPLES], dscore[SAMPLES], map[SAMPLES] = {0};
    uint8_t ones[SAMPLES];
    LossTerms terms;
    memset(ones, 1, sizeof ones);
    const LossInput in = {SAMPLES, 1, map, logits, ones, ones, ones, NULL, false};
    loss_terms(&in, &terms, dmap, dscore);
    assert_true(isfinite(terms.total));
    for (size_t s = 0; s < SAMPLES; s++)
        assert_true(fabs((double)dscore[s] * SAMPLES - (double)expected[s]) < 1e-6); /* float rounding of 1 / 5 */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_batch),
                                       cmocka_unit_test(no_defective_pixel),
                                       cmocka_unit_test(defects_switched_off),
                                       cmocka_unit_test(nothing_segmented),
                                       cmocka_unit_test(unscored),
                                       cmocka_unit_test(extreme_logits),
                                       cmocka_unit_test(extreme_gradients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
