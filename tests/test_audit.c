/* The label audit: folds that never meet, judges that never saw what they judge, and planted wrong labels found. */
#include "api/api.h"
#include "helper_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GOOD = 9, DEFECTS = 7, IMAGES = GOOD + DEFECTS, FOLDS = 3 };

static char folder[PATH_SIZE];
static char *paths[IMAGES], *masks[IMAGES]; /* good ones, then defective ones */

static int open_all(void **state) {
    (void)state;
    folder_make(folder);
    char synth[PATH_SIZE], error[BLEMISH_ERROR_SIZE] = "";
    BlemishSynthSettings settings;
    BlemishDataset *d;
    size_t good = 0, defects = GOOD;
    blemish_synth_defaults(&settings);
    settings.width = settings.height = 64;
    settings.train_good = GOOD, settings.train_defect = DEFECTS, settings.test_good = settings.test_defect = 1;
    assert_ok(blemish_synth(path_in(synth, folder, "synth"), &settings, error), error);
    assert_ok(blemish_dataset_open(&d, synth, NULL), blemish_dataset_error(d));
    for (size_t i = 0; i < blemish_dataset_count(d); i++) {
        BlemishSample s = blemish_dataset_sample(d, i);
        if (s.split != BLEMISH_SPLIT_TRAIN) continue;
        size_t at = s.label == BLEMISH_LABEL_GOOD ? good++ : defects++;
        paths[at] = strdup(s.path);
        masks[at] = s.mask_path ? strdup(s.mask_path) : NULL;
    }
    assert_int_equal(good, GOOD);
    assert_int_equal(defects, IMAGES);
    blemish_dataset_close(d);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    for (size_t i = 0; i < IMAGES; i++) free(paths[i]), free(masks[i]);
    folder_remove(folder);
    return 0;
}

/* One line of a manifest. */
typedef struct Line {
    size_t image;
    BlemishLabel label;
    BlemishSplit split;
} Line;

static BlemishDataset *data_new(const Line *lines, size_t count) {
    static const char *const labels[] = {"", "good", "defect"};
    char path[PATH_SIZE];
    Text csv = {0};
    Error e = {0};
    BlemishDataset *d;
    text_format(&csv, "path,label,mask,split\n");
    for (size_t i = 0; i < count; i++) {
        const Line *l = &lines[i];
        const char *mask = l->label == BLEMISH_LABEL_DEFECT ? masks[l->image] : NULL;
        text_format(&csv, "%s,%s,%s,%s\n", paths[l->image], labels[l->label + 1], mask ? mask : "",
                    l->split == BLEMISH_SPLIT_TRAIN ? "train" : "test");
    }
    assert_ok(atomic_write_file(path_in(path, folder, "set.csv"), csv.data, csv.length, &e), e.text);
    text_free(&csv);
    assert_ok(blemish_dataset_open(&d, path, NULL), blemish_dataset_error(d));
    assert_int_equal(blemish_dataset_count(d), count);
    return d;
}

/* The first good and defective images with their true labels, every third one in the test split. */
static size_t true_lines(Line lines[IMAGES], size_t good, size_t defects) {
    size_t n = 0;
    for (size_t i = 0; i < IMAGES; i++) {
        bool defect = i >= GOOD;
        if (defect ? i - GOOD >= defects : i >= good) continue;
        lines[n++] = (Line){i, defect ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD,
                            i % 3 ? BLEMISH_SPLIT_TRAIN : BLEMISH_SPLIT_TEST};
    }
    return n;
}

static BlemishRecipe *recipe_new(const char *epochs) {
    const char *const set[][2] = {{"size", "64"}, {"hidden", "64"}, {"batch", "8"}, {"epochs", epochs}};
    BlemishRecipe *r;
    assert_ok(blemish_recipe_new(&r), "");
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        assert_ok(blemish_recipe_set(r, set[i][0], set[i][1]), blemish_recipe_error(r));
    return r;
}

