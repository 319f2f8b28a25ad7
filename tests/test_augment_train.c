/* Augmented training: views kept or drawn anew are those of files turned by hand, and runs repeat and resume. */
#include "helper_train.h"
#include "train/examples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GOOD = 5, DEFECTS = 3, HEIGHT = 39, WIDTH = 52, BATCH = 11 };

static char folder[PATH_SIZE], checkpoint[PATH_SIZE];
static Trunk trunk;
static Manifest manifest; /* the last defect has no mask */
static const Sample *samples[GOOD + DEFECTS];

static int open_all(void **state) {
    (void)state;
    Error e = {0};
    folder_make(folder);
    path_in(checkpoint, folder, "run.checkpoint");
    train_manifest(&manifest, folder, GOOD, DEFECTS, 1);
    for (size_t i = 0; i < GOOD + DEFECTS; i++) samples[i] = &manifest.samples[i];
    assert_ok(trunk_load(&trunk, "resnet18", NULL, &e), e.text);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    manifest_close(&manifest);
    trunk_close(&trunk);
    folder_remove(folder);
    return 0;
}

/* ---- examples -------------------------------------------------------------------------------------------- */

typedef struct Bench {
    Engine *engine;
    Geometry g;
    Recipe recipe;
    BlemishTrainSettings settings;
    int before;
} Bench;

static Bench bench_new(void) {
    Error e = {0};
    Bench b = {.recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS), .settings = train_settings()};
    b.recipe.height = HEIGHT;
    b.recipe.width = WIDTH;
    assert_ok(engine_open(&b.engine, 1, &e), e.text);
    assert_ok(geometry_make(&b.g, HEIGHT, WIDTH, trunk.c2, trunk.c3, &e), e.text);
    b.before = engine_enter(b.engine);
    return b;
}

static void bench_close(Bench *b) {
    engine_leave(b->before);
    engine_close(b->engine);
}

static Examples examples_of(const Bench *b, const Recipe *recipe, float *scale) {
    Error e = {0};
    Examples x;
    assert_ok(
        examples_open(&x, samples, GOOD, DEFECTS, b->engine, &trunk, &b->g, recipe, BATCH, &b->settings, scale, &e),
        e.text);
    return x;
}

/* A copy of an image file, turned counter-clockwise by hand. */
static void write_turned(const char *from, const char *to, unsigned turns) {
    Error e = {0};
    BlemishImage image;
    assert_ok(image_decode(&image, from, &e), e.text);
    for (unsigned i = 0; i < turns; i++) {
        BlemishImage next;
        assert_ok(image_new(&next, image.height, image.width, 3, &e), e.text);
        for (size_t y = 0; y < next.height; y++)
            for (size_t x = 0; x < next.width; x++)
                memcpy(image_pixels(&next) + y * next.stride + 3 * x,
                       image.data + x * image.stride + 3 * (image.width - 1 - y), 3);
        image_free(&image);
        image = next;
    }
    assert_ok(image_write_png(&image, to, &e), e.text);
    image_free(&image);
}

/* Whether a place of the batch has the features and targets of the sample's files turned by hand and then flipped. */
static bool shows(const Bench *b, const Examples *x, size_t place, const Sample *sample, unsigned turns, Flip flip) {
    Error e = {0};
    char path[PATH_SIZE], mask[PATH_SIZE];
    Augmentation view = AUGMENT_NONE;
    view.flip = flip;
    write_turned(sample->path, path_in(path, folder, "turned.png"), turns);
    if (sample->mask_path) write_turned(sample->mask_path, path_in(mask, folder, "turned-mask.png"), turns);
    Features f;
    const FeatureSettings settings = {.cache_mb = 1, .bf16 = b->recipe.bf16 != 0};
    const FeatureSource source = {.path = path, .view = view};
    assert_ok(features_open(&f, b->engine, &trunk, &b->g, &source, 1, &settings, &e), e.text);
    const size_t size = f.size2 + f.size3;
    float *got = malloc(size * sizeof *got), *want = malloc(size * sizeof *want);
    assert_true(got && want);
    examples_features(x, place, 0.5f, got, got + f.size2);
    features_get(&f, 0, 0.5f, want, want + f.size2);
    bool same = memcmp(got, want, size * sizeof *got) == 0;
    if (same && sample->label == BLEMISH_LABEL_DEFECT) {
        Targets t;
        const Sample one = {.path = path, .mask_path = sample->mask_path ? mask : NULL}, *list[1] = {&one};
        const size_t target = examples_target(x, place);
        assert_ok(targets_open(&t, list, 1, &b->g, &b->recipe, &view, 1, &e), e.text);
        assert_int_equal(x->targets.segmented[target], sample->mask_path != NULL);
        same = x->targets.segmented[target] == t.segmented[0] &&
               memcmp(targets_mask(&x->targets, target), targets_mask(&t, 0), t.pixels) == 0 &&
               memcmp(targets_weights(&x->targets, target), targets_weights(&t, 0), t.pixels * sizeof(float)) == 0;
        targets_close(&t);
    }
    free(got);
    free(want);
    features_close(&f);
    return same;
}

