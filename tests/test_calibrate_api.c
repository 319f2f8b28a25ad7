/* blemish_calibrate as a program calls it: misuse, stopping, what the model keeps; and damaged calibrations in files.
 */
#include "helper_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, GOOD = 20, DEFECTS = 5 };

static char folder[PATH_SIZE];
static BlemishModel *model;
static BlemishDataset *both, *only_good, *unlabelled;

static BlemishDataset *data_open(const char *name, size_t good, size_t defects, const char *good_label) {
    char path[PATH_SIZE], image_name[32];
    Text csv = {0};
    Error e = {0};
    BlemishDataset *d;
    text_format(&csv, "path,label,split\n");
    for (size_t i = 0; i < good + defects; i++) {
        BlemishImage image;
        picture_make(&image, SIDE, SIDE, 3, i);
        snprintf(image_name, sizeof image_name, "%s%zu.png", name, i);
        assert_ok(image_write_png(&image, path_in(path, folder, image_name), &e), e.text);
        image_free(&image);
        text_format(&csv, "%s,%s,test\n", image_name, i < good ? good_label : "defect");
    }
    snprintf(image_name, sizeof image_name, "%s.csv", name);
    assert_ok(atomic_write_file(path_in(path, folder, image_name), csv.data, csv.length, &e), e.text);
    text_free(&csv);
    assert_ok(blemish_dataset_open(&d, path, NULL), blemish_dataset_error(d));
    return d;
}

static int open_all(void **state) {
    (void)state;
    folder_make(folder);
    both = data_open("both", GOOD, DEFECTS, "good");
    only_good = data_open("good", GOOD, 0, "good");
    unlabelled = data_open("none", 3, 0, "");
    assert_ok(blemish_model_untrained(&model, "resnet18", NULL, SIDE, SIDE), blemish_model_error(model));
    return 0;
}

static int close_all(void **state) {
    (void)state;
    blemish_model_close(model);
    blemish_dataset_close(both);
    blemish_dataset_close(only_good);
    blemish_dataset_close(unlabelled);
    folder_remove(folder);
    return 0;
}

static BlemishCalibrateSettings settings_new(void) {
    BlemishCalibrateSettings s;
    blemish_calibrate_defaults(&s);
    s.threads = 1;
    return s;
}

/* Fails, names what is wrong, and leaves the model and the result alone. */
static void refuse(const BlemishDataset *d, const BlemishCalibrateSettings *s, BlemishStatus status, const char *part) {
    char *before = strdup(blemish_model_info(model).header_json);
    BlemishCalibration out = {.good = 77};
    const BlemishStatus found = blemish_calibrate(model, d, s, &out);
    if (found != status || strstr(blemish_model_error(model), part) == NULL)
        fail_msg("expected %d '%s', found %d '%s'", status, part, found, blemish_model_error(model));
    assert_null(strchr(blemish_model_error(model), '\n'));
    assert_string_equal(blemish_model_info(model).header_json, before);
    assert_true(out.good == 77);
    free(before);
}

static int stop_at_once(void *user, const BlemishProgress *p) {
    (void)user;
    return p->done >= 3;
}

