/* One training step of the heads against their plain graph: forward in training mode, and gradients by finite
 * differences of the whole loss. */
#include "helper_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Leaves the numbers of another, larger batch in every buffer of the trainer. */
static void step_use_up(RandomStep *s) {
    const HeadBatch batch = s->batch;
    const LossInput loss = s->loss;
    s->batch.images = s->what.capacity;
    s->loss.samples = 2 * s->what.capacity;
    random_step_run(s);
    s->batch = batch;
    s->loss = loss;
}

/* ---- forward --------------------------------------------------------------------------------------------- */

static double worst_difference(const float *found, const double *expected, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, isnan(found[i]) ? INFINITY : fabs((double)found[i] - expected[i]));
    return worst;
}

/* As in inference, but BatchNorm divides by deviations as small as 0.3, which are float sums themselves. */
#define FORWARD_TOLERANCE 1e-5

static void check_forward(const RandomStep *s, const LossTerms *terms, const Twin *t) {
    const HeadStats *stats = &s->heads.stats;
    const LossTerms expected = twin_loss(&s->loss, t->map, t->score);
    const double map = worst_difference(s->trainer->map, t->map, t->samples * s->loss.pixels);
    const double score = worst_difference(s->trainer->score, t->score, t->samples);
    const double means = fmax(worst_difference(stats->seg_mean, t->seg_mean, s->what.hidden),
                              worst_difference(stats->cls_mean, t->cls_mean, CLS_CHANNELS));
    const double variances = fmax(worst_difference(stats->seg_var, t->seg_var, s->what.hidden),
                                  worst_difference(stats->cls_var, t->cls_var, CLS_CHANNELS));
    print_message("  map within %.1e, score %.1e, running means %.1e, variances %.1e, loss %.1e\n", map, score, means,
                  variances, fabs(terms->total - expected.total));
    assert_true(map < FORWARD_TOLERANCE && score < FORWARD_TOLERANCE);
    assert_true(means < FORWARD_TOLERANCE && variances < FORWARD_TOLERANCE);
    assert_true(fabs(terms->total - expected.total) < FORWARD_TOLERANCE);
}

/* ---- finite differences ---------------------------------------------------------------------------------- */

typedef struct Part {
    const char *name;
    size_t at;             /* of the pointer in HeadParams */
    bool zero, moves_conv; /* JIMS: its gradient is 0 exactly; the 5x5 convolution of the features depends on it */
    bool icpr_zero, icpr_moves_conv;
} Part;

#define PART(member, ...)                                                                                              \
    { #member, offsetof(HeadParams, member), __VA_ARGS__ }
static const Part parts[] = {
    PART(adaptor_weight, false, false, false, true), PART(adaptor_bias, true, false, false, true),
    PART(seg_weight, false, false, false, false),    PART(seg_bias, true, false, true, false),
    PART(seg_gamma, false, false, false, false),     PART(seg_beta, false, false, false, false),
    PART(seg_out, false, false, false, false),       PART(cls_weight, false, true, false, true),
    PART(cls_map, false, false, false, false),       PART(cls_bias, true, false, true, false),
    PART(cls_gamma, false, false, false, false),     PART(cls_beta, false, false, false, false),
    PART(fc_weight, false, false, false, false),     PART(fc_bias, false, false, false, false)};
enum { PARTS = sizeof parts / sizeof *parts };

static float *part_of(const HeadParams *p, size_t i) {
    float *at;
    memcpy(&at, (const char *)p + parts[i].at, sizeof at);
    return at;
}

static size_t part_count(const HeadParams *p, size_t i) {
    return (size_t)((i + 1 < PARTS ? part_of(p, i + 1) : p->all + p->total) - part_of(p, i));
}

/* A step far above double's rounding of a loss near 1 (1e-16 / 1e-6 = 1e-10) and so short that next to no ReLU,
 * maximum or margin among the thousands changes sides. */
#define DIFFERENCE_STEP 1e-6

/* d loss / d t at params + t * direction, for the n parameters at `at`. */
static double slope(const RandomStep *s, Twin *t, double *at, size_t n, const double *direction) {
    double *before = malloc(n * sizeof *before), loss[2];
    assert_non_null(before);
    memcpy(before, at, n * sizeof *before);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++) at[i] = before[i] + (side ? -1 : 1) * DIFFERENCE_STEP * direction[i];
        twin_forward(t);
        loss[side] = twin_loss(&s->loss, t->map, t->score).total;
    }
    memcpy(at, before, n * sizeof *before);
    free(before);
    return (loss[0] - loss[1]) / (2 * DIFFERENCE_STEP);
}

