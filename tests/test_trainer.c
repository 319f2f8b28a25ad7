/* Whole training runs on small sets: the same bits again, after interruptions too; the log; learning. */
#include "helper_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Supervised epochs show 12 normals: seven of them are not shown equally often, so the counts matter to resuming. */
enum { GOOD = 7, DEFECTS = 3, EPOCHS = 3 };

static char folder[PATH_SIZE], checkpoint[PATH_SIZE], log_path[PATH_SIZE];
static Trunk trunk;
static Manifest manifest; /* the last defect has no mask */

static int open_all(void **state) {
    (void)state;
    Error e = {0};
    folder_make(folder);
    path_in(checkpoint, folder, "run.checkpoint");
    path_in(log_path, folder, "run.csv");
    train_manifest(&manifest, folder, GOOD, DEFECTS, 1);
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

static void forget_files(void) {
    unlink(checkpoint);
    unlink(log_path);
}

static BlemishStatus run(Heads *heads, const Manifest *m, Recipe recipe, const BlemishTrainSettings *settings,
                         Error *e) {
    return train_run(heads, &trunk, m, "data", &recipe, settings, e);
}

static Heads run_ok(const Manifest *m, Recipe recipe, const BlemishTrainSettings *settings) {
    Error e = {0};
    Heads heads;
    assert_ok(run(&heads, m, recipe, settings, &e), e.text);
    for (size_t i = 0; i < heads.params.total; i++) assert_true(isfinite(heads.params.all[i]));
    return heads;
}

/* Ends with INTERRUPTED, which names the checkpoint, at `at` of the stage. */
static void run_until(const Manifest *m, Recipe recipe, BlemishTrainSettings settings, const char *stage, size_t at) {
    Error e = {0};
    Heads heads;
    Stop stop = {.stage = stage, .at = at};
    settings.progress = train_stop;
    settings.progress_user = &stop;
    assert_int_equal(run(&heads, m, recipe, &settings, &e), BLEMISH_ERROR_INTERRUPTED);
    assert_true(heads.params.all == NULL);
    if (strcmp(stage, "train") == 0) assert_non_null(strstr(e.text, settings.checkpoint));
}

/* ---- the same bits --------------------------------------------------------------------------------------- */

static void check_resuming(Regime regime, Variant variant) {
    Recipe recipe = train_recipe(regime, variant);
    recipe.batch = 5; /* a last step of fewer images */
    const size_t steps = regime == REGIME_SUPERVISED ? (8 * DEFECTS + 4) / 5 : (GOOD + 4) / 5;
    BlemishTrainSettings settings = train_settings();
    Heads whole = run_ok(&manifest, recipe, &settings), again = run_ok(&manifest, recipe, &settings);
    assert_true(heads_equal(&whole, &again));
    heads_close(&again);
    settings.checkpoint = checkpoint;
    settings.resume = 1;
    const size_t stops[] = {0, steps - 1, steps, steps + 1, EPOCHS * steps};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        unlink(checkpoint);
        run_until(&manifest, recipe, settings, "train", stops[i]);
        again = run_ok(&manifest, recipe, &settings);
        assert_true(heads_equal(&whole, &again));
        heads_close(&again);
    }
    unlink(checkpoint);
    run_until(&manifest, recipe, settings, "features", 1);
    assert_int_equal(access(checkpoint, F_OK), -1);
    run_until(&manifest, recipe, settings, "train", 1);
    run_until(&manifest, recipe, settings, "features", 1);
    run_until(&manifest, recipe, settings, "train", 1); /* at once, before the step */
    run_until(&manifest, recipe, settings, "train", steps + 1);
    again = run_ok(&manifest, recipe, &settings);
    assert_true(heads_equal(&whole, &again));
    heads_close(&again);
    again = run_ok(&manifest, recipe, &settings); /* nothing is left to do */
    assert_true(heads_equal(&whole, &again));
    heads_close(&again);
    settings.resume = 0; /* the checkpoint is there but not asked for */
    again = run_ok(&manifest, recipe, &settings);
    assert_true(heads_equal(&whole, &again));
    heads_close(&again);
    heads_close(&whole);
    unlink(checkpoint);
}

