/* VisA (Zou et al. 2022) as published: <category>/Data/Images/{Normal,Anomaly}, Data/Masks/Anomaly, and beside the
 * categories split_csv/1cls.csv, whose split is followed where it is present. */
#include "data/csv.h"
#include "data/layout.h"

#include <stdlib.h>
#include <string.h>

static bool matches(const char *path) {
    Error e = {0};
    char *normal = path_format(&e, "%s/Data/Images/Normal", path);
    bool found = normal && is_folder(normal);
    free(normal);
    return found;
}

enum { OBJECT, SPLIT, LABEL, IMAGE, MASK };
static const char *const column_names[] = {"object", "split", "label", "image", "mask", NULL};

/* A file that a row names, relative to the data set's folder: malloc-owned, NULL with *e set. */
static char *named_file(const Csv *csv, size_t column, const char *folder, Error *e) {
    const char *name = csv_value(csv, column);
    char *path = path_format(e, "%s/%s", folder, name);
    if (path && !is_file(path)) {
        csv_error(csv, e, column_names[column], *name ? path : "nothing", "a file that exists");
        free(path);
        return NULL;
    }
    return path;
}

static BlemishStatus read_row(Manifest *m, const Csv *csv, const char *folder, Error *e) {
    static const char *const labels[] = {"normal", "anomaly", NULL}, *const splits[] = {"train", "test", NULL};
    size_t l = word_index(csv_value(csv, LABEL), labels), s = word_index(csv_value(csv, SPLIT), splits);
    if (l == SIZE_MAX) return csv_error(csv, e, "label", csv_value(csv, LABEL), "normal or anomaly");
    if (s == SIZE_MAX) return csv_error(csv, e, "split", csv_value(csv, SPLIT), "train or test");
    Sample sample = {.path = named_file(csv, IMAGE, folder, e),
                     .type = l ? "anomaly" : "good",
                     .label = l ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD,
                     .split = s ? BLEMISH_SPLIT_TEST : BLEMISH_SPLIT_TRAIN};
    BlemishStatus status = sample.path ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && *csv_value(csv, MASK)) {
        sample.mask_path = named_file(csv, MASK, folder, e);
        if (sample.mask_path == NULL) status = e->status;
    }
    if (status == BLEMISH_OK) status = manifest_add(m, &sample, e);
    free(sample.path);
    free(sample.mask_path);
    return status;
}

/* The rows of one category. */
static BlemishStatus read_table(Manifest *m, const char *table, const char *folder, const char *category, Error *e) {
    Csv csv;
    bool more = true;
    BlemishStatus status = csv_open(&csv, table, column_names, 5, e);
    while (status == BLEMISH_OK && (status = csv_next(&csv, &more, e)) == BLEMISH_OK && more)
        if (strcmp(csv_value(&csv, OBJECT), category) == 0) status = read_row(m, &csv, folder, e);
    csv_close(&csv);
    if (status == BLEMISH_OK && m->count == 0)
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: object: found no row of %s", table, category);
    return status;
}

static BlemishStatus read_images(Manifest *m, const char *root, BlemishLabel label, Error *e) {
    bool good = label == BLEMISH_LABEL_GOOD;
    char *folder = path_format(e, "%s/Data/Images/%s", root, good ? "Normal" : "Anomaly");
    char *masks = path_format(e, "%s/Data/Masks/Anomaly", root);
    Listing files = {0};
    BlemishStatus status = folder && masks ? listing_open(&files, folder, LIST_FILES, e) : e->status;
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        const char *name = files.names[i];
        if (!is_image_name(name)) continue;
        Sample sample = {.type = good ? "good" : "anomaly", .label = label, .split = SPLIT_UNSET};
        if (!good) status = find_mask(masks, name, stem_length(name), &sample.mask_path, e);
        if (status == BLEMISH_OK) {
            sample.path = path_format(e, "%s/%s", folder, name);
            status = sample.path ? manifest_add(m, &sample, e) : e->status;
        }
        free(sample.path);
        free(sample.mask_path);
    }
    listing_close(&files);
    free(folder);
    free(masks);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    (void)settings;
    char *folder, *category, *table = NULL;
    BlemishStatus status = path_split(path, &folder, &category, e);
    if (status != BLEMISH_OK) return status;
    table = path_format(e, "%s/split_csv/1cls.csv", folder);
    if (table == NULL) {
        status = e->status;
    } else if (is_file(table)) {
        status = read_table(m, table, folder, category, e);
    } else {
        status = read_images(m, path, BLEMISH_LABEL_GOOD, e);
        if (status == BLEMISH_OK) status = read_images(m, path, BLEMISH_LABEL_DEFECT, e);
    }
    free(folder);
    free(category);
    free(table);
    return status;
}

const Layout layout_visa = {"visa", "Data/Images/Normal", matches, read_all, 0};
