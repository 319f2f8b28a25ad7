#include "data/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const Layout *const layouts[] = {&layout_mvtec,         &layout_visa,   &layout_ksdd2, &layout_sensum,
                                        &layout_magnetic_tile, &layout_folder, &layout_csv};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

BlemishStatus manifest_add(Manifest *m, const Sample *sample, Error *e) {
    if (m->count == m->capacity) {
        size_t capacity = m->capacity ? 2 * m->capacity : 256;
        Sample *samples = reallocarray(m->samples, capacity, sizeof *samples);
        if (samples == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory for %zu samples", capacity);
        m->samples = samples;
        m->capacity = capacity;
    }
    Sample copy = *sample;
    copy.path = text_copy(sample->path, e);
    copy.type = text_copy(sample->type, e);
    char *mask = sample->mask_path ? text_copy(sample->mask_path, e) : NULL;
    bool good = sample->label == BLEMISH_LABEL_GOOD;
    copy.mask_path = good ? NULL : mask;
    copy.unused_mask = good ? mask : NULL;
    m->samples[m->count++] = copy; /* counted before the check, so that closing frees what there is */
    bool whole = copy.path && copy.type && (mask || !sample->mask_path);
    return whole ? BLEMISH_OK : e->status;
}

void manifest_close(Manifest *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->samples[i].path);
        free(m->samples[i].mask_path);
        free(m->samples[i].unused_mask);
        free(m->samples[i].type);
    }
    free(m->samples);
    problems_close(&m->problems);
    *m = (Manifest){0};
}

static int compare_samples(const void *a, const void *b) {
    return strcmp(((const Sample *)a)->path, ((const Sample *)b)->path);
}

/* The layouts to try: the named one, or all of them for "auto". */
static BlemishStatus wanted_layouts(const char *name, const Layout *const **first, size_t *count, Error *e) {
    *first = layouts;
    *count = LAYOUTS;
    if (name == NULL || strcmp(name, "auto") == 0) return BLEMISH_OK;
    *count = 1;
    for (size_t i = 0; i < LAYOUTS; i++, ++*first)
        if (strcmp(name, layouts[i]->name) == 0) return BLEMISH_OK;
    Text known = {0};
    for (size_t i = 0; i < LAYOUTS; i++) text_format(&known, ", %s", layouts[i]->name);
    error_set(e, BLEMISH_ERROR_ARGUMENT, "layout: found \"%s\", expected auto%s", name, known.data ? known.data : "");
    text_free(&known);
    return e->status;
}

static const Layout *match(const Layout *const *wanted, size_t count, const char *path) {
    for (size_t i = 0; i < count; i++)
        if (wanted[i]->matches(path)) return wanted[i];
    return NULL;
}

/* The one sub-folder that some layout matches: *root is malloc-owned. */
static BlemishStatus only_category(const Layout *const *wanted, size_t count, const char *path, char **root,
                                   const Layout **layout, Error *e) {
    Listing folders = {0};
    Text found = {0};
    size_t matches = 0;
    *root = NULL;
    if (is_folder(path) && listing_open(&folders, path, LIST_FOLDERS, e) != BLEMISH_OK) return e->status;
    for (size_t i = 0; i < folders.count; i++) {
        char *folder = path_format(e, "%s/%s", path, folders.names[i]);
        const Layout *here = folder ? match(wanted, count, folder) : NULL;
        if (here) {
            text_format(&found, "%s%s", matches++ ? ", " : "", folders.names[i]);
            free(*root);
            *root = folder;
            *layout = here;
        } else {
            free(folder);
        }
    }
    listing_close(&folders);
    BlemishStatus status = BLEMISH_OK;
    if (matches > 1) {
        status = error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: category: found %s, expected one to be chosen", path,
                           found.data ? found.data : "several");
    } else if (matches == 0) {
        Text signs = {0};
        for (size_t i = 0; i < count; i++)
            text_format(&signs, "%s%s (%s)", i ? ", " : "", wanted[i]->sign, wanted[i]->name);
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: layout: found no known one, expected %s", path,
                           signs.data ? signs.data : "");
        text_free(&signs);
    }
    if (status != BLEMISH_OK) {
        free(*root);
        *root = NULL;
    }
    text_free(&found);
    return status;
}

/* Where the samples are and how they are stored: *root is malloc-owned. */
static BlemishStatus find_layout(const char *path, const BlemishDatasetSettings *settings, char **root,
                                 const Layout **layout, Error *e) {
    const Layout *const *wanted;
    size_t count, length = strlen(path);
    *root = NULL;
    if (wanted_layouts(settings->layout, &wanted, &count, e) != BLEMISH_OK) return e->status;
    while (length > 1 && path[length - 1] == '/') length--;
    *root = settings->category ? path_format(e, "%.*s/%s", (int)length, path, settings->category)
                               : path_format(e, "%.*s", (int)length, path);
    if (*root == NULL) return e->status;
    if (access(*root, R_OK) != 0) return error_errno(e, "%s", *root);
    *layout = match(wanted, count, *root);
    if (*layout) return BLEMISH_OK;
    char *outer = *root;
    only_category(wanted, count, outer, root, layout, e);
    free(outer);
    return *root ? BLEMISH_OK : e->status;
}

static BlemishStatus check_samples(const Manifest *m, const char *root, bool tolerant, Error *e) {
    if (m->count == 0)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: found no image, expected .jpg, .jpeg, .png, .tif, .tiff or .bmp files", root);
    for (size_t i = 1; i < m->count && !tolerant; i++)
        if (strcmp(m->samples[i - 1].path, m->samples[i].path) == 0)
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: path: found %s twice, expected each image once", root,
                             m->samples[i].path);
    return BLEMISH_OK;
}

static BlemishStatus check_fold(const Layout *layout, int fold, Error *e) {
    if (fold >= 0 && fold < (layout->folds ? layout->folds : 1)) return BLEMISH_OK;
    if (layout->folds == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "fold: found %d, but the %s layout has no folds", fold,
                         layout->name);
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "fold: found %d, expected 0 to %d", fold, layout->folds - 1);
}

BlemishStatus manifest_open(Manifest *out, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    *out = (Manifest){0};
    char *root = NULL;
    const Layout *layout = NULL;
    BlemishStatus status = find_layout(path, settings, &root, &layout, e);
    if (status == BLEMISH_OK) status = check_fold(layout, settings->fold, e);
    if (status == BLEMISH_OK) status = layout->read(out, root, settings, e);
    if (status == BLEMISH_OK) {
        out->layout = layout->name;
        if (out->count) qsort(out->samples, out->count, sizeof *out->samples, compare_samples);
        status = check_samples(out, root, settings->tolerant, e);
    }
    if (status == BLEMISH_OK)
        status = layout->folds ? split_fold(out, (size_t)layout->folds, (size_t)settings->fold, settings->seed, e)
                               : split_unset(out, settings->test_fraction, settings->seed, e);
    if (status == BLEMISH_OK) status = split_masks(out, settings, e);
    if (status != BLEMISH_OK) manifest_close(out);
    free(root);
    return status;
}