static void resuming_changes_no_bit_jims_unsupervised(void **state) {
    (void)state;
    check_resuming(REGIME_UNSUPERVISED, VARIANT_JIMS);
}

static void resuming_changes_no_bit_jims_supervised(void **state) {
    (void)state;
    check_resuming(REGIME_SUPERVISED, VARIANT_JIMS);
}

static void resuming_changes_no_bit_icpr_unsupervised(void **state) {
    (void)state;
    check_resuming(REGIME_UNSUPERVISED, VARIANT_ICPR);
}

static void resuming_changes_no_bit_icpr_supervised(void **state) {
    (void)state;
    check_resuming(REGIME_SUPERVISED, VARIANT_ICPR);
}

static void threads_do_not_race(void **state) {
    (void)state;
    const Recipe recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    BlemishTrainSettings settings = train_settings();
    settings.threads = 2;
    Heads whole = run_ok(&manifest, recipe, &settings);
    for (int i = 0; i < 3; i++) {
        Heads again = run_ok(&manifest, recipe, &settings);
        assert_true(heads_equal(&whole, &again));
        heads_close(&again);
    }
    heads_close(&whole);
}

/* Both runs, compared. */
static bool trains_alike(const Manifest *a, Recipe ra, const Manifest *b, Recipe rb) {
    const BlemishTrainSettings settings = train_settings();
    Heads first = run_ok(a, ra, &settings), second = run_ok(b, rb, &settings);
    const bool alike = heads_equal(&first, &second);
    heads_close(&first);
    heads_close(&second);
    return alike;
}

static void every_number_of_the_recipe_matters(void **state) {
    (void)state;
    static const char *const changes[][2] = {
        {"seed", "1"},
        {"batch", "3"},
        {"adaptor_lr", "2e-4"},
        {"adaptor_decay", "2e-2"},
        {"head_lr", "1e-4"},
        {"head_decay", "1e-2"},
        {"lr_drop", "0.5"},
        {"lr_drop_first", "0.6"},
        {"clip", "0.1"},
        {"stop_grad", "1"},
        {"noise_std", "0.02"},
        {"feature_scale", "0.5"},
        {"dilate", "1"},
        {"flips", "0"},
        {"perlin_threshold", "0.3"},
        {"distance_weights", "0"},
        {"align_corners", "0"},
        {"variant", "icpr"},
        {"epochs", "2"},
        {"bf16", "0"},
        {"lr_drop_second", "0.9"},
    };
    const BlemishTrainSettings settings = train_settings();
    Recipe recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    recipe.lr_drop_first = 0.3; /* at the second epoch and at the third */
    recipe.lr_drop_second = 0.6;
    Heads heads = run_ok(&manifest, recipe, &settings);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (strcmp(changes[i][0], "bf16") == 0 && !engine_has_bf16()) continue;
        Error e = {0};
        Recipe changed = recipe;
        assert_ok(recipe_set(&changed, changes[i][0], changes[i][1], &e), e.text);
        Heads other = run_ok(&manifest, changed, &settings);
        if (heads_equal(&heads, &other)) fail_msg("%s changes nothing", changes[i][0]);
        heads_close(&other);
    }
    heads_close(&heads);
}

/* Images of unknown label and test images are not trained on, nor defects without supervision. */
static void only_training_images_count(void **state) {
    (void)state;
    Manifest more, good;
    train_manifest(&more, folder, GOOD, DEFECTS, 1);
    train_list(&more, folder, "absent.png", NULL, BLEMISH_LABEL_UNKNOWN, BLEMISH_SPLIT_TRAIN);
    train_list(&more, folder, "absent.png", NULL, BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TEST);
    train_list(&more, folder, "absent.png", NULL, BLEMISH_LABEL_DEFECT, BLEMISH_SPLIT_TEST);
    const Recipe supervised = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    assert_true(trains_alike(&manifest, supervised, &more, supervised));
    train_manifest(&good, folder, GOOD, 0, 0);
    const Recipe unsupervised = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS);
    assert_true(trains_alike(&manifest, unsupervised, &good, unsupervised));
    manifest_close(&good);
    manifest_close(&more);
}