/* Gradients are float sums over batch, pixels and channels: errors up to 1e-6 of the tensor's root mean square are
 * seen, 1e-5 is allowed. The rounding of the differences themselves is seen where the true slope is 0: up to 5e-10. */
#define GRADIENT_TOLERANCE 1e-5
#define DIFFERENCE_ROUNDING 5e-9

/* The slope along `direction` as the gradient has it and as differences do; the error over what is allowed. */
static double check_slope(const RandomStep *s, Twin *t, size_t part, const double *direction, const float *grad,
                          double rms) {
    const size_t n = part_count(&s->grads, part);
    double found = 0;
    for (size_t i = 0; i < n; i++) found += (double)grad[i] * direction[i];
    const double expected = slope(s, t, twin_param(t, part_of(&s->heads.params, part)), n, direction);
    const double error = fabs(found - expected) / (GRADIENT_TOLERANCE * (fabs(expected) + rms) + DIFFERENCE_ROUNDING);
    if (!(error <= 1))
        fail_msg("%s: found slope %.9g, expected %.9g, rms %.3g", parts[part].name, found, expected, rms);
    return error;
}

/* Along the gradient itself, in a random direction, and for a few single numbers. */
static void check_part(const RandomStep *s, Twin *t, Random *r, size_t part) {
    enum { ELEMENTS = 3 };
    const size_t n = part_count(&s->grads, part);
    const float *grad = part_of(&s->grads, part);
    const bool zero = s->what.icpr ? parts[part].icpr_zero : parts[part].zero;
    double norm = 0, worst = 0, *direction = malloc(n * sizeof *direction);
    assert_non_null(direction);
    for (size_t i = 0; i < n; i++) norm += (double)grad[i] * (double)grad[i];
    norm = sqrt(norm);
    if (zero) assert_true(norm == 0);
    const double rms = norm / sqrt((double)n);
    t->keep_conv = !(s->what.icpr ? parts[part].icpr_moves_conv : parts[part].moves_conv);
    for (size_t i = 0; norm > 0 && i < n; i++) direction[i] = (double)grad[i] / norm;
    if (norm > 0) worst = check_slope(s, t, part, direction, grad, rms);
    for (size_t i = 0; i < n; i++) direction[i] = (random_below(r, 2) ? 1 : -1) / sqrt((double)n);
    worst = fmax(worst, check_slope(s, t, part, direction, grad, rms));
    for (size_t i = 0; i < ELEMENTS && n > 1; i++) {
        memset(direction, 0, n * sizeof *direction);
        direction[random_below(r, (uint32_t)n)] = 1;
        worst = fmax(worst, check_slope(s, t, part, direction, grad, rms));
    }
    print_message("  %-14s rms %.1e, largest error %.1e of it\n", parts[part].name, rms, worst * GRADIENT_TOLERANCE);
    if (!t->keep_conv) { /* back to the convolution of the unchanged parameters */
        twin_forward(t);
        t->keep_conv = true;
    }
    free(direction);
}

static void check_case(const StepCase *what) {
    RandomStep s;
    Twin t;
    Random r = random_new(5, what->height);
    random_step_open(&s, what, 2);
    if (what->capacity > what->images) step_use_up(&s);
    twin_open(&t, &s.heads, &s.g, what->align_corners, what->images, s.f2, s.f3, 1, s.noise_mask, s.noise);
    twin_forward(&t);
    const LossTerms terms = random_step_run(&s);
    print_message("%zux%zu, hidden %zu, %zu images of %zu, %s%s, noise %d, segmented %d\n", what->height, what->width,
                  what->hidden, what->images, what->capacity, what->icpr ? "ICPR" : "JIMS",
                  what->stop_grad ? ", stop_grad" : "", what->noise, what->segmented);
    check_forward(&s, &terms, &t);
    double *constant = malloc(t.samples * s.loss.pixels * sizeof *constant);
    assert_non_null(constant);
    memcpy(constant, t.map, t.samples * s.loss.pixels * sizeof *constant);
    if (what->stop_grad) t.seen_map = constant;
    for (size_t i = 0; i < PARTS; i++) check_part(&s, &t, &r, i);
    free(constant);
    twin_close(&t);
    random_step_close(&s);
}