static BlemishAuditSettings settings_new(void) {
    BlemishAuditSettings s;
    blemish_audit_defaults(&s);
    s.folds = FOLDS;
    s.train.threads = 1;
    return s;
}

/* What the callback saw, in its order. */
typedef struct Seen {
    size_t count, stop_at; /* stop_at 0: never */
    struct {
        char *path;
        BlemishLabel label;
        BlemishSplit split;
        size_t fold;
        float score, threshold;
        double dispute;
        bool pictured;
    } items[IMAGES];
} Seen;

static int see(void *user, const BlemishAudited *a) {
    Seen *seen = user;
    assert_in_range(seen->count, 0, IMAGES - 1);
    const size_t i = seen->count++;
    seen->items[i].path = strdup(a->sample.path);
    seen->items[i].label = a->sample.label;
    seen->items[i].split = a->sample.split;
    seen->items[i].fold = a->fold;
    seen->items[i].score = a->score;
    seen->items[i].threshold = a->threshold;
    seen->items[i].dispute = a->dispute;
    seen->items[i].pictured = a->session != NULL;
    if (a->session) {
        char path[PATH_SIZE];
        assert_int_equal(a->image.width, 64);
        assert_true(a->result.score == a->score); /* the same judge again */
        assert_ok(blemish_session_write_overlay(a->session, &a->image, &a->result, path_in(path, folder, "o.png")),
                  blemish_session_error(a->session));
    } else {
        assert_null(a->image.data);
    }
    return seen->stop_at == seen->count;
}

static void seen_close(Seen *seen) {
    for (size_t i = 0; i < seen->count; i++) free(seen->items[i].path);
    *seen = (Seen){0};
}

static size_t image_of(const char *path) {
    for (size_t i = 0; i < IMAGES; i++)
        if (strcmp(paths[i], path) == 0) return i;
    fail_msg("%s: unknown", path);
    return 0;
}

/* ---- folds ----------------------------------------------------------------------------------------------- */

/* A file of its own content for each key. */
static void write_content(char path[PATH_SIZE], size_t name, size_t content) {
    char file[32], text[32];
    Error e = {0};
    snprintf(file, sizeof file, "fold-%zu", name);
    snprintf(text, sizeof text, "content %zu", content);
    assert_ok(atomic_write_file(path_in(path, folder, file), text, strlen(text), &e), e.text);
}

static void folds_are_even_and_keep_twins_together(void **state) {
    (void)state;
    enum { N = 60, TRIALS = 6 };
    size_t fold[N], again[N], content[N];
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        Random r = random_new(7, trial);
        Manifest m = {0};
        Error e = {0};
        const size_t n = 30 + random_below(&r, N - 29), folds = 2 + random_below(&r, 4);
        for (size_t i = 0; i < n; i++) {
            char path[PATH_SIZE];
            content[i] = trial % 2 && i && random_below(&r, 4) == 0 ? content[random_below(&r, (uint32_t)i)] : i;
            write_content(path, i, content[i]);
            const Sample s = {.path = path,
                              .type = "x",
                              .label = i % 7 == 6 ? BLEMISH_LABEL_UNKNOWN : (BlemishLabel)(i % 3 == 0),
                              .split = (BlemishSplit)random_below(&r, 2)};
            assert_ok(manifest_add(&m, &s, &e), e.text);
        }
        assert_ok(folds_deal(&m, folds, trial, fold, NULL, NULL, &e), e.text);
        size_t counts[2][8] = {0};
        for (size_t i = 0; i < n; i++) {
            const BlemishLabel label = m.samples[i].label;
            assert_true(label == BLEMISH_LABEL_UNKNOWN ? fold[i] == SIZE_MAX : fold[i] < folds);
            if (label != BLEMISH_LABEL_UNKNOWN) counts[label][fold[i]]++;
            for (size_t j = 0; j < i; j++)
                if (content[i] == content[j] && fold[i] != SIZE_MAX && fold[j] != SIZE_MAX)
                    assert_int_equal(fold[i], fold[j]);
        }
        for (size_t label = 0; label < 2; label++)
            for (size_t f = 0; f < folds; f++) {
                assert_true(counts[label][f] > 0);
                if (trial % 2 == 0) assert_in_range(counts[label][f], counts[label][0] - 1, counts[label][0] + 1);
            }
        assert_ok(folds_deal(&m, folds, trial, again, NULL, NULL, &e), e.text);
        assert_memory_equal(fold, again, n * sizeof *fold);
        assert_ok(folds_deal(&m, folds, trial + 1, again, NULL, NULL, &e), e.text);
        assert_memory_not_equal(fold, again, n * sizeof *fold);
        manifest_close(&m);
    }
}