static void turned_views_are_those_of_turned_files(void **state) {
    (void)state;
    Bench b = bench_new();
    Error e = {0};
    float scale;
    b.recipe.rotate = 1;
    Examples x = examples_of(&b, &b.recipe, &scale);
    assert_int_equal(x.features.count, 4 * GOOD + 8 * DEFECTS);
    bool shown[4] = {false};
    const Draw draws[BATCH] = {
        {0, FLIP_NONE},        {1, FLIP_NONE},
        {2, FLIP_NONE},        {3, FLIP_NONE},
        {4, FLIP_NONE},        {GOOD, FLIP_NONE},
        {GOOD, FLIP_VERTICAL}, {GOOD + 1, FLIP_HORIZONTAL},
        {GOOD + 1, FLIP_BOTH}, {GOOD + 2, FLIP_VERTICAL},
        {GOOD + 2, FLIP_NONE},
    };
    for (uint64_t step = 0; step < 2; step++) {
        assert_ok(examples_show(&x, draws, BATCH, step, &e), e.text);
        for (size_t i = 0; i < BATCH; i++) {
            const Augmentation *view = &x.views.list[x.entries[i]];
            assert_true(shows(&b, &x, i, samples[draws[i].sample], view->turn, view->flip));
            if (step == 0) assert_false(shows(&b, &x, i, samples[draws[i].sample], view->turn ^ 1, view->flip));
            shown[view->turn] = true;
        }
    }
    assert_true(shown[0] && shown[1] && shown[2] && shown[3]);
    examples_close(&x);
    bench_close(&b);
}

/* The same views drawn anew and kept are the same bits: features, masks, weights. */
static void renewed_entries_are_the_kept_ones(void **state) {
    (void)state;
    Bench b = bench_new();
    Error e = {0};
    float scale, other;
    b.recipe.rotate = 1;
    b.recipe.brightness = b.recipe.contrast = 0.5;
    b.recipe.shift = 0.25;
    Recipe anew = b.recipe;
    anew.variants = 0;
    Examples kept = examples_of(&b, &b.recipe, &scale), live = examples_of(&b, &anew, &other);
    assert_true(scale == other);
    assert_int_equal(kept.features.count, 4 * (4 * GOOD + 8 * DEFECTS));
    assert_int_equal(live.features.count, BATCH);
    const size_t size2 = kept.features.size2, size3 = kept.features.size3, pixels = kept.targets.pixels;
    float *values = malloc(2 * (size2 + size3) * sizeof *values), *more = values + size2 + size3;
    assert_non_null(values);
    for (size_t first = 0; first < kept.views.count; first += BATCH) {
        FeatureSource sources[BATCH];
        size_t n = 0;
        for (; n < BATCH && first + n < kept.views.count; n++) {
            const size_t image = views_image(&kept.views, first + n);
            Augmentation view = kept.views.list[first + n];
            sources[n] = (FeatureSource){.path = samples[image]->path, .view = view};
            if (image < GOOD) continue;
            const size_t target = first + n - kept.views.first;
            assert_ok(targets_renew(&live.targets, n, image - GOOD, &view, &e), e.text);
            assert_true(view.down == sources[n].view.down && view.right == sources[n].view.right);
            assert_int_equal(live.targets.segmented[n], kept.targets.segmented[target]);
            assert_memory_equal(targets_mask(&live.targets, n), targets_mask(&kept.targets, target), pixels);
            assert_memory_equal(targets_weights(&live.targets, n), targets_weights(&kept.targets, target),
                                pixels * sizeof(float));
        }
        assert_ok(features_renew(&live.features, sources, n, &e), e.text);
        for (size_t i = 0; i < n; i++) {
            features_get(&live.features, i, 1, values, values + size2);
            features_get(&kept.features, first + i, 1, more, more + size2);
            assert_memory_equal(values, more, (size2 + size3) * sizeof *values);
        }
    }
    free(values);
    examples_close(&kept);
    examples_close(&live);
    bench_close(&b);
}

