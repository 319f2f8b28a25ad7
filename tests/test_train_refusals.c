/* What cannot be trained or continued: one line that names what is wrong, and nothing left behind. */
#include "helper_image.h"
#include "helper_train.h"
#include "train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GOOD = 3, DEFECTS = 1 };

static char folder[PATH_SIZE], checkpoint[PATH_SIZE];
static Trunk trunk;
static Manifest manifest;

static int open_all(void **state) {
    (void)state;
    Error e = {0};
    folder_make(folder);
    path_in(checkpoint, folder, "run.checkpoint");
    train_manifest(&manifest, folder, GOOD, DEFECTS, 0);
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

/* ---- what cannot be trained ------------------------------------------------------------------------------ */

/* Refused with one line that holds both words; returns how often progress was reported. */
static size_t refused(const Manifest *m, Recipe recipe, BlemishTrainSettings settings, const char *word,
                      const char *another) {
    Error e = {0};
    Heads heads;
    Stop stop = {0};
    settings.progress = train_stop;
    settings.progress_user = &stop;
    assert_true(train_run(&heads, &trunk, m, "data", &recipe, &settings, &e) != BLEMISH_OK);
    assert_true(heads.params.all == NULL);
    assert_null(strchr(e.text, '\n'));
    if (!strstr(e.text, word) || !strstr(e.text, another))
        fail_msg("'%s' does not hold '%s' and '%s'", e.text, word, another);
    return stop.calls;
}

static void sets_that_lack_images_are_refused(void **state) {
    (void)state;
    Manifest m = {0};
    const BlemishTrainSettings settings = train_settings();
    const Recipe plain = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS);
    const Recipe supervised = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    assert_int_equal(refused(&m, plain, settings, "training images", "none"), 0);
    train_manifest(&m, folder, 0, DEFECTS, 0);
    assert_int_equal(refused(&m, plain, settings, "training images", "no good one"), 0);
    assert_int_equal(refused(&m, supervised, settings, "training images", "no good one"), 0);
    manifest_close(&m);
    train_manifest(&m, folder, GOOD, 0, 0);
    assert_int_equal(refused(&m, supervised, settings, "training images", "no defect"), 0);
    manifest_close(&m);
}

static void thread_counts_are_checked(void **state) {
    (void)state;
    BlemishTrainSettings settings = train_settings();
    const Recipe plain = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS);
    const int bad[] = {-1, 1025};
    for (size_t i = 0; i < 2; i++) {
        settings.threads = bad[i];
        assert_int_equal(refused(&manifest, plain, settings, "threads: found", "expected 0 to 1024"), 0);
    }
}

static void unreadable_files_are_named(void **state) {
    (void)state;
    const BlemishTrainSettings settings = train_settings();
    const Recipe recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    static const char *const kinds[3][3] = {
        {"bad.png", NULL, "good"}, {"bad.png", NULL, "defect"}, {"d0.png", "bad.png", "defect"}};
    char path[PATH_SIZE];
    Error e = {0};
    assert_ok(atomic_write_file(path_in(path, folder, "bad.png"), "not a picture", 13, &e), e.text);
    for (size_t i = 0; i < 3; i++) {
        Manifest m;
        train_manifest(&m, folder, GOOD, DEFECTS, 0);
        train_list(&m, folder, kinds[i][0], kinds[i][1],
                   kinds[i][2][0] == 'g' ? BLEMISH_LABEL_GOOD : BLEMISH_LABEL_DEFECT, BLEMISH_SPLIT_TRAIN);
        refused(&m, recipe, settings, path, ":");
        manifest_close(&m);
    }
}

/* Before the features are computed, not after a night of training. */
static void paths_that_cannot_be_written_are_refused_at_once(void **state) {
    (void)state;
    const Recipe recipe = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS);
    char absent[PATH_SIZE];
    path_in(absent, folder, "absent/file");
    const size_t entries = folder_count(folder);
    for (int resume = 0; resume < 2; resume++)
        for (int i = 0; i < 4; i++) {
            BlemishTrainSettings settings = train_settings();
            settings.resume = resume;
            const char *path = i % 2 ? folder : absent; /* a folder is no file to write */
            if (i < 2)
                settings.checkpoint = path;
            else
                settings.log_csv = path;
            assert_int_equal(refused(&manifest, recipe, settings, path, ":"), 0);
        }
    assert_int_equal(folder_count(folder), entries);
}

