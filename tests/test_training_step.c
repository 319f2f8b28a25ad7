/* What one training step of the heads promises beside its gradients: equal maxima, generated noise, threads. */
#include "helper_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- equal maxima ---------------------------------------------------------------------------------------- */

/* Where several pixels have the largest value each gets an equal part of its gradient, as PyTorch's amax has it: a map
 * of zeros, of which nothing but the maximum counts. Not a thing of differences: the loss has a corner there. */
static void equal_maxima(void **state) {
    (void)state;
    Error e = {0};
    RandomStep s;
    random_step_open(&s,
                     &(StepCase){.height = 33,
                                 .width = 40,
                                 .hidden = 64,
                                 .images = 2,
                                 .capacity = 2,
                                 .align_corners = true,
                                 .noise = SOME_NOISE,
                                 .segmented = ALL_SEGMENTED},
                     2);
    const HeadParams *p = &s.heads.params;
    const size_t pixels = s.loss.pixels;
    memset(p->seg_out, 0, p->hidden * sizeof(float));
    memset(p->cls_map, 0, (size_t)CLS_TAPS * CLS_CHANNELS * sizeof(float));
    memset(p->fc_weight, 0, CLS_FEATURES * sizeof(float));
    p->fc_weight[2 * CLS_CHANNELS] = 3;
    for (size_t i = 0; i < s.loss.samples; i++) s.dscore[i] = (float)i - 1.5f;
    const int before = engine_enter(s.engine);
    assert_int_equal(head_trainer_forward(s.trainer, &s.batch, &e), 0);
    assert_int_equal(head_trainer_backward(s.trainer, &s.batch, s.dmap, s.dscore, &s.grads, &e), 0);
    engine_leave(before);
    for (size_t i = 0; i < s.loss.samples * pixels; i++) {
        const double expected = 3 * ((double)(i / pixels) - 1.5) / (double)pixels;
        assert_true(s.trainer->map[i] == 0);
        assert_true(fabs((double)s.dmap[i] - expected) <= 0x1p-22 * fabs(expected)); /* a product and a quotient */
    }
    random_step_close(&s);
}

/* ---- generated noise ------------------------------------------------------------------------------------- */

/* The generator's noise gives the very bits of the same noise written out and given. More noisy pixels than one chunk
 * of NOISE_CHUNK holds. */
static void check_generated(bool use_icpr) {
    RandomStep s;
    random_step_open(&s,
                     &(StepCase){.height = 64,
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
    random_step_run(&s);
    float *map = copy_floats(s.trainer->map, samples * pixels), *score = copy_floats(s.trainer->score, samples);
    float *grads = copy_floats(s.grads.all, s.grads.total);
    for (size_t i = 0; i < samples * pixels; i++)
        kernels()->gauss(s.batch.noise_key, i / pixels, i % pixels * c, c, STEP_NOISE_STD, s.noise + i * c);
    s.batch.noise = s.noise;
    random_step_run(&s);
    assert_memory_equal(map, s.trainer->map, samples * pixels * sizeof *map);
    assert_memory_equal(score, s.trainer->score, samples * sizeof *score);
    assert_memory_equal(grads, s.grads.all, s.grads.total * sizeof *grads);
    s.batch.noise = NULL;
    s.batch.noise_key++;
    random_step_run(&s);
    assert_memory_not_equal(map, s.trainer->map, samples * pixels * sizeof *map);
    free(map), free(score), free(grads);
    random_step_close(&s);
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
    const StepCase what = {.height = 64,
                           .width = 72,
                           .hidden = 128,
                           .images = 5,
                           .capacity = 5,
                           .icpr = use_icpr,
                           .align_corners = true,
                           .noise = SOME_NOISE,
                           .segmented = ALL_SEGMENTED};
    RandomStep s[3];
    for (int i = 0; i < 3; i++) {
        random_step_open(&s[i], &what, i + 1);
        random_step_run(&s[i]);
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
    for (int i = 0; i < 3; i++) random_step_close(&s[i]);
}

static void threads(void **state) {
    (void)state;
    check_threads(false);
    check_threads(true);
}

/* ---- the loss switch ------------------------------------------------------------------------------------- */

/* A step's gradients of what the anomalous images add to the loss: the score's term only where `score`. */
static void run_anomalous_part(RandomStep *s, bool score) {
    Error e = {0};
    LossTerms terms;
    const int before = engine_enter(s->engine);
    assert_int_equal(head_trainer_forward(s->trainer, &s->batch, &e), 0);
    loss_terms(&s->loss, &terms, s->dmap, s->dscore);
    assert_true(terms.l1_good > 0 && terms.l1_bad > 0 && terms.focal_map > 0);
    for (size_t i = 0; i < s->loss.samples; i++) {
        if (!s->label[i]) memset(s->dmap + i * s->loss.pixels, 0, s->loss.pixels * sizeof(float));
        if (!s->label[i] || !score) s->dscore[i] = 0;
    }
    assert_int_equal(head_trainer_backward(s->trainer, &s->batch, s->dmap, s->dscore, &s->grads, &e), 0);
    engine_leave(before);
}

static bool all_zero(const float *from, const float *to) {
    while (from < to && *from == 0) from++;
    return from == to;
}

/* With gamma = 0 for all anomalous images nothing of the segmentation loss comes from them: the segmentation head's
 * gradient is exactly 0. What reaches it without stop_grad is the score's, through the map that the classification head
 * sees, and is how image labels teach. BatchNorm is in training mode, over good and anomalous images. */
static void check_switch(bool use_icpr, bool stop_grad) {
    RandomStep s;
    random_step_open(&s,
                     &(StepCase){.height = 37,
                                 .width = 64,
                                 .hidden = 64,
                                 .images = 4,
                                 .capacity = 4,
                                 .icpr = use_icpr,
                                 .stop_grad = stop_grad,
                                 .align_corners = true,
                                 .weights = true,
                                 .noise = SOME_NOISE,
                                 .segmented = ALL_SEGMENTED},
                     1);
    const HeadParams *g = &s.grads;
    const float *end = g->all + g->total;
    run_anomalous_part(&s, false); /* gamma = 1: their masks do teach */
    assert_false(all_zero(g->seg_weight, g->cls_weight));
    for (size_t i = 0; i < s.loss.samples; i++) s.segmented[i] = !s.label[i];
    run_anomalous_part(&s, false);
    assert_true(all_zero(g->all, end));
    run_anomalous_part(&s, true);
    assert_int_equal(all_zero(g->seg_weight, g->cls_weight), stop_grad);
    assert_false(all_zero(g->cls_weight, end));

    /* Nor does it matter what their masks and weights are. */
    random_step_run(&s);
    float *grads = copy_floats(g->all, g->total);
    for (size_t i = 0; i < s.loss.samples * s.loss.pixels; i++) {
        if (!s.label[i / s.loss.pixels]) continue;
        s.mask[i] = !s.mask[i];
        s.weight[i] += 1;
    }
    random_step_run(&s);
    assert_memory_equal(grads, g->all, g->total * sizeof *grads);
    free(grads);
    random_step_close(&s);
}

static void gamma_0_switches_the_segmentation_loss_off(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) check_switch(i & 1, i & 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal_maxima), cmocka_unit_test(generated_noise),
                                       cmocka_unit_test(threads),
                                       cmocka_unit_test(gamma_0_switches_the_segmentation_loss_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
