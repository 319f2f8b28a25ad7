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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal_maxima), cmocka_unit_test(generated_noise),
                                       cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
