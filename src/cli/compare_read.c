/* Runs from report.json, whose fields docs/report.md tells. */
#include "compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool run_add(EvaluatedRun *run, const char *file, RunRow *row) {
    if (row->label == BLEMISH_LABEL_UNKNOWN) return free(row->path), true;
    if (run->count == run->capacity) {
        const size_t capacity = run->capacity ? 2 * run->capacity : 256;
        RunRow *rows = reallocarray(run->rows, capacity, sizeof *rows);
        if (!rows) return free(row->path), fail("%s: memory is short", file), false;
        run->rows = rows;
        run->capacity = capacity;
    }
    run->rows[run->count++] = *row;
    return true;
}

void run_close(EvaluatedRun *run) {
    for (size_t i = 0; i < run->count; i++) free(run->rows[i].path);
    free(run->rows);
    free(run->resampled);
    free(run->name);
    *run = (EvaluatedRun){0};
}

/* A finite 32-bit float. */
static bool take_float(const json_t *object, const char *key, float *out) {
    const json_t *value = json_object_get(object, key);
    const double number = json_number_value(value);
    *out = (float)number;
    return json_is_number(value) && isfinite(*out);
}

static bool take_prediction(EvaluatedRun *run, const char *file, size_t i, const json_t *p) {
    const char *path = json_string_value(json_object_get(p, "path")), *problem = NULL;
    const json_t *label = json_object_get(p, "label"), *defect = json_object_get(p, "defect");
    const char *word = json_string_value(label);
    RunRow row = {.label = BLEMISH_LABEL_UNKNOWN, .defect = json_is_true(defect)};
    if (!path || !*path)
        problem = "path: expected an image's path";
    else if (!json_is_null(label) && !(word && (!strcmp(word, "good") || !strcmp(word, "defect"))))
        problem = "label: expected \"good\", \"defect\" or null";
    else if (!take_float(p, "score", &row.score))
        problem = "score: expected a finite number";
    else if (!take_float(p, "map_max", &row.map_max))
        problem = "map_max: expected a finite number";
    else if (!json_is_boolean(defect))
        problem = "defect: expected true or false";
    if (problem) return fail("%s: predictions: %zu: %s", file, i + 1, problem), false;
    if (word) row.label = *word == 'g' ? BLEMISH_LABEL_GOOD : BLEMISH_LABEL_DEFECT;
    row.marked = json_is_number(json_object_get(p, "marked_part_found"));
    if (!(row.path = strdup(path))) return fail("memory is short"), false;
    return run_add(run, file, &row);
}

static const char *pixel_name(size_t metric) {
    return blemish_compared_name((BlemishComparedMetric)(BLEMISH_COMPARED_P_AUROC + metric));
}

/* The four rows of "resampled", each of "resamples" numbers. */
static bool take_resampled(EvaluatedRun *run, const char *file, const json_t *resampled) {
    const json_int_t resamples = json_integer_value(json_object_get(resampled, "resamples"));
    const json_t *seed = json_object_get(resampled, "seed");
    if (resamples < 1 || resamples > 100000 || !json_is_integer(seed))
        return fail("%s: resampled: expected a whole resamples, 1 to 100000, and seed", file), false;
    run->seed = (uint64_t)json_integer_value(seed);
    run->resamples = (size_t)resamples;
    run->resampled = calloc(PIXEL_METRICS * run->resamples, sizeof *run->resampled);
    if (!run->resampled) return fail("memory is short"), false;
    for (size_t m = 0; m < PIXEL_METRICS; m++) {
        const json_t *list = json_object_get(resampled, pixel_name(m));
        for (size_t i = 0; i < run->resamples; i++) {
            const json_t *value = json_array_get(list, i);
            run->resampled[m * run->resamples + i] = json_is_null(value) ? (double)NAN : json_number_value(value);
            if (json_array_size(list) == run->resamples && (json_is_number(value) || json_is_null(value))) continue;
            return fail("%s: resampled: %s: expected %zu numbers", file, pixel_name(m), run->resamples), false;
        }
    }
    return true;
}

static bool take_report(EvaluatedRun *run, const char *file, const json_t *report) {
    const char *format = json_string_value(json_object_get(report, "format"));
    const char *fingerprint = json_string_value(json_object_get(json_object_get(report, "data"), "fingerprint"));
    const json_t *predictions = json_object_get(report, "predictions"), *metrics = json_object_get(report, "metrics");
    const json_t *resampled = json_object_get(report, "resampled");
    if (!format || strcmp(format, "blemish-report"))
        return fail("%s: format: expected \"blemish-report\"", file), false;
    if (json_integer_value(json_object_get(report, "format_version")) != 1)
        return fail("%s: format_version: expected 1", file), false;
    if (!json_is_array(predictions)) return fail("%s: predictions: expected a list", file), false;
    for (size_t i = 0; i < json_array_size(predictions); i++)
        if (!take_prediction(run, file, i, json_array_get(predictions, i))) return false;
    for (size_t m = 0; m < PIXEL_METRICS; m++) {
        const json_t *value = json_object_get(metrics, pixel_name(m));
        if (json_is_number(value)) run->pixels[m] = json_number_value(value);
    }
    snprintf(run->fingerprint, sizeof run->fingerprint, "%s", fingerprint ? fingerprint : "");
    return !json_is_object(resampled) || take_resampled(run, file, resampled);
}

static int read_json(EvaluatedRun *run, const char *file) {
    json_error_t error;
    json_t *report = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
    if (!report) return fail("%s: line %d: %s", file, error.line, error.text);
    const bool fine = take_report(run, file, report);
    json_decref(report);
    return fine ? EXIT_OK : EXIT_FAILED;
}

int run_read(EvaluatedRun *run, const char *given) {
    char file[PATH_SIZE];
    struct stat status;
    *run = (EvaluatedRun){.given = given, .pixels = {NAN, NAN, NAN, NAN}};
    if (strlen(given) > PATH_SIZE / 2) return fail("%.100s: the name is too long", given);
    if (stat(given, &status)) return fail("%s: %s", given, strerror(errno));
    const bool folder = S_ISDIR(status.st_mode);
    snprintf(file, sizeof file, "%.2100s%s", given, folder ? "/report.json" : "");
    if (folder && stat(file, &status))
        return fail("%s: %s, expected a folder that 'blemish eval --report' wrote", file, strerror(errno));
    const char *ending = strrchr(file, '.');
    return ending && !strcmp(ending, ".json") ? read_json(run, file) : run_read_csv(run, file);
}