/* ---- the audit ------------------------------------------------------------------------------------------- */

static double logit(float p) {
    const double clamped = fmin(fmax((double)p, 1e-6), 1 - 1e-6);
    return log(clamped / (1 - clamped));
}

/* The value that as many of a fold's images with the label lie below as above. */
static double median_of(const Seen *seen, size_t fold, BlemishLabel label) {
    double values[IMAGES];
    size_t n = 0;
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->items[i].fold != fold || seen->items[i].label != label) continue;
        size_t at = n++;
        const double v = logit(seen->items[i].score);
        for (; at && values[at - 1] > v; at--) values[at] = values[at - 1];
        values[at] = v;
    }
    assert_true(n > 0);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void check_disputes(const Seen *seen) {
    for (size_t i = 0; i < seen->count; i++) {
        const double good = median_of(seen, seen->items[i].fold, BLEMISH_LABEL_GOOD);
        const double defect = median_of(seen, seen->items[i].fold, BLEMISH_LABEL_DEFECT);
        const double middle = (good + defect) / 2, half = fmax((defect - good) / 2, 0.5);
        const double sign = seen->items[i].label == BLEMISH_LABEL_GOOD ? 1 : -1;
        /* 1e-9: rounding of a few double operations on numbers below 1e2 */
        assert_true(fabs(seen->items[i].dispute - sign * (logit(seen->items[i].score) - middle) / half) < 1e-9);
        assert_true(fabs(seen->items[i].threshold - 1 / (1 + exp(-middle))) < 1e-6); /* one rounding to float */
        if (i) assert_true(seen->items[i].dispute <= seen->items[i - 1].dispute);
    }
}

/* Trains on the other folds alone, in a data set that has nothing else, and compares every score. */
static void check_judges_saw_nothing(const Seen *seen, const BlemishRecipe *recipe) {
    for (size_t fold = 0; fold < FOLDS; fold++) {
        Line lines[IMAGES];
        size_t n = 0;
        for (size_t i = 0; i < seen->count; i++)
            if (seen->items[i].fold != fold)
                lines[n++] = (Line){image_of(seen->items[i].path), seen->items[i].label, BLEMISH_SPLIT_TRAIN};
        BlemishDataset *d = data_new(lines, n);
        BlemishModel *m;
        BlemishSession *s;
        const BlemishSessionSettings one = {.threads = 1, .batch = 1};
        const BlemishAuditSettings settings = settings_new();
        assert_ok(blemish_train(&m, d, recipe, &settings.train), blemish_model_error(m));
        assert_ok(blemish_session_open(&s, m, &one), blemish_session_error(s));
        for (size_t i = 0; i < seen->count; i++) {
            BlemishResult result;
            if (seen->items[i].fold != fold) continue;
            assert_ok(blemish_session_run_file(s, seen->items[i].path, &result), blemish_session_error(s));
            assert_true(result.score == seen->items[i].score);
        }
        blemish_session_close(s);
        blemish_model_close(m);
        blemish_dataset_close(d);
    }
}

