/* AdamW against its definition in double; the learning rate's schedule. */
#include "helper_numbers.h"
#include "train/optimiser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 20 };

/* Loshchilov and Hutter 2019, Algorithm 2, with PyTorch's constants; values and moments of every parameter. */
typedef struct Literal {
    double *p, *m, *v;
} Literal;

static void literal_step(Literal *l, const HeadParams *grads, const Recipe *recipe, double clip, double factor,
                         int step) {
    double norm = 0, scale = 1;
    for (size_t i = 0; i < grads->total; i++) norm += pow((double)grads->all[i], 2);
    norm = sqrt(norm);
    if (clip > 0 && norm > clip) scale = clip / norm;
    for (size_t i = 0; i < grads->total; i++) {
        const bool adaptor = i < grads->c * grads->c + grads->c;
        const double lr = factor * (adaptor ? recipe->adaptor_lr : recipe->head_lr);
        const double decay = adaptor ? recipe->adaptor_decay : recipe->head_decay, g = scale * (double)grads->all[i];
        l->p[i] -= lr * decay * l->p[i];
        l->m[i] = 0.9 * l->m[i] + 0.1 * g;
        l->v[i] = 0.999 * l->v[i] + 0.001 * g * g;
        l->p[i] -= lr * l->m[i] / (1 - pow(0.9, step)) / (sqrt(l->v[i] / (1 - pow(0.999, step))) + 1e-8);
    }
}

static Literal literal_open(const HeadParams *params) {
    Literal l = {calloc(params->total, sizeof(double)), calloc(params->total, sizeof(double)),
                 calloc(params->total, sizeof(double))};
    assert_true(l.p && l.m && l.v);
    for (size_t i = 0; i < params->total; i++) l.p[i] = (double)params->all[i];
    return l;
}

static void literal_close(Literal *l) {
    free(l->p), free(l->m), free(l->v);
}

/* Gradients from 1e-6 to 1, each parameter's of one size, a few exactly 0 all the time. */
static void random_gradients(Random *r, HeadParams *grads) {
    for (size_t i = 0; i < grads->total; i++)
        grads->all[i] = i % 13 == 0 ? 0 : random_signed(r) * powf(10, -(float)(i % 7));
}

/* Per step a parameter, at most 1 or so, is rounded three times (decay, update, difference), 3 * 2^-24; the update, at
 * most about 10 lr, has the relative error of a few roundings of its moments, 1e-6. */
static double allowed(double lr, int steps) {
    return steps * (3 * 0x1p-24 + 10 * lr * 1e-6);
}

/* Compared after every step; the schedule's factor changes half-way. */
static void check(const Recipe *recipe, double clip, double size) {
    Error e = {0};
    Random r = random_new(9, (uint64_t)(1000 * clip));
    HeadParams params, grads;
    Optimiser o;
    assert_int_equal(head_params_open(&params, 64, 64, &e), 0);
    assert_int_equal(head_params_open(&grads, 64, 64, &e), 0);
    for (size_t i = 0; i < params.total; i++) params.all[i] = random_signed(&r);
    assert_int_equal(optimiser_open(&o, &params, &e), 0);
    Literal literal = literal_open(&params);
    double worst = 0, moved = 0;
    float *first = copy_floats(params.all, params.total);
    for (int step = 1; step <= STEPS; step++) {
        const double factor = step > STEPS / 2 ? 0.4 : 1;
        random_gradients(&r, &grads);
        for (size_t i = 0; i < grads.total; i++) grads.all[i] *= (float)size;
        optimiser_step(&o, &params, &grads, recipe, clip, factor);
        literal_step(&literal, &grads, recipe, clip, factor, step);
        for (size_t i = 0; i < params.total; i++) {
            const double lr = i < params.adaptor_count ? recipe->adaptor_lr : recipe->head_lr;
            const double error = fabs((double)params.all[i] - literal.p[i]) / allowed(lr, step);
            if (!(error <= 1)) fail_msg("step %d, parameter %zu: %g beyond what is allowed", step, i, error);
            worst = fmax(worst, error);
        }
    }
    for (size_t i = 0; i < params.total; i++) moved = fmax(moved, fabs((double)(params.all[i] - first[i])));
    print_message("clip %g: largest error %.2f of what is allowed; parameters moved by up to %.1e\n", clip, worst,
                  moved);
    free(first);
    literal_close(&literal);
    optimiser_close(&o);
    head_params_close(&params);
    head_params_close(&grads);
}

/* The published rates and decays, and ones at which a wrong group, sign or order is a gross error. */
static const Recipe published = {.adaptor_lr = 1e-4, .adaptor_decay = 1e-2, .head_lr = 2e-4, .head_decay = 1e-5};
static const Recipe coarse = {.adaptor_lr = 1e-2, .adaptor_decay = 0.5, .head_lr = 3e-2, .head_decay = 0.1};

static void plain(void **state) {
    (void)state;
    check(&published, 0, 1);
    check(&coarse, 0, 1);
}

/* Norms of about 100 and 0.1. */
static void clipped(void **state) {
    (void)state;
    check(&published, 1, 1);
    check(&coarse, 1, 1);
    check(&coarse, 1, 1e-3); /* below the limit: nothing is scaled */
}

static void norm(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(10, 0);
    HeadParams grads;
    assert_int_equal(head_params_open(&grads, 64, 64, &e), 0);
    assert_true(gradient_norm(&grads) == 0);
    random_gradients(&r, &grads);
    double square = 0;
    for (size_t i = 0; i < grads.total; i++) square += pow((double)grads.all[i], 2);
    assert_true(fabs(gradient_norm(&grads) - sqrt(square)) <= 1e-12 * sqrt(square)); /* both in double */
    for (size_t i = 0; i < grads.total; i++) grads.all[i] = 1e30f; /* squares that a float cannot hold */
    assert_true(fabs(gradient_norm(&grads) / (1e30 * sqrt((double)grads.total)) - 1) < 1e-6); /* 1e30f's rounding */
    head_params_close(&grads);
}

static void expect_factor(const Recipe *recipe, size_t epoch, double expected) {
    const double found = learning_rate_factor(recipe, epoch);
    if (fabs(found - expected) > 1e-15) fail_msg("epoch %zu: found %g, expected %g", epoch, found, expected);
}

/* epochs is a multiple of 10: the two boundaries fall on whole epochs, and must not be missed by rounding. */
static void schedule(void **state) {
    (void)state;
    for (size_t epochs = 10; epochs <= 1000; epochs += 10) {
        const Recipe r = {.epochs = epochs, .lr_drop = 0.4, .lr_drop_first = 0.8, .lr_drop_second = 0.9};
        for (size_t epoch = 0; epoch < epochs; epoch++)
            expect_factor(&r, epoch, 10 * epoch < 8 * epochs ? 1 : 10 * epoch < 9 * epochs ? 0.4 : 0.16);
    }
}

static void schedule_between_epochs(void **state) {
    (void)state;
    const Recipe r = {.epochs = 7, .lr_drop = 0.4, .lr_drop_first = 0.8, .lr_drop_second = 0.9};
    expect_factor(&r, 5, 1);   /* 5.6 epochs are 80 % */
    expect_factor(&r, 6, 0.4); /* 6.3 are 90 %: never reached */
    const Recipe one = {.epochs = 1, .lr_drop = 0.4, .lr_drop_first = 0.8, .lr_drop_second = 0.9};
    expect_factor(&one, 0, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain), cmocka_unit_test(clipped), cmocka_unit_test(norm),
                                       cmocka_unit_test(schedule), cmocka_unit_test(schedule_between_epochs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
