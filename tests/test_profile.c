/* Profiles: time and work by stage, of the struct itself, of engines, sessions and trainings. */
#include "helper_numbers.h"
#include "helper_train.h"
#include "infer/infer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void sleep_ms(long ms) {
    const struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

/* Busy machines sleep longer, never shorter. */
static void laps_take_what_went_before_them(void **state) {
    (void)state;
    Profile p = {0};
    const double start = now_seconds();
    profile_work(&p, 100, 100, BLEMISH_PRECISION_BF16); /* before the start: nobody's */
    profile_start(&p);
    profile_work(&p, 1, 2, BLEMISH_PRECISION_FP32);
    profile_work(&p, 3, 4, BLEMISH_PRECISION_AUTO);
    sleep_ms(20);
    profile_lap(&p, "a");
    sleep_ms(10);
    char again[2] = "a"; /* a name is its text, not its address */
    profile_lap(&p, "b");
    profile_work(&p, 5, 6, BLEMISH_PRECISION_BF16);
    profile_lap(&p, again);
    assert_int_equal(p.count, 2);
    assert_string_equal(p.stages[0].name, "a");
    assert_string_equal(p.stages[1].name, "b");
    assert_true(p.stages[0].turns == 2 && p.stages[1].turns == 1);
    assert_true(p.stages[0].gmac == 9 && p.stages[0].gb == 12);
    assert_true(p.stages[1].gmac == 0 && p.stages[1].gb == 0);
    assert_int_equal(p.stages[0].precision, BLEMISH_PRECISION_BF16);
    assert_int_equal(p.stages[1].precision, BLEMISH_PRECISION_AUTO);
    assert_true(p.stages[0].seconds >= 0.02 && p.stages[1].seconds >= 0.01);
    assert_true(p.stages[0].seconds + p.stages[1].seconds <= now_seconds() - start);
}

static void what_has_no_room_is_left_out(void **state) {
    (void)state;
    Profile p = {0};
    char names[PROFILE_STAGES + 3][8];
    profile_start(&p);
    for (size_t i = 0; i < PROFILE_STAGES + 3; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        profile_work(&p, (double)i, 0, BLEMISH_PRECISION_FP32);
        profile_lap(&p, names[i]);
    }
    assert_int_equal(p.count, PROFILE_STAGES);
    for (size_t i = 0; i < PROFILE_STAGES; i++) {
        assert_string_equal(p.stages[i].name, names[i]);
        assert_true(p.stages[i].gmac == (double)i);
    }
    profile_start(NULL); /* off */
    profile_work(NULL, 1, 1, BLEMISH_PRECISION_FP32);
    profile_lap(NULL, "a");
}

/* ---- work ------------------------------------------------------------------------------------------------ */

static void engines_count_products_and_convolutions(void **state) {
    (void)state;
    enum { M = 6, N = 10, K = 14 };
    Engine *engine;
    Error e = {0};
    Random r = random_new(1, 0);
    Profile p = {0};
    Conv *conv;
    const ConvShape shape = {
        .batch = 2, .height = 9, .width = 7, .in = 5, .out = 4, .kernel = 3, .stride = 2, .padding = 1, .add = true};
    const size_t outputs = 2 * 5 * 4 * 4;
    float *a = random_floats(&r, M * K), *b = random_floats(&r, K * N), *c = zero_floats(M * N);
    float *src = random_floats(&r, 2 * 9 * 7 * 5), *weight = random_floats(&r, 4 * 5 * 9), *dst = zero_floats(outputs);
    assert_ok(engine_open(&engine, 1, &e), e.text);
    assert_null(engine_profile(engine));
    const int before = engine_enter(engine);
    assert_ok(gemm(engine, false, false, M, N, K, a, K, b, N, false, c, N, &e), e.text); /* off: not counted */
    engine_set_profile(engine, &p);
    assert_ptr_equal(engine_profile(engine), &p);
    profile_start(&p);
    assert_ok(gemm(engine, false, false, M, N, K, a, K, b, N, false, c, N, &e), e.text);
    engine_lap(engine, "product");
    assert_ok(gemm(engine, false, false, M, N, K, a, K, b, N, true, c, N, &e), e.text);
    engine_lap(engine, "sum");
    assert_ok(conv_open(&conv, engine, &shape, weight, NULL, &e), e.text);
    void *scratch = array_new(conv_scratch(conv), 1, &e);
    assert_ok(conv_run(conv, src, dst, scratch, &e), e.text);
    engine_lap(engine, "convolution");
    engine_leave(before);
    assert_int_equal(p.count, 3);
    const double products = 1e-9 * (M * K + K * N + M * N) * 4;
    assert_true(fabs(p.stages[0].gmac - 1e-9 * M * N * K) < 1e-18);
    assert_true(fabs(p.stages[1].gmac - p.stages[0].gmac) < 1e-18);
    assert_true(fabs(p.stages[0].gb - products) < 1e-15);
    assert_true(fabs(p.stages[1].gb - products - 1e-9 * M * N * 4) < 1e-15); /* C is read, too */
    assert_true(fabs(p.stages[2].gmac - 1e-9 * (double)(outputs * 5 * 9)) < 1e-18);
    /* oneDNN may pad its packed weights, never shrink them. */
    const double least = 1e-9 * 4 * (double)(2 * 9 * 7 * 5 + 2 * outputs + 4 * 5 * 9);
    assert_true(p.stages[2].gb >= least - 1e-15 && p.stages[2].gb < least + 1e-9 * 4 * 64 * 64 * 9);
    for (size_t i = 0; i < 3; i++) assert_int_equal(p.stages[i].precision, BLEMISH_PRECISION_FP32);
    conv_close(conv);
    array_free(scratch);
    engine_close(engine);
    free(a), free(b), free(c), free(src), free(weight), free(dst);
}