static void a_batch_may_exceed_the_images(void **state) {
    (void)state;
    Recipe exact = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS), larger = exact;
    exact.batch = GOOD;
    larger.batch = 4096;
    assert_true(trains_alike(&manifest, exact, &manifest, larger));
    Manifest one;
    train_manifest(&one, folder, 1, 0, 0);
    BlemishTrainSettings settings = train_settings();
    Heads heads = run_ok(&one, larger, &settings);
    heads_close(&heads);
    manifest_close(&one);
}

static void the_feature_scale_is_measured_or_given(void **state) {
    (void)state;
    const BlemishTrainSettings settings = train_settings();
    for (int given = 0; given < 2; given++) {
        Error e = {0};
        Heads heads;
        Recipe recipe = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS);
        if (given) recipe.feature_scale = 0.1;
        assert_ok(train_run(&heads, &trunk, &manifest, "data", &recipe, &settings, &e), e.text);
        assert_true(recipe.feature_scale > 0);
        if (given) assert_true(recipe.feature_scale == 0.1);
        assert_true(heads.feature_scale == (float)recipe.feature_scale);
        heads_close(&heads);
    }
}

/* ---- the log --------------------------------------------------------------------------------------------- */

typedef struct Log {
    size_t rows;
    char text[16][256];
    double loss[16];
} Log;

/* Checks the header, ten columns of numbers and epochs from 1 on. */
static Log read_log(void) {
    Log log = {0};
    char header[256];
    FILE *f = fopen(log_path, "r");
    assert_non_null(f);
    assert_non_null(fgets(header, sizeof header, f));
    assert_string_equal(header, "epoch,loss,l1_good,l1_bad,focal_map,focal_score,gradient_norm,lr_factor,"
                                "images_per_second,seconds\n");
    while (log.rows < 16 && fgets(log.text[log.rows], 256, f)) {
        const char *at = log.text[log.rows];
        double v[10];
        for (size_t i = 0; i < 10; i++) {
            char *end;
            v[i] = strtod(at, &end);
            assert_true(end != at && *end == (i < 9 ? ',' : '\n') && isfinite(v[i]));
            at = end + 1;
        }
        assert_int_equal(*at, 0);
        assert_true(v[0] == (double)log.rows + 1);
        assert_true(fabs(v[1] - v[2] - v[3] - v[4] - v[5]) < 5e-6); /* five numbers of six decimals */
        log.loss[log.rows++] = v[1];
    }
    fclose(f);
    return log;
}

/* All columns but the two of time. */
static void assert_same_figures(const char *a, const char *b) {
    size_t n = 0;
    for (int commas = 0; commas < 8; n++) commas += a[n] == ',';
    assert_memory_equal(a, b, n);
}

static void the_log_has_a_row_an_epoch(void **state) {
    (void)state;
    const Recipe recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    const size_t steps = 8 * DEFECTS / 4;
    BlemishTrainSettings settings = train_settings();
    settings.log_csv = log_path;
    Heads heads = run_ok(&manifest, recipe, &settings);
    heads_close(&heads);
    const Log whole = read_log();
    assert_int_equal(whole.rows, EPOCHS);
    settings.checkpoint = checkpoint;
    settings.resume = 1;
    const size_t stops[] = {1, steps, steps + 2, 2 * steps + 5};
    for (size_t i = 0; i < 4; i++) {
        forget_files();
        run_until(&manifest, recipe, settings, "train", stops[i]);
        const Log part = read_log();
        assert_int_equal(part.rows, stops[i] / steps);
        heads = run_ok(&manifest, recipe, &settings);
        heads_close(&heads);
        const Log rest = read_log();
        assert_int_equal(rest.rows, EPOCHS);
        for (size_t row = 0; row < EPOCHS; row++) assert_same_figures(rest.text[row], whole.text[row]);
        for (size_t row = 0; row < part.rows; row++) assert_string_equal(rest.text[row], part.text[row]);
    }
    forget_files();
}

typedef struct Copy {
    size_t at; /* step at whose report the checkpoint is copied */
    char path[PATH_SIZE];
} Copy;