static void divergence_is_reported(void **state) {
    (void)state;
    Recipe recipe = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    BlemishTrainSettings settings = train_settings();
    settings.checkpoint = checkpoint;
    recipe.head_lr = recipe.adaptor_lr = 1e30;
    refused(&manifest, recipe, settings, "training: the ", "lower learning rates");
    assert_int_equal(access(checkpoint, F_OK), -1);
}

/* ---- checkpoints ----------------------------------------------------------------------------------------- */

static Recipe two_epochs(void) {
    Recipe r = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    r.epochs = 2;
    return r;
}

/* Leaves a checkpoint of two_epochs after step 3 of 4 (8 images an epoch in batches of 4). */
static BlemishTrainSettings start_run(void) {
    Error e = {0};
    Heads heads;
    Recipe recipe = two_epochs();
    Stop stop = {.stage = "train", .at = 3};
    BlemishTrainSettings s = train_settings();
    unlink(checkpoint);
    s.checkpoint = checkpoint;
    s.progress = train_stop;
    s.progress_user = &stop;
    assert_int_equal(train_run(&heads, &trunk, &manifest, "data", &recipe, &s, &e), BLEMISH_ERROR_INTERRUPTED);
    s.progress = NULL;
    s.resume = 1;
    return s;
}

static void another_run_is_not_continued(void **state) {
    (void)state;
    const BlemishTrainSettings settings = start_run();
    Recipe recipe = two_epochs();
    size_t size, after;
    uint8_t *before = file_read(checkpoint, &size);
    recipe.seed = 1;
    refused(&manifest, recipe, settings, checkpoint, ": recipe: ");
    recipe = two_epochs();
    recipe.hidden = 128;
    refused(&manifest, recipe, settings, checkpoint, ": recipe: ");

    Error e = {0};
    Heads heads;
    recipe = two_epochs();
    assert_int_equal(train_run(&heads, &trunk, &manifest, "other", &recipe, &settings, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, ": data: "));

    float *weight = trunk.convs[trunk.count - 1].weight, kept = *weight;
    *weight = nextafterf(kept, 2);
    refused(&manifest, two_epochs(), settings, checkpoint, ": backbone: ");
    *weight = kept;

    uint8_t *same = file_read(checkpoint, &after);
    assert_int_equal(after, size);
    assert_memory_equal(same, before, size);
    free(same);
    free(before);
    assert_ok(train_run(&heads, &trunk, &manifest, "data", &recipe, &settings, &e), e.text);
    heads_close(&heads);
    unlink(checkpoint);
}

/* What checkpoint_read fills, for heads of two_epochs, and the identity that the file names. */
typedef struct State {
    TensorFile file;
    char *recipe, *backbone;
    RunIdentity run;
    Heads heads;
    Optimiser optimiser;
    uint32_t shown[GOOD];
    Cursor cursor;
} State;

static void state_open(State *s) {
    Error e = {0};
    *s = (State){0};
    assert_ok(tensor_file_open(&s->file, checkpoint, &e), e.text);
    s->recipe = tensor_file_metadata(&s->file, "recipe", &e);
    s->backbone = tensor_file_metadata(&s->file, "backbone", &e);
    s->run = (RunIdentity){s->recipe, "data", s->backbone};
    assert_ok(heads_open(&s->heads, trunk.c2 + trunk.c3, 64, &e), e.text);
    assert_ok(optimiser_open(&s->optimiser, &s->heads.params, &e), e.text);
    s->cursor = (Cursor){.shown = s->shown, .normals = GOOD};
}

static void state_close(State *s) {
    tensor_file_close(&s->file);
    free(s->recipe);
    free(s->backbone);
    heads_close(&s->heads);
    optimiser_close(&s->optimiser);
}

/* Cut anywhere, or one bit turned in what describes the numbers: refused in one line or, where a bit of a comment
 * or of a number was hit, read. */