static void misuse_is_told(void **state) {
    (void)state;
    BlemishCalibrateSettings s = settings_new();
    BlemishModel *broken;
    blemish_calibrate_defaults(NULL);
    assert_int_equal(blemish_calibrate(NULL, both, &s, NULL), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_model_open(&broken, "/nonexistent"), BLEMISH_ERROR_IO);
    assert_int_equal(blemish_calibrate(broken, both, &s, NULL), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(broken);
    refuse(NULL, &s, BLEMISH_ERROR_ARGUMENT, "data set: found none");
    refuse(unlabelled, &s, BLEMISH_ERROR_ARGUMENT, "found no image with a label");
    const char **const words[] = {&s.rule, &s.verdict, &s.probability};
    const char *const names[] = {"rule", "verdict", "probability"};
    for (size_t i = 0; i < 3; i++) {
        char found[64];
        s = settings_new();
        *words[i] = NULL;
        snprintf(found, sizeof found, "%s: found a null pointer", names[i]);
        refuse(both, &s, BLEMISH_ERROR_ARGUMENT, found);
        *words[i] = "best";
        snprintf(found, sizeof found, "%s: found 'best', expected one of auto", names[i]);
        refuse(both, &s, BLEMISH_ERROR_ARGUMENT, found);
    }
    s = settings_new();
    s.pixel_rule = "";
    refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "pixel_rule: found ''");
    double *const fractions[] = {&s.budget, &s.confidence, &s.alpha, &s.defect_rate};
    const double outside[] = {0, 1, -0.1, INFINITY, NAN};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 5; k++) {
            s = settings_new();
            *fractions[i] = outside[k];
            if (i < 3 || !isnan(outside[k]))
                refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "expected a number between 0 and 1");
        }
    double *const costs[] = {&s.escape_cost, &s.alarm_cost};
    for (size_t i = 0; i < 2; i++) {
        s = settings_new();
        *costs[i] = -1;
        refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "cost: found -1, expected a number above 0");
        *costs[i] = NAN;
        refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "expected a number above 0");
    }
    s = settings_new();
    s.split = 2;
    refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "split: found 2");
    s.split = -2;
    refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "split: found -2");
    s.split = BLEMISH_SPLIT_TRAIN; /* which is empty */
    refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "found no image with a label");
    s = settings_new();
    s.threads = -1;
    refuse(both, &s, BLEMISH_ERROR_ARGUMENT, "threads");
    s = settings_new();
    s.rule = "f1";
    refuse(only_good, &s, BLEMISH_ERROR_ARGUMENT, "found 20 good and 0 defective images, expected both by f1");
    s = settings_new();
    s.verdict = "combined";
    refuse(only_good, &s, BLEMISH_ERROR_ARGUMENT, "expected both to combine score and map");
    s = settings_new();
    s.probability = "platt";
    refuse(only_good, &s, BLEMISH_ERROR_ARGUMENT, "expected both for platt");
    s = settings_new();
    s.progress = stop_at_once;
    refuse(both, &s, BLEMISH_ERROR_INTERRUPTED, "stopped");
}

static void what_was_chosen_is_kept(void **state) {
    (void)state;
    char path[PATH_SIZE];
    BlemishModel *m, *read;
    BlemishCalibration c;
    assert_ok(blemish_model_untrained(&m, "resnet18", NULL, SIDE, SIDE), blemish_model_error(m));
    assert_ok(blemish_calibrate(m, both, NULL, NULL), blemish_model_error(m));
    BlemishCalibrateSettings s = settings_new();
    assert_ok(blemish_calibrate(m, only_good, &s, &c), blemish_model_error(m));
    assert_string_equal(c.rule, "conformal");
    assert_string_equal(c.probability, "none");
    assert_true(c.good == GOOD && c.defects == 0 && c.false_alarms <= 1 && c.escapes == 0 && isnan(c.auroc[0]));
    assert_ok(blemish_model_save(m, path_in(path, folder, "kept.blemish")), blemish_model_error(m));
    assert_ok(blemish_model_open(&read, path), blemish_model_error(read));
    assert_string_equal(blemish_model_info(read).header_json, blemish_model_info(m).header_json);
    assert_non_null(strstr(blemish_model_info(read).header_json, "\"rule\":\"conformal\""));
    assert_true(blemish_model_info(read).threshold == c.threshold);
    blemish_model_close(read);
    blemish_model_close(m);
}

/* ---- damaged calibrations -------------------------------------------------------------------------------- */

static const char *const calibrations[] = {
    "{\"verdict\":\"combined\",\"weights\":[-1,1,2],\"probability\":\"platt\",\"slope\":1,\"intercept\":-3}",
    "{\"verdict\":\"map\",\"probability\":\"isotonic\",\"points\":[[0.1,0],[0.25,0.5],[0.75,0.5],[1,1]],\"x\":null}",
    "{\"rule\":\"conformal\",\"verdict\":\"score\",\"probability\":\"none\",\"alpha\":0.05}",
};