/* ---- sessions -------------------------------------------------------------------------------------------- */

static const BlemishStage *stage_named(const BlemishStage *stages, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(stages[i].name, name) == 0) return &stages[i];
    fail_msg("stage %s: found none", name);
    return NULL;
}

static void sessions_sum_their_stages(void **state) {
    (void)state;
    static const char *const names[] = {"preprocess", "stem",       "layer1",         "layer2",
                                        "layer3",     "head mixes", "lift and heads", "smooth"};
    enum { STAGES = 8, BATCH = 2, RUNS = 3 };
    Model model;
    Session s;
    Error e = {0};
    BlemishImage images[BATCH];
    BlemishResult results[BATCH];
    const BlemishSessionSettings settings = {.threads = 1, .precision = BLEMISH_PRECISION_FP32, .batch = BATCH};
    model_make(&model, 64, 48);
    for (size_t i = 0; i < BATCH; i++) picture_make(&images[i], 60, 70, 3, i);
    assert_ok(session_open(&s, &model, &settings, &e), e.text);
    assert_ok(session_run(&s, images, BATCH, results, &e), e.text);
    assert_int_equal(s.profile.count, 0); /* off as opened */
    session_set_profile(&s, true);
    const double start = now_seconds();
    for (size_t i = 0; i < RUNS; i++) assert_ok(session_run(&s, images, BATCH, results, &e), e.text);
    assert_ok(session_run(&s, images, 1, results, &e), e.text); /* part of a batch */
    const double spent = now_seconds() - start, images_run = RUNS * BATCH + 1;
    session_set_profile(&s, false);
    assert_ok(session_run(&s, images, 1, results, &e), e.text);
    assert_int_equal(s.profile.count, STAGES);
    double seconds = 0, gmac = 0;
    for (size_t i = 0; i < STAGES; i++) {
        const BlemishStage *stage = &s.profile.stages[i];
        assert_string_equal(stage->name, names[i]);
        assert_true(stage->turns > 0 && stage->seconds > 0);
        seconds += stage->seconds;
        const BlemishPrecision wanted =
            i >= 1 && i <= 5 ? BLEMISH_PRECISION_FP32 : BLEMISH_PRECISION_AUTO; /* who has convolutions */
        assert_int_equal(stage->precision, wanted);
        if (wanted == BLEMISH_PRECISION_FP32) gmac += stage->gmac;
    }
    assert_true(seconds <= spent);
    /* Convolutions are what the session says an image costs; the padded mixes are a little more (SEG_PAD). */
    const double cost = session_cost(&s).gmac * images_run;
    assert_true(gmac >= cost * (1 - 1e-9) && gmac < 1.1 * cost);
    const BlemishStage *smooth = stage_named(s.profile.stages, STAGES, "smooth");
    assert_int_equal(smooth->turns, images_run);
    /* The bands' entries, zeros of their padding included: a row of logits widens by every entry of its columns. */
    const Smooth *m = &s.smooth;
    const double macs = (double)(m->y.in * m->x_columns.out * m->x_columns.taps + 64 * 48 * m->y.taps);
    assert_true(fabs(smooth->gmac - 1e-9 * macs * images_run) < 1e-12);
    const double bytes = 70 * 60 * 3 + 64 * 48 * 3 * 4;
    assert_true(fabs(stage_named(s.profile.stages, STAGES, "preprocess")->gb - 1e-9 * bytes * images_run) < 1e-12);
    session_set_profile(&s, true); /* starts afresh */
    assert_int_equal(s.profile.count, 0);
    session_close(&s);
    for (size_t i = 0; i < BATCH; i++) image_free(&images[i]);
    model_close(&model);
}