/* What is shown anew is what views_show says, of the mask as of the image. */
static void showings_are_what_the_draws_say(void **state) {
    (void)state;
    Bench b = bench_new();
    Error e = {0};
    float scale;
    b.recipe.rotate = 1;
    b.recipe.shift = 0.25;
    b.recipe.variants = 0;
    Examples x = examples_of(&b, &b.recipe, &scale);
    Draw draws[BATCH];
    for (size_t i = 0; i < BATCH; i++) draws[i] = (Draw){i % (GOOD + DEFECTS), FLIP_NONE};
    for (uint64_t step = 5; step < 8; step++) {
        assert_ok(examples_show(&x, draws, BATCH, step, &e), e.text);
        for (size_t i = 0; i < BATCH; i++) {
            const size_t image = draws[i].sample;
            Augmentation view = views_show(&x.views, draws[i], step, i).view;
            Targets t;
            if (image >= GOOD) {
                const size_t target = examples_target(&x, i);
                assert_ok(targets_open(&t, &samples[image], 1, &b.g, &b.recipe, &view, 1, &e), e.text);
                assert_memory_equal(targets_mask(&x.targets, target), targets_mask(&t, 0), t.pixels);
                targets_close(&t);
            }
            const Augmentation *shown = &x.sources[i].view;
            assert_true(shown->turn == view.turn && shown->down == view.down && shown->right == view.right);
            assert_true(shown->flip == view.flip && shown->contrast == 1 && shown->brightness == 1);
            assert_ptr_equal(x.sources[i].path, samples[image]->path);
        }
    }
    examples_close(&x);
    bench_close(&b);
}

/* ---- training -------------------------------------------------------------------------------------------- */

/* Kept: turned, and two random variants of each turn. Anew: the same without an end. */
static Recipe augmented(Regime regime, bool anew) {
    Recipe r = train_recipe(regime, VARIANT_JIMS);
    r.rotate = 1;
    r.brightness = 0.2;
    r.contrast = 0.2;
    r.shift = 0.1;
    r.variants = anew ? 0 : 2;
    return r;
}

static BlemishStatus run(Heads *heads, Recipe recipe, const BlemishTrainSettings *settings, Error *e) {
    return train_run(heads, &trunk, &manifest, "data", &recipe, settings, e);
}

static Heads run_ok(Recipe recipe, const BlemishTrainSettings *settings) {
    Error e = {0};
    Heads heads;
    assert_ok(run(&heads, recipe, settings, &e), e.text);
    for (size_t i = 0; i < heads.params.total; i++) assert_true(isfinite(heads.params.all[i]));
    return heads;
}

static void check_resuming(Regime regime, bool anew) {
    const Recipe recipe = augmented(regime, anew);
    const size_t steps = regime == REGIME_SUPERVISED ? 8 * DEFECTS / 4 : (GOOD + 3) / 4;
    BlemishTrainSettings settings = train_settings();
    Heads whole = run_ok(recipe, &settings), again;
    settings.checkpoint = checkpoint;
    settings.resume = 1;
    const size_t stops[] = {steps - 1, 2 * steps + 1};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        Error e = {0};
        Stop stop = {.stage = "train", .at = stops[i]};
        unlink(checkpoint);
        settings.progress = train_stop;
        settings.progress_user = &stop;
        assert_int_equal(run(&again, recipe, &settings, &e), BLEMISH_ERROR_INTERRUPTED);
        settings.progress = NULL;
        again = run_ok(recipe, &settings);
        assert_true(heads_equal(&whole, &again));
        heads_close(&again);
    }
    heads_close(&whole);
    unlink(checkpoint);
}

static void resuming_changes_no_bit(void **state) {
    (void)state;
    for (int anew = 0; anew < 2; anew++) {
        check_resuming(REGIME_UNSUPERVISED, anew);
        check_resuming(REGIME_SUPERVISED, anew);
    }
}

