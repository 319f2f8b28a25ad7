/* A CSV manifest: a header line naming path and any of label, mask, split, then one image a line. Every column but
 * path may be blank. */
#include "data/csv.h"
#include "data/layout.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PATH, LABEL, MASK, SPLIT };
static const char *const column_names[] = {"path", "label", "mask", "split", NULL};

static BlemishStatus read_words(const Csv *csv, Sample *sample, Error *e) {
    static const char *const labels[] = {"good", "defect", "0", "1", "normal", "anomalous", NULL};
    static const char *const splits[] = {"train", "test", NULL};
    const char *label = csv_value(csv, LABEL), *split = csv_value(csv, SPLIT);
    size_t l = word_index(label, labels), s = word_index(split, splits);
    if (*label && l == SIZE_MAX)
        return csv_error(csv, e, "label", label, "good, defect, normal, anomalous, 0, 1 or nothing");
    if (*split && s == SIZE_MAX) return csv_error(csv, e, "split", split, "train, test or nothing");
    sample->split = !*split ? SPLIT_UNSET : s == 0 ? BLEMISH_SPLIT_TRAIN : BLEMISH_SPLIT_TEST;
    /* An image that somebody drew a mask for is a defect. */
    sample->label = *label ? (BlemishLabel)(l & 1) : sample->mask_path ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_UNKNOWN;
    sample->type = (char *)(sample->label == BLEMISH_LABEL_GOOD     ? "good"
                            : sample->label == BLEMISH_LABEL_DEFECT ? "defect"
                                                                    : "unknown");
    return BLEMISH_OK;
}

/* A file named in the manifest, relative to the manifest's folder: malloc-owned, NULL with *e set. */
static char *named_file(const Csv *csv, size_t column, Error *e) {
    const char *name = csv_value(csv, column), *slash = strrchr(csv->path, '/');
    int folder = slash && name[0] != '/' ? (int)(slash - csv->path + 1) : 0;
    char *path = path_format(e, "%.*s%s", folder, csv->path, name);
    if (path && !(is_file(path) || (column == MASK && is_folder(path)))) {
        csv_error(csv, e, column_names[column], path, "a file that exists");
        free(path);
        return NULL;
    }
    return path;
}

/* Leaves a missing file to manifest_check where the caller is tolerant. */
static BlemishStatus missing(Manifest *m, bool tolerant, BlemishProblemKind kind, Error *e) {
    if (!tolerant || e->status != BLEMISH_ERROR_FORMAT) return e->status;
    char text[BLEMISH_ERROR_SIZE];
    memcpy(text, e->text, sizeof text);
    *e = (Error){0};
    return problems_add(&m->problems, kind, e, "%s", text);
}

static BlemishStatus read_sample(Manifest *m, const Csv *csv, bool tolerant, Error *e) {
    if (!*csv_value(csv, PATH)) return csv_error(csv, e, "path", "nothing", "an image file");
    Sample sample = {.path = named_file(csv, PATH, e)};
    if (sample.path == NULL) return missing(m, tolerant, BLEMISH_PROBLEM_IMAGE_UNREADABLE, e);
    BlemishStatus status = BLEMISH_OK;
    if (*csv_value(csv, MASK)) {
        sample.mask_path = named_file(csv, MASK, e);
        if (sample.mask_path == NULL) status = missing(m, tolerant, BLEMISH_PROBLEM_MASK_UNREADABLE, e);
    }
    if (status == BLEMISH_OK) status = read_words(csv, &sample, e);
    if (status == BLEMISH_OK) status = manifest_add(m, &sample, e);
    free(sample.path);
    free(sample.mask_path);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    Csv csv;
    bool more = true;
    BlemishStatus status = csv_open(&csv, path, column_names, 1, e);
    while (status == BLEMISH_OK && (status = csv_next(&csv, &more, e)) == BLEMISH_OK && more)
        status = read_sample(m, &csv, settings->tolerant, e);
    csv_close(&csv);
    return status;
}

static bool matches(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && strcasecmp(dot, ".csv") == 0 && is_file(path);
}

const Layout layout_csv = {"csv", "a .csv file", matches, read_all, 0};
