/* One training step of the heads against their plain graph: forward in training mode, gradients by finite differences
 * of the whole loss, generated noise, threads. */
#include "helper_twin.h"
#include "net/head_train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum Noise { NO_NOISE, SOME_NOISE, NOISE_EVERYWHERE } Noise;
typedef enum Segmented { ALL, SOME, NONE } Segmented;

typedef struct Case {
    size_t height, width, hidden, images, capacity; /* capacity: the images a trainer is opened for, and used with */
    bool icpr, stop_grad, align_corners, weights;
    Noise noise;
    Segmented segmented;
} Case;

typedef struct Step {
    Case what;
    Geometry g;
    Heads heads;
    Engine *engine;
    HeadTrainer *trainer;
    HeadParams grads;
    HeadBatch batch;
    LossInput loss;
    float *f2, *f3, *noise, *weight, *dmap, *dscore;
    uint8_t *noise_mask, *mask, *label, *segmented;
} Step;

#define NOISE_STD 0.3f /* large, so that a lost noise term is a gross error */

/* n bytes: 1 for about one in `one_in`, else 0. */
static uint8_t *random_bytes(Random *r, size_t n, uint32_t one_in) {
    uint8_t *p = calloc(n, 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = random_below(r, one_in) == 0;
    return p;
}

static void make_targets(Step *s, Random *r, size_t samples, size_t pixels) {
    s->noise_mask = random_bytes(r, samples * pixels, s->what.noise == NOISE_EVERYWHERE ? 1 : 3);
    if (s->what.noise == NO_NOISE) memset(s->noise_mask, 0, samples * pixels);
    s->mask = random_bytes(r, samples * pixels, 4);
    s->label = calloc(samples, 1);
    s->segmented = calloc(samples, 1);
    assert_true(s->label && s->segmented);
    for (size_t i = 0; i < samples; i++) s->label[i] = i & 1; /* some scores are wrong: their gradients are not tiny */
    for (size_t i = 0; i < samples; i++)
        s->segmented[i] = s->what.segmented == ALL || (s->what.segmented == SOME && i % s->what.images != 1);
    s->weight = random_floats(r, samples * pixels);
    for (size_t i = 0; i < samples * pixels; i++) s->weight[i] = 1.5f + s->weight[i];
}

static void step_open(Step *s, const Case *what, int threads) {
    Error e = {0};
    Random r = random_new(what->height + 100 * what->images, what->icpr);
    *s = (Step){.what = *what};
    assert_int_equal(geometry_make(&s->g, what->height, what->width, 16, 48, &e), 0);
    const size_t pixels = s->g.h * s->g.w, samples = 2 * what->capacity;
    random_heads(&r, &s->heads, s->g.c, what->hidden);
    s->heads.icpr = what->icpr;
    s->f2 = random_floats(&r, what->capacity * s->g.h2 * s->g.w2 * s->g.c2);
    s->f3 = random_floats(&r, what->capacity * s->g.h3 * s->g.w3 * s->g.c3);
    s->noise = random_floats(&r, samples * pixels * s->g.c);
    for (size_t i = 0; i < samples * pixels * s->g.c; i++) s->noise[i] *= NOISE_STD;
    make_targets(s, &r, samples, pixels);
    s->dmap = zero_floats(samples * pixels);
    s->dscore = zero_floats(samples);
    assert_int_equal(head_params_open(&s->grads, s->g.c, what->hidden, &e), 0);
    assert_int_equal(engine_open(&s->engine, threads, &e), 0);
    if (head_trainer_open(&s->trainer, s->engine, &s->heads, &s->g, what->capacity, what->align_corners,
                          what->stop_grad, &e))
        fail_msg("%s", e.text);
    s->batch = (HeadBatch){.images = what->images,
                           .f2 = s->f2,
                           .f3 = s->f3,
                           .noise_mask = s->noise_mask,
                           .noise_std = NOISE_STD,
                           .noise_key = 77,
                           .noise = s->noise};
    s->loss = (LossInput){.samples = 2 * what->images,
                          .pixels = pixels,
                          .map = s->trainer->map,
                          .score = s->trainer->score,
                          .mask = s->mask,
                          .label = s->label,
                          .segmented = s->segmented,
                          .weight = what->weights ? s->weight : NULL};
}

static void step_close(Step *s) {
    void *buffers[] = {s->f2,     s->f3,         s->noise, s->weight, s->dmap,
                       s->dscore, s->noise_mask, s->mask,  s->label,  s->segmented};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
    head_trainer_close(s->trainer);
    head_params_close(&s->grads);
    heads_close(&s->heads);
    engine_close(s->engine);
}

static LossTerms step_run(Step *s) {
    Error e = {0};
    LossTerms terms;
    const int before = engine_enter(s->engine);
    assert_int_equal(head_trainer_forward(s->trainer, &s->batch, &e), 0);
    loss_terms(&s->loss, &terms, s->dmap, s->dscore);
    assert_int_equal(head_trainer_backward(s->trainer, &s->batch, s->dmap, s->dscore, &s->grads, &e), 0);
    engine_leave(before);
    return terms;
}

/* Leaves the numbers of another, larger batch in every buffer of the trainer. */
static void step_use_up(Step *s) {
    const HeadBatch batch = s->batch;
    const LossInput loss = s->loss;
    s->batch.images = s->what.capacity;
    s->loss.samples = 2 * s->what.capacity;
    step_run(s);
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

static void check_forward(const Step *s, const LossTerms *terms, const Twin *t) {
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
static double slope(const Step *s, Twin *t, double *at, size_t n, const double *direction) {
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
static double check_slope(const Step *s, Twin *t, size_t part, const double *direction, const float *grad, double rms) {
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
static void check_part(const Step *s, Twin *t, Random *r, size_t part) {
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

static void check_case(const Case *what) {
    Step s;
    Twin t;
    Random r = random_new(5, what->height);
    step_open(&s, what, 2);
    if (what->capacity > what->images) step_use_up(&s);
    twin_open(&t, &s.heads, &s.g, what->align_corners, what->images, s.f2, s.f3, 1, s.noise_mask, s.noise);
    twin_forward(&t);
    const LossTerms terms = step_run(&s);
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
    step_close(&s);
}

static void supervised(void **state) {
    (void)state;
    check_case(&(Case){.height = 32,
                       .width = 40,
                       .hidden = 128,
                       .images = 3,
                       .capacity = 3,
                       .align_corners = true,
                       .weights = true,
                       .noise = SOME_NOISE,
                       .segmented = SOME});
}

static void unsupervised(void **state) {
    (void)state;
    check_case(&(Case){.height = 40,
                       .width = 32,
                       .hidden = 64,
                       .images = 1,
                       .capacity = 1,
                       .align_corners = true,
                       .stop_grad = true,
                       .noise = SOME_NOISE,
                       .segmented = ALL});
}

static void icpr(void **state) {
    (void)state;
    check_case(&(Case){.height = 33,
                       .width = 32,
                       .hidden = 64,
                       .images = 1,
                       .capacity = 1,
                       .icpr = true,
                       .align_corners = true,
                       .weights = true,
                       .noise = SOME_NOISE,
                       .segmented = ALL});
}

static void icpr_stop_grad(void **state) {
    (void)state;
    check_case(&(Case){.height = 34,
                       .width = 41,
                       .hidden = 64,
                       .images = 1,
                       .capacity = 3,
                       .icpr = true,
                       .stop_grad = true,
                       .noise = SOME_NOISE,
                       .segmented = ALL});
}

static void no_noise(void **state) {
    (void)state;
    check_case(&(Case){.height = 35,
                       .width = 33,
                       .hidden = 64,
                       .images = 1,
                       .capacity = 2,
                       .noise = NO_NOISE,
                       .segmented = ALL,
                       .weights = true});
}

static void noise_everywhere(void **state) {
    (void)state;
    check_case(&(Case){.height = 36,
                       .width = 50,
                       .hidden = 64,
                       .images = 1,
                       .capacity = 1,
                       .align_corners = true,
                       .noise = NOISE_EVERYWHERE,
                       .segmented = ALL});
}

static void icpr_noise_everywhere(void **state) {
    (void)state;
    check_case(&(Case){.height = 37,
                       .width = 32,
                       .hidden = 64,
                       .images = 1,
                       .capacity = 1,
                       .icpr = true,
                       .align_corners = true,
                       .noise = NOISE_EVERYWHERE,
                       .segmented = ALL});
}

/* Only the score's term is left, whose gradient reaches the segmentation head through the map; with stop_grad none. */
static void nothing_segmented(void **state) {
    (void)state;
    Case what = {.height = 38,
                 .width = 32,
                 .hidden = 64,
                 .images = 1,
                 .capacity = 1,
                 .align_corners = true,
                 .noise = SOME_NOISE,
                 .segmented = NONE};
    check_case(&what);
    what.stop_grad = true;
    check_case(&what);
}

/* ---- generated noise ------------------------------------------------------------------------------------- */

/* The generator's noise gives the very bits of the same noise written out and given. More noisy pixels than one chunk
 * of NOISE_CHUNK holds. */
static void check_generated(bool use_icpr) {
    Step s;
    step_open(&s,
              &(Case){.height = 64,
                      .width = 72,
                      .hidden = 64,
                      .images = 5,
                      .capacity = 5,
                      .icpr = use_icpr,
                      .align_corners = true,
                      .noise = NOISE_EVERYWHERE},
              2);
    const size_t c = s.g.c, pixels = s.loss.pixels, samples = s.loss.samples;
    assert_true(samples * pixels > NOISE_CHUNK);
    s.batch.noise = NULL;
    step_run(&s);
    float *map = copy_floats(s.trainer->map, samples * pixels), *score = copy_floats(s.trainer->score, samples);
    float *grads = copy_floats(s.grads.all, s.grads.total);
    for (size_t i = 0; i < samples * pixels; i++)
        kernels()->gauss(s.batch.noise_key, i / pixels, i % pixels * c, c, NOISE_STD, s.noise + i * c);
    s.batch.noise = s.noise;
    step_run(&s);
    assert_memory_equal(map, s.trainer->map, samples * pixels * sizeof *map);
    assert_memory_equal(score, s.trainer->score, samples * sizeof *score);
    assert_memory_equal(grads, s.grads.all, s.grads.total * sizeof *grads);
    s.batch.noise = NULL;
    s.batch.noise_key++;
    step_run(&s);
    assert_memory_not_equal(map, s.trainer->map, samples * pixels * sizeof *map);
    free(map), free(score), free(grads);
    step_close(&s);
}

static void generated_noise(void **state) {
    (void)state;
    check_generated(false);
    check_generated(true);
}

/* ---- threads --------------------------------------------------------------------------------------------- */

/* What the program sums itself it sums in one order for any number of threads. oneDNN may cut the inner dimension of a
 * product differently: the classification head's pre-activations with many noisy pixels, and the gradients, are then
 * only equal to rounding. At this size the map's products are too short to be cut. */
#define THREADS_TOLERANCE 1e-6

static void check_threads(bool use_icpr) {
    const Case what = {.height = 64,
                       .width = 72,
                       .hidden = 128,
                       .images = 5,
                       .capacity = 5,
                       .icpr = use_icpr,
                       .align_corners = true,
                       .noise = SOME_NOISE,
                       .segmented = ALL};
    Step s[3];
    for (int i = 0; i < 3; i++) {
        step_open(&s[i], &what, i + 1);
        step_run(&s[i]);
    }
    const size_t samples = s[0].loss.samples, n = samples * s[0].loss.pixels;
    for (int i = 1; i < 3; i++) {
        assert_memory_equal(s[0].trainer->map, s[i].trainer->map, n * sizeof(float));
        double score = 0, grads = 0;
        for (size_t k = 0; k < samples; k++)
            score = fmax(score, fabs((double)(s[0].trainer->score[k] - s[i].trainer->score[k])));
        for (size_t k = 0; k < s[0].grads.total; k++)
            grads = fmax(grads, fabs((double)(s[0].grads.all[k] - s[i].grads.all[k])));
        print_message("%d threads: the same map, score within %.1e, gradients %.1e\n", i + 1, score, grads);
        assert_true(score < THREADS_TOLERANCE && grads < THREADS_TOLERANCE);
    }
    for (int i = 0; i < 3; i++) step_close(&s[i]);
}

static void threads(void **state) {
    (void)state;
    check_threads(false);
    check_threads(true);
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
                                       cmocka_unit_test(generated_noise),
                                       cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