static void every_key_matters(void **state) {
    (void)state;
    static const char *const changes[][2] = {{"rotate", "0"},   {"brightness", "0"}, {"contrast", "0"}, {"shift", "0"},
                                             {"shift", "0.13"}, {"variants", "3"},   {"variants", "0"}, {"seed", "1"}};
    const BlemishTrainSettings settings = train_settings();
    for (int anew = 0; anew < 2; anew++) {
        Recipe recipe = augmented(REGIME_SUPERVISED, anew);
        recipe.epochs = 1;
        Heads heads = run_ok(recipe, &settings);
        for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
            Error e = {0};
            Recipe changed = recipe;
            assert_ok(recipe_set(&changed, changes[i][0], changes[i][1], &e), e.text);
            if (changed.variants == recipe.variants && strcmp(changes[i][0], "variants") == 0) continue;
            Heads other = run_ok(changed, &settings);
            if (heads_equal(&heads, &other)) fail_msg("%s changes nothing", changes[i][0]);
            heads_close(&other);
        }
        heads_close(&heads);
    }
}

/* Without brightness, contrast and shift there is nothing to vary. */
static void variants_alone_change_nothing(void **state) {
    (void)state;
    const BlemishTrainSettings settings = train_settings();
    for (int rotate = 0; rotate < 2; rotate++) {
        Recipe recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS), changed;
        recipe.epochs = 1;
        recipe.rotate = rotate;
        changed = recipe;
        changed.variants = rotate ? 0 : 7;
        Heads heads = run_ok(recipe, &settings), other = run_ok(changed, &settings);
        assert_true(heads_equal(&heads, &other));
        heads_close(&heads);
        heads_close(&other);
    }
}

static void the_scale_is_that_of_the_images_as_they_are(void **state) {
    (void)state;
    const BlemishTrainSettings settings = train_settings();
    Heads plain = run_ok(train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS), &settings);
    for (int anew = 0; anew < 2; anew++) {
        Heads heads = run_ok(augmented(REGIME_UNSUPERVISED, anew), &settings);
        assert_true(heads.feature_scale == plain.feature_scale);
        heads_close(&heads);
    }
    heads_close(&plain);
}

static void the_loss_falls(void **state) {
    (void)state;
    for (int anew = 0; anew < 2; anew++) {
        Recipe recipe = augmented(REGIME_SUPERVISED, anew);
        recipe.head_lr = recipe.adaptor_lr = 1e-3;
        recipe.noise_std = 0.15; /* stands out from test weights, whose features are noise themselves */
        double loss[2];
        for (int late = 0; late < 2; late++) {
            BlemishTrainSettings settings = train_settings();
            Stop stop = {0};
            settings.progress = train_stop;
            settings.progress_user = &stop;
            recipe.epochs = late ? 12 : 1;
            Heads heads = run_ok(recipe, &settings);
            heads_close(&heads);
            loss[late] = stop.loss;
        }
        if (!(loss[1] < 0.6 * loss[0])) fail_msg("the loss went from %g to %g", loss[0], loss[1]);
    }
}

/* Drawn anew, an image that is gone is told when it is next shown. */
static void an_image_that_vanishes_is_named(void **state) {
    (void)state;
    Error e = {0};
    Heads heads;
    Manifest m;
    char path[PATH_SIZE];
    train_manifest(&m, folder, GOOD, 0, 0);
    train_list(&m, folder, "gone.png", NULL, BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TRAIN);
    Recipe recipe = augmented(REGIME_UNSUPERVISED, true);
    recipe.feature_scale = 1;
    const BlemishTrainSettings settings = train_settings();
    assert_int_equal(train_run(&heads, &trunk, &m, "data", &recipe, &settings, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, path_in(path, folder, "gone.png")));
    assert_null(strchr(e.text, '\n'));
    assert_true(heads.params.all == NULL);
    manifest_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turned_views_are_those_of_turned_files),
        cmocka_unit_test(renewed_entries_are_the_kept_ones),
        cmocka_unit_test(showings_are_what_the_draws_say),
        cmocka_unit_test(resuming_changes_no_bit),
        cmocka_unit_test(every_key_matters),
        cmocka_unit_test(variants_alone_change_nothing),
        cmocka_unit_test(the_scale_is_that_of_the_images_as_they_are),
        cmocka_unit_test(the_loss_falls),
        cmocka_unit_test(an_image_that_vanishes_is_named),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
