#include "helper_step.h"

#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* n bytes: 1 for about one in `one_in`, else 0. */
static uint8_t *random_bytes(Random *r, size_t n, uint32_t one_in) {
    uint8_t *p = calloc(n, 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = random_below(r, one_in) == 0;
    return p;
}

static void make_targets(RandomStep *s, Random *r, size_t samples, size_t pixels) {
    s->noise_mask = random_bytes(r, samples * pixels, s->what.noise == NOISE_EVERYWHERE ? 1 : 3);
    if (s->what.noise == NO_NOISE) memset(s->noise_mask, 0, samples * pixels);
    s->mask = random_bytes(r, samples * pixels, 4);
    s->label = calloc(samples, 1);
    s->segmented = calloc(samples, 1);
    assert_true(s->label && s->segmented);
    for (size_t i = 0; i < samples; i++) s->label[i] = i & 1; /* some scores are wrong: their gradients are not tiny */
    for (size_t i = 0; i < samples; i++)
        s->segmented[i] =
            s->what.segmented == ALL_SEGMENTED || (s->what.segmented == SOME_SEGMENTED && i % s->what.images != 1);
    s->weight = random_floats(r, samples * pixels);
    for (size_t i = 0; i < samples * pixels; i++) s->weight[i] = 1.5f + s->weight[i];
}

void random_step_open(RandomStep *s, const StepCase *what, int threads) {
    Error e = {0};
    Random r = random_new(what->height + 100 * what->images, what->icpr);
    *s = (RandomStep){.what = *what};
    assert_int_equal(geometry_make(&s->g, what->height, what->width, 16, 48, &e), 0);
    if (what->flat) geometry_at_layer2(&s->g);
    const size_t pixels = s->g.h * s->g.w, samples = 2 * what->capacity;
    random_heads(&r, &s->heads, s->g.c, what->hidden);
    s->heads.icpr = what->icpr;
    s->f2 = random_floats(&r, what->capacity * s->g.h2 * s->g.w2 * s->g.c2);
    s->f3 = random_floats(&r, what->capacity * s->g.h3 * s->g.w3 * s->g.c3);
    s->noise = random_floats(&r, samples * pixels * s->g.c);
    for (size_t i = 0; i < samples * pixels * s->g.c; i++) s->noise[i] *= STEP_NOISE_STD;
    make_targets(s, &r, samples, pixels);
    s->dmap = zero_floats(samples * pixels);
    s->dscore = zero_floats(samples);
    assert_int_equal(head_params_open(&s->grads, s->g.c, what->hidden, &e), 0);
    assert_int_equal(engine_open(&s->engine, threads, &e), 0);
    const HeadTrainerSettings settings = {
        .batch = what->capacity, .align_corners = what->align_corners, .stop_grad = what->stop_grad};
    if (head_trainer_open(&s->trainer, s->engine, &s->heads, &s->g, &settings, &e)) fail_msg("%s", e.text);
    s->batch = (HeadBatch){.images = what->images,
                           .f2 = s->f2,
                           .f3 = s->f3,
                           .noise_mask = s->noise_mask,
                           .noise_std = STEP_NOISE_STD,
                           .noise_key = 77,
                           .noise = s->noise};
    s->loss = (LossInput){.samples = 2 * what->images,
                          .pixels = pixels,
                          .map = s->trainer->map,
                          .score = s->trainer->score,
                          .mask = s->mask,
                          .label = s->label,
                          .segmented = s->segmented,
                          .weight = what->weights ? s->weight : NULL,
                          .unscored = what->unscored};
}

void random_step_close(RandomStep *s) {
    void *buffers[] = {s->f2,     s->f3,         s->noise, s->weight, s->dmap,
                       s->dscore, s->noise_mask, s->mask,  s->label,  s->segmented};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
    head_trainer_close(s->trainer);
    head_params_close(&s->grads);
    heads_close(&s->heads);
    engine_close(s->engine);
}

LossTerms random_step_run(RandomStep *s) {
    Error e = {0};
    LossTerms terms;
    const int before = engine_enter(s->engine);
    assert_int_equal(head_trainer_forward(s->trainer, &s->batch, &e), 0);
    loss_terms(&s->loss, &terms, s->dmap, s->dscore);
    assert_int_equal(head_trainer_backward(s->trainer, &s->batch, s->dmap, s->dscore, &s->grads, &e), 0);
    engine_leave(before);
    return terms;
}