static void every_image_is_judged_once_by_a_model_that_did_not_see_it(void **state) {
    (void)state;
    enum { PICTURES = 2, PLANTED_GOOD = 3, PLANTED_DEFECT = GOOD + 4 };
    Line lines[IMAGES];
    char error[BLEMISH_ERROR_SIZE] = "";
    size_t n = true_lines(lines, GOOD, DEFECTS), pictured = 0, each[IMAGES] = {0};
    lines[PLANTED_GOOD].label = BLEMISH_LABEL_DEFECT;
    lines[PLANTED_DEFECT].label = BLEMISH_LABEL_GOOD;
    BlemishDataset *d = data_new(lines, n);
    BlemishRecipe *r = recipe_new("2");
    BlemishAuditSettings s = settings_new();
    s.pictures = PICTURES;
    Seen seen = {0};
    assert_ok(blemish_audit(d, r, &s, see, &seen, error), error);
    assert_int_equal(seen.count, n);
    for (size_t i = 0; i < seen.count; i++) {
        const size_t image = image_of(seen.items[i].path);
        each[image]++;
        pictured += seen.items[i].pictured;
        assert_int_equal(seen.items[i].label, lines[image].label);
        assert_int_equal(seen.items[i].split, lines[image].split);
    }
    for (size_t i = 0; i < n; i++) assert_int_equal(each[i], 1);
    assert_int_equal(pictured, PICTURES);
    check_disputes(&seen);
    check_judges_saw_nothing(&seen, r);
    seen_close(&seen);
    blemish_recipe_close(r);
    blemish_dataset_close(d);
}