static void supervised(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 32,
                           .width = 40,
                           .hidden = 128,
                           .images = 3,
                           .capacity = 3,
                           .align_corners = true,
                           .weights = true,
                           .noise = SOME_NOISE,
                           .segmented = SOME_SEGMENTED});
}

static void unsupervised(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 40,
                           .width = 32,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 1,
                           .align_corners = true,
                           .stop_grad = true,
                           .noise = SOME_NOISE,
                           .segmented = ALL_SEGMENTED});
}

static void icpr(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 33,
                           .width = 32,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 1,
                           .icpr = true,
                           .align_corners = true,
                           .weights = true,
                           .noise = SOME_NOISE,
                           .segmented = ALL_SEGMENTED});
}

static void icpr_stop_grad(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 34,
                           .width = 41,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 3,
                           .icpr = true,
                           .stop_grad = true,
                           .noise = SOME_NOISE,
                           .segmented = ALL_SEGMENTED});
}

static void no_noise(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 35,
                           .width = 33,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 2,
                           .noise = NO_NOISE,
                           .segmented = ALL_SEGMENTED,
                           .weights = true});
}

static void noise_everywhere(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 36,
                           .width = 50,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 1,
                           .align_corners = true,
                           .noise = NOISE_EVERYWHERE,
                           .segmented = ALL_SEGMENTED});
}

static void icpr_noise_everywhere(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 37,
                           .width = 32,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 1,
                           .icpr = true,
                           .align_corners = true,
                           .noise = NOISE_EVERYWHERE,
                           .segmented = ALL_SEGMENTED});
}

/* Only the score's term is left, whose gradient reaches the segmentation head through the map; with stop_grad none. */
static void nothing_segmented(void **state) {
    (void)state;
    StepCase what = {.height = 38,
                     .width = 32,
                     .hidden = 64,
                     .images = 1,
                     .capacity = 1,
                     .align_corners = true,
                     .noise = SOME_NOISE,
                     .segmented = NONE_SEGMENTED};
    check_case(&what);
    what.stop_grad = true;
    check_case(&what);
}

/* No classification head: its gradients are 0 exactly, and the map has its own terms only. */
static void unscored(void **state) {
    (void)state;
    check_case(&(StepCase){.height = 39,
                           .width = 32,
                           .hidden = 64,
                           .images = 1,
                           .capacity = 1,
                           .align_corners = true,
                           .weights = true,
                           .noise = SOME_NOISE,
                           .segmented = ALL_SEGMENTED,
                           .unscored = true});
    RandomStep s;
    random_step_open(&s,
                     &(StepCase){.height = 32,
                                 .width = 32,
                                 .hidden = 64,
                                 .images = 2,
                                 .capacity = 2,
                                 .noise = SOME_NOISE,
                                 .segmented = ALL_SEGMENTED,
                                 .unscored = true},
                     1);
    assert_true(random_step_run(&s).focal_score == 0);
    for (const float *at = s.grads.cls_weight; at < s.grads.all + s.grads.total; at++) assert_true(*at == 0);
    random_step_close(&s);
}

/* Features at layer2's resolution: the smallest, an odd one, and ICPR. */
static void without_upscaling(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{32, 32}, {72, 41}};
    for (int i = 0; i < 4; i++)
        check_case(&(StepCase){.height = sizes[i & 1][0],
                               .width = sizes[i & 1][1],
                               .hidden = 64,
                               .images = 1,
                               .capacity = 1,
                               .icpr = i > 1,
                               .align_corners = i != 1,
                               .weights = true,
                               .noise = SOME_NOISE,
                               .segmented = ALL_SEGMENTED,
                               .flat = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(supervised),
                                       cmocka_unit_test(unsupervised),
                                       cmocka_unit_test(icpr),
                                       cmocka_unit_test(icpr_stop_grad),
                                       cmocka_unit_test(no_noise),
                                       cmocka_unit_test(noise_everywhere),
                                       cmocka_unit_test(icpr_noise_everywhere),
                                       cmocka_unit_test(nothing_segmented),
                                       cmocka_unit_test(unscored),
                                       cmocka_unit_test(without_upscaling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