static void broken_files_are_refused(void **state) {
    (void)state;
    const BlemishTrainSettings settings = start_run();
    State s;
    size_t size;
    uint8_t *bytes = file_read(checkpoint, &size);
    state_open(&s);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    header += sizeof header;
    const size_t cuts[] = {0, 1, 7, 8, 9, 15, 16, 100, header - 1, header, header + 1, size / 2, size - 8, size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        file_write(checkpoint, bytes, cuts[i]);
        refused(&manifest, two_epochs(), settings, checkpoint, ":");
    }
    Random r = random_new(1, 0);
    size_t accepted = 0, flips = 0;
    for (size_t at = 0; at < header; at++) {
        Error e = {0};
        const uint8_t kept = bytes[at];
        bytes[at] ^= (uint8_t)(1u << random_below(&r, 8));
        FILE *f = fopen(checkpoint, "r+b"); /* one byte, not the whole file again */
        assert_non_null(f);
        if (at == 0) assert_int_equal(fwrite(bytes, 1, size, f), size);
        assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
        assert_int_equal(fputc(bytes[at], f), bytes[at]);
        assert_int_equal(fclose(f), 0);
        const BlemishStatus status = checkpoint_read(checkpoint, &s.run, &s.heads, &s.optimiser, &s.cursor, &e);
        accepted += status == BLEMISH_OK;
        flips++;
        if (status != BLEMISH_OK) {
            assert_non_null(strstr(e.text, checkpoint));
            assert_null(strchr(e.text, '\n'));
        }
        bytes[at] = kept;
        f = fopen(checkpoint, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
        assert_int_equal(fputc(kept, f), kept);
        assert_int_equal(fclose(f), 0);
    }
    assert_true(accepted * 20 < flips); /* nothing but the padding may be turned unseen */
    Error e = {0};
    assert_ok(checkpoint_read(checkpoint, &s.run, &s.heads, &s.optimiser, &s.cursor, &e), e.text);
    assert_true(s.cursor.epoch == 1 && s.cursor.step == 1 && s.optimiser.steps == 3);
    state_close(&s);
    free(bytes);
    unlink(checkpoint);
}

static void numbers_that_cannot_be_are_refused(void **state) {
    (void)state;
    const BlemishTrainSettings settings = start_run();
    const struct {
        size_t epoch, step;
        uint64_t steps;
    } places[] = {{1, 1, 4}, {1, 2, 4},        {2, 1, 5},          {3, 0, 6},
                  {0, 3, 3}, {SIZE_MAX, 1, 3}, {1, 1, UINT64_MAX}, {(size_t)1 << 62, 0, 0}};
    Error e = {0};
    State s;
    state_open(&s);
    assert_ok(checkpoint_read(checkpoint, &s.run, &s.heads, &s.optimiser, &s.cursor, &e), e.text);
    const Cursor cursor = s.cursor;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        s.cursor.epoch = places[i].epoch;
        s.cursor.step = places[i].step;
        s.optimiser.steps = places[i].steps;
        assert_ok(checkpoint_write(checkpoint, &s.run, &s.heads, &s.optimiser, &s.cursor, &e), e.text);
        refused(&manifest, two_epochs(), settings, checkpoint, ": numbers: ");
    }
    s.cursor = cursor;
    s.optimiser.steps = 3;
    struct {
        float *at, value;
        const char *named;
    } bad[] = {{&s.heads.params.all[1000], NAN, ": params: "},
               {&s.optimiser.first.all[0], INFINITY, ": moments.first: "},
               {&s.optimiser.second.all[5], -NAN, ": moments.second: "},
               {&s.heads.stats.cls_var[3], INFINITY, ": cls.running_var: "},
               {&s.heads.feature_scale, 0, ": feature_scale: "},
               {&s.heads.feature_scale, -1, ": feature_scale: "}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const float kept = *bad[i].at;
        *bad[i].at = bad[i].value;
        assert_ok(checkpoint_write(checkpoint, &s.run, &s.heads, &s.optimiser, &s.cursor, &e), e.text);
        refused(&manifest, two_epochs(), settings, checkpoint, bad[i].named);
        *bad[i].at = kept;
    }
    assert_ok(checkpoint_write(checkpoint, &s.run, &s.heads, &s.optimiser, &s.cursor, &e), e.text);
    Heads heads;
    Recipe recipe = two_epochs();
    assert_ok(train_run(&heads, &trunk, &manifest, "data", &recipe, &settings, &e), e.text);
    heads_close(&heads);
    state_close(&s);
    unlink(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_that_lack_images_are_refused),
        cmocka_unit_test(thread_counts_are_checked),
        cmocka_unit_test(unreadable_files_are_named),
        cmocka_unit_test(paths_that_cannot_be_written_are_refused_at_once),
        cmocka_unit_test(divergence_is_reported),
        cmocka_unit_test(another_run_is_not_continued),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(numbers_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