static void a_model_lends_recipe_and_backbone(void **state) {
    (void)state;
    Line lines[IMAGES];
    char error[BLEMISH_ERROR_SIZE] = "", path[PATH_SIZE], value[2][64];
    const char *key, *help;
    BlemishDataset *d = data_new(lines, true_lines(lines, 8, 6));
    BlemishRecipe *r = recipe_new("1"), *lent;
    BlemishAuditSettings s = settings_new();
    s.folds = 2;
    BlemishModel *m, *read;
    assert_ok(blemish_recipe_set(r, "seed", "5"), blemish_recipe_error(r));
    assert_ok(blemish_train(&m, d, r, &s.train), blemish_model_error(m));
    assert_ok(blemish_model_save(m, path_in(path, folder, "m.blemish")), blemish_model_error(m));
    assert_ok(blemish_model_open(&read, path), blemish_model_error(read));
    assert_ok(blemish_recipe_new(&lent), "");
    assert_ok(blemish_recipe_from_model(lent, read), blemish_recipe_error(lent));
    for (size_t i = 0; blemish_recipe_key(r, i, &key, value[0], &help); i++) {
        assert_true(blemish_recipe_key(lent, i, &key, value[1], &help));
        bool settled = !strcmp(value[0], "auto") && strcmp(key, "model.feature_scale") && strcmp(key, "train.bf16");
        if (!settled) assert_string_equal(value[0], value[1]);
    }
    Seen own = {0}, borrowed = {0};
    assert_ok(blemish_audit(d, r, &s, see, &own, error), error);
    s.model = read;
    s.train.backbone = s.train.weights = NULL;
    assert_ok(blemish_audit(d, lent, &s, see, &borrowed, error), error);
    assert_int_equal(own.count, borrowed.count);
    for (size_t i = 0; i < own.count; i++) {
        assert_string_equal(own.items[i].path, borrowed.items[i].path);
        assert_true(own.items[i].score == borrowed.items[i].score);
    }
    seen_close(&own), seen_close(&borrowed);
    blemish_model_close(m);
    assert_ok(blemish_model_untrained(&m, "resnet18", NULL, 64, 64), blemish_model_error(m));
    assert_int_equal(blemish_recipe_from_model(lent, m), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(blemish_recipe_error(lent), "model: recipe: found none, expected a trained model");
    assert_int_equal(blemish_recipe_from_model(lent, NULL), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_recipe_from_model(NULL, m), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(m), blemish_model_close(read);
    blemish_recipe_close(r), blemish_recipe_close(lent);
    blemish_dataset_close(d);
}

static void refuse(const BlemishDataset *d, const BlemishRecipe *r, const BlemishAuditSettings *s, BlemishStatus status,
                   const char *part) {
    char error[BLEMISH_ERROR_SIZE] = "";
    Seen seen = {.stop_at = 1};
    BlemishStatus found = blemish_audit(d, r, s, see, &seen, error);
    if (found != status || strstr(error, part) == NULL)
        fail_msg("expected %d '%s', found %d '%s'", status, part, found, error);
    seen_close(&seen);
}

static int stop(void *stage, const BlemishProgress *p) {
    return strcmp(p->stage, stage) == 0;
}

static void what_cannot_be_audited_is_named(void **state) {
    (void)state;
    Line lines[IMAGES];
    BlemishDataset *d = data_new(lines, true_lines(lines, 4, 3));
    BlemishRecipe *r = recipe_new("1");
    BlemishAuditSettings s = settings_new();
    char error[BLEMISH_ERROR_SIZE];
    refuse(NULL, r, &s, BLEMISH_ERROR_ARGUMENT, "data set");
    refuse(d, NULL, &s, BLEMISH_ERROR_ARGUMENT, "recipe: found a null pointer");
    assert_int_equal(blemish_audit(d, r, &s, NULL, NULL, error), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(error, "each: found a null pointer");
    s.folds = 1;
    refuse(d, r, &s, BLEMISH_ERROR_ARGUMENT, "folds: found 1, expected 2 to 32");
    s.folds = 33;
    refuse(d, r, &s, BLEMISH_ERROR_ARGUMENT, "folds: found 33");
    s.folds = 4;
    refuse(d, r, &s, BLEMISH_ERROR_ARGUMENT, "found 4 good and 3 defective images");
    s.folds = 3;
    BlemishModel *closed;
    assert_int_equal(blemish_model_open(&closed, "/nonexistent"), BLEMISH_ERROR_IO);
    s.model = closed;
    refuse(d, r, &s, BLEMISH_ERROR_ARGUMENT, "model: found one that failed to open");
    blemish_model_close(closed);
    s = settings_new();
    s.train.backbone = NULL;
    refuse(d, r, &s, BLEMISH_ERROR_ARGUMENT, "backbone: found a null pointer");
    s = settings_new();
    s.train.backbone = "resnet18";
    s.train.weights = "/nonexistent/w.pth";
    refuse(d, r, &s, BLEMISH_ERROR_IO, "/nonexistent/w.pth");
    s = settings_new();
    refuse(d, r, &s, BLEMISH_ERROR_INTERRUPTED, "stopped by the caller");
    s.train.progress = stop;
    const char *const stages[] = {"check", "fold 1/3 features", "fold 2/3 train", "fold 3/3 evaluate"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        s.train.progress_user = (void *)(uintptr_t)stages[i];
        refuse(d, r, &s, BLEMISH_ERROR_INTERRUPTED, "stopped");
    }
    blemish_dataset_close(d);
    size_t n = true_lines(lines, GOOD, 0);
    d = data_new(lines, n);
    s = settings_new();
    refuse(d, r, &s, BLEMISH_ERROR_ARGUMENT, "found 9 good and 0 defective images");
    blemish_dataset_close(d);
    blemish_recipe_close(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_are_even_and_keep_twins_together),
        cmocka_unit_test(every_image_is_judged_once_by_a_model_that_did_not_see_it),
        cmocka_unit_test(a_model_lends_recipe_and_backbone),
        cmocka_unit_test(what_cannot_be_audited_is_named),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