static int copy_checkpoint(void *user, const BlemishProgress *p) {
    const Copy *copy = user;
    if (strcmp(p->stage, "train") == 0 && p->done == copy->at) {
        char command[3 * PATH_SIZE];
        snprintf(command, sizeof command, "cp '%s' '%s'", checkpoint, copy->path);
        assert_int_equal(system(command), 0);
    }
    return 0;
}

/* A run that dies leaves a checkpoint older than its log: rows that will come again must not be there twice. */
static void rows_after_the_checkpoint_are_dropped(void **state) {
    (void)state;
    Recipe recipe = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS);
    recipe.epochs = 5;
    Copy copy = {.at = 2 * 2 + 1}; /* within the third epoch of two steps: the checkpoint stands after the second */
    path_in(copy.path, folder, "older.checkpoint");
    BlemishTrainSettings settings = train_settings();
    settings.log_csv = log_path;
    settings.checkpoint = checkpoint;
    settings.checkpoint_every = 2;
    settings.progress = copy_checkpoint;
    settings.progress_user = &copy;
    Heads whole = run_ok(&manifest, recipe, &settings);
    const Log first = read_log();
    assert_int_equal(rename(copy.path, checkpoint), 0);
    settings.resume = 1;
    settings.progress = NULL;
    Heads again = run_ok(&manifest, recipe, &settings);
    const Log second = read_log();
    assert_true(heads_equal(&whole, &again));
    assert_int_equal(second.rows, 5);
    for (size_t i = 0; i < 5; i++) {
        if (i < 2) assert_string_equal(first.text[i], second.text[i]);
        assert_same_figures(first.text[i], second.text[i]);
    }
    heads_close(&whole);
    heads_close(&again);
    forget_files();
}

/* ---- learning -------------------------------------------------------------------------------------------- */

static void check_learning(const Manifest *m, Regime regime) {
    Recipe recipe = train_recipe(regime, VARIANT_JIMS);
    recipe.epochs = 12;
    recipe.head_lr = recipe.adaptor_lr = 1e-3;
    recipe.noise_std = 0.15; /* stands out from test weights, whose features are noise themselves */
    BlemishTrainSettings settings = train_settings();
    Stop stop = {0};
    settings.log_csv = log_path;
    settings.progress = train_stop;
    settings.progress_user = &stop;
    Heads heads = run_ok(m, recipe, &settings);
    heads_close(&heads);
    const Log log = read_log();
    assert_true(log.rows == 12 && isfinite(stop.loss));
    const double last = (log.loss[10] + log.loss[11]) / 2;
    if (!(last < 0.6 * log.loss[0])) fail_msg("the loss went from %g to %g", log.loss[0], last);
    forget_files();
}

/* Black squares on a smooth surface, with masks, some masks and none. */
static void the_loss_falls(void **state) {
    (void)state;
    for (size_t maskless = 0; maskless <= DEFECTS; maskless += DEFECTS) {
        Manifest m;
        train_manifest(&m, folder, GOOD, DEFECTS, maskless);
        check_learning(&m, REGIME_SUPERVISED);
        manifest_close(&m);
    }
    check_learning(&manifest, REGIME_SUPERVISED);
    check_learning(&manifest, REGIME_UNSUPERVISED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resuming_changes_no_bit_jims_unsupervised),
        cmocka_unit_test(resuming_changes_no_bit_jims_supervised),
        cmocka_unit_test(resuming_changes_no_bit_icpr_unsupervised),
        cmocka_unit_test(resuming_changes_no_bit_icpr_supervised),
        cmocka_unit_test(threads_do_not_race),
        cmocka_unit_test(every_number_of_the_recipe_matters),
        cmocka_unit_test(only_training_images_count),
        cmocka_unit_test(a_batch_may_exceed_the_images),
        cmocka_unit_test(the_feature_scale_is_measured_or_given),
        cmocka_unit_test(the_log_has_a_row_an_epoch),
        cmocka_unit_test(rows_after_the_checkpoint_are_dropped),
        cmocka_unit_test(the_loss_falls),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