/* Reads it or says in one line why not; what was read gives values and probabilities. */
static bool parse(const char *json) {
    Calibration c;
    Error e = {0};
    char *owned = strdup(json);
    if (calibration_parse(&c, owned, "file", &e) != BLEMISH_OK) {
        assert_int_equal(e.status, BLEMISH_ERROR_FORMAT);
        assert_true(strncmp(e.text, "file: calibration: ", 19) == 0 && strchr(e.text, '\n') == NULL);
        assert_null(c.json);
        return false;
    }
    for (int i = 0; i <= 8; i++) {
        const float score = (float)i / 8, value = calibration_value(&c, score, 1 - score);
        const float p = calibration_probability(&c, value);
        assert_true(value >= 0 && value <= 1);
        assert_true(c.probability == PROBABILITY_NONE ? isnan(p) : p >= 0 && p <= 1);
    }
    calibration_close(&c);
    return true;
}

static void damage_is_refused_or_harmless(void **state) {
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        char text[512];
        const size_t n = strlen(calibrations[k]);
        assert_true(parse(calibrations[k]));
        for (size_t i = 0; i < n; i++) { /* every truncation */
            memcpy(text, calibrations[k], i);
            text[i] = '\0';
            assert_false(parse(text));
        }
        size_t refused = 0;
        for (size_t bit = 0; bit < 8 * n; bit++) { /* every flipped bit */
            memcpy(text, calibrations[k], n + 1);
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            refused += !parse(text);
        }
        assert_true(refused > 2 * n); /* most break JSON or a word */
    }
    const char *const wrong[] = {
        "[]",
        "null",
        "3",
        "{}",
        "{\"verdict\":3,\"probability\":\"none\"}",
        "{\"verdict\":\"score\"}",
        "{\"verdict\":\"score\",\"probability\":\"odds\"}",
        "{\"verdict\":\"combined\",\"weights\":[1,2],\"probability\":\"none\"}",
        "{\"verdict\":\"combined\",\"weights\":[1,2,1e10],\"probability\":\"none\"}",
        "{\"verdict\":\"score\",\"probability\":\"platt\",\"slope\":\"1\",\"intercept\":0}",
        "{\"verdict\":\"score\",\"probability\":\"isotonic\",\"points\":[]}",
        "{\"verdict\":\"score\",\"probability\":\"isotonic\",\"points\":[[0.5,0.5],[0.5,0.6]]}",
        "{\"verdict\":\"score\",\"probability\":\"isotonic\",\"points\":[[0.5,0.5],[0.6,0.4]]}",
        "{\"verdict\":\"score\",\"probability\":\"isotonic\",\"points\":[[0.5,1.5]]}",
        "{\"verdict\":\"score\",\"verdict\":\"map\",\"probability\":\"none\"}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (parse(wrong[i])) fail_msg("read: %s", wrong[i]);
}

/* The same in a model file: opening fails in one line that names the file and the field. */
static void a_file_with_a_damaged_calibration_is_refused(void **state) {
    (void)state;
    char path[PATH_SIZE];
    Error e = {0};
    Model made, read;
    model_make(&made, SIDE, SIDE);
    made.calibration.json = strdup("{\"verdict\":\"score\",\"probability\":\"isotonic\",\"points\":[[2,0]]}");
    assert_ok(model_write(&made, path_in(path, folder, "damaged.blemish"), &e), e.text);
    assert_int_equal(model_read(&read, path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "damaged.blemish: calibration: points: expected pairs in [0, 1]"));
    model_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(what_was_chosen_is_kept),
        cmocka_unit_test(damage_is_refused_or_harmless),
        cmocka_unit_test(a_file_with_a_damaged_calibration_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