/* The multiply-adds behind the mixes, counted loop by loop. */
static void lifts_are_counted_by_their_loops(void **state) {
    (void)state;
    enum { HIDDEN = 64 };
    Geometry g;
    Lift lift;
    Error e = {0};
    assert_ok(geometry_make(&g, 72, 40, 3, 4, &e), e.text);
    assert_ok(lift_open(&lift, &g, true, &e), e.text);
    const Band *maps[2][2] = {{&lift.y2, &lift.x2}, {&lift.y3, &lift.x3}};
    for (size_t classification = 0; classification < 2; classification++) {
        const size_t mixes = classification * CLS_TAPS * CLS_CHANNELS;
        size_t macs = g.h * g.w * (HIDDEN + mixes); /* the dot product; the map's channel */
        for (size_t m = 0; m < 2; m++) {
            const Band *y = maps[m][0], *x = maps[m][1];
            for (size_t row = 0; row < g.h; row++) {
                for (size_t column = 0; column < x->in; column++) macs += y->taps * HIDDEN;
                for (size_t column = 0; column < g.w; column++) macs += x->taps * HIDDEN;
                for (size_t column = 0; column < g.w; column++) macs += mixes / CLS_SIDE * y->taps;
            }
            for (size_t row = 0; row < y->in; row++)
                for (size_t column = 0; column < g.w; column++) macs += mixes * x->taps;
        }
        const BlemishStage work = lift_work(&lift, HIDDEN, classification);
        assert_true(fabs(work.gmac - 1e-9 * (double)macs) < 1e-15);
        const size_t floats = (g.h2 * g.w2 + g.h3 * g.w3) * (HIDDEN + mixes);
        assert_true(fabs(work.gb - 4e-9 * (double)floats) < 1e-15);
    }
    lift_close(&lift);
}

/* ---- training -------------------------------------------------------------------------------------------- */

typedef struct Kept {
    BlemishStage stages[PROFILE_STAGES];
    size_t count, calls;
} Kept;

static void keep(void *user, const BlemishStage *stages, size_t count) {
    Kept *kept = user;
    memcpy(kept->stages, stages, count * sizeof *stages);
    kept->count = count;
    kept->calls++;
}

static void trainings_hand_over_their_stages(void **state) {
    (void)state;
    char folder[PATH_SIZE];
    Trunk trunk;
    Manifest manifest;
    Error e = {0};
    Heads heads, plain;
    Kept kept = {0};
    folder_make(folder);
    train_manifest(&manifest, folder, 6, 0, 0);
    assert_ok(trunk_load(&trunk, "resnet18", NULL, &e), e.text);
    Recipe recipe = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS), again = recipe, stopped = recipe;
    BlemishTrainSettings settings = train_settings();
    assert_ok(train_run(&plain, &trunk, &manifest, "data", &again, &settings, &e), e.text);
    settings.profile = keep;
    settings.profile_user = &kept;
    assert_ok(train_run(&heads, &trunk, &manifest, "data", &recipe, &settings, &e), e.text);
    assert_int_equal(kept.calls, 1);
    assert_true(heads_equal(&heads, &plain)); /* watching changes nothing */
    static const char *const steps[] = {"batch",       "fold weights", "cls forward",  "noise forward",
                                        "seg forward", "cls backward", "seg backward", "noise backward",
                                        "loss",        "optimiser"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        assert_true(stage_named(kept.stages, kept.count, steps[i])->turns >= 2 * recipe.epochs);
    assert_true(stage_named(kept.stages, kept.count, "layer3")->gmac > 0);
    assert_true(stage_named(kept.stages, kept.count, "seg backward")->gmac > 0);
    Stop stop = {.stage = "train", .at = 1};
    settings.progress = train_stop;
    settings.progress_user = &stop;
    Heads none;
    assert_int_equal(train_run(&none, &trunk, &manifest, "data", &stopped, &settings, &e), BLEMISH_ERROR_INTERRUPTED);
    assert_int_equal(kept.calls, 2); /* a stopped one, too */
    heads_close(&heads);
    heads_close(&plain);
    trunk_close(&trunk);
    manifest_close(&manifest);
    folder_remove(folder);
}

/* ---- the machine ----------------------------------------------------------------------------------------- */

static void peaks_are_measured(void **state) {
    (void)state;
    BlemishPeak peak;
    char error[BLEMISH_ERROR_SIZE] = "";
    assert_ok(blemish_peak_measure(1, &peak, error), error);
    print_message("fp32 %.0f, bf16 %.0f, int8 %.0f GMAC/s, %.1f GB/s\n", peak.gmac_per_second[BLEMISH_PRECISION_FP32],
                  peak.gmac_per_second[BLEMISH_PRECISION_BF16], peak.gmac_per_second[BLEMISH_PRECISION_INT8],
                  peak.gb_per_second);
    assert_int_equal(peak.threads, 1);
    assert_true(peak.gmac_per_second[BLEMISH_PRECISION_FP32] > 0.01 && peak.gb_per_second > 0.01);
    assert_true((peak.gmac_per_second[BLEMISH_PRECISION_BF16] > 0) == engine_has_bf16());
    assert_true(peak.gmac_per_second[BLEMISH_PRECISION_AUTO] == 0);
    assert_int_equal(blemish_peak_measure(-1, &peak, error), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(error, "threads: found -1"));
    assert_int_equal(blemish_peak_measure(1, NULL, error), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(error, "peak"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(laps_take_what_went_before_them),
        cmocka_unit_test(what_has_no_room_is_left_out),
        cmocka_unit_test(engines_count_products_and_convolutions),
        cmocka_unit_test(sessions_sum_their_stages),
        cmocka_unit_test(lifts_are_counted_by_their_loops),
        cmocka_unit_test(trainings_hand_over_their_stages),
        cmocka_unit_test(peaks_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
