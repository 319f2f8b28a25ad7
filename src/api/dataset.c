#include "api/api.h"

BLEMISH_API void blemish_dataset_defaults(BlemishDatasetSettings *settings) {
    if (settings)
        *settings = (BlemishDatasetSettings){.layout = "auto", .test_fraction = 0.4, .mask_count = -1, .mask_ratio = 1};
}

BLEMISH_API BlemishStatus blemish_dataset_open(BlemishDataset **out, const char *path,
                                               const BlemishDatasetSettings *settings) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishDataset *d = *out = handle_new(sizeof *d);
    if (d == NULL) return BLEMISH_ERROR_MEMORY;
    if (path == NULL) return error_null(&d->error, "path");
    BlemishDatasetSettings s;
    blemish_dataset_defaults(&s);
    if (settings) s = *settings;
    if (s.layout == NULL) s.layout = "auto";
    BlemishStatus status = manifest_open(&d->manifest, path, &s, &d->error);
    d->open = status == BLEMISH_OK;
    return status;
}

BLEMISH_API size_t blemish_dataset_count(const BlemishDataset *d) {
    return d && d->open ? d->manifest.count : 0;
}

BLEMISH_API BlemishSample blemish_dataset_sample(const BlemishDataset *d, size_t index) {
    if (index >= blemish_dataset_count(d))
        return (BlemishSample){.path = "", .type = "", .label = BLEMISH_LABEL_UNKNOWN};
    const Sample *s = &d->manifest.samples[index];
    return (BlemishSample){
        .path = s->path, .mask_path = s->mask_path, .type = s->type, .label = s->label, .split = s->split};
}

BLEMISH_API const char *blemish_dataset_layout(const BlemishDataset *d) {
    return d && d->open ? d->manifest.layout : "";
}

BLEMISH_API const char *blemish_problem_name(BlemishProblemKind kind) {
    static const char *const names[BLEMISH_PROBLEM_KINDS] = {
        "image-unreadable", "mask-unreadable", "mask-empty", "mask-of-good", "mask-size", "repeated", "leaked"};
    return (unsigned)kind < BLEMISH_PROBLEM_KINDS ? names[kind] : NULL;
}

BLEMISH_API BlemishStatus blemish_dataset_check(BlemishDataset *d, BlemishDataReport *report,
                                                BlemishProgressFn progress, void *progress_user) {
    if (d == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&d->error);
    if (!d->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found one that failed to open");
    if (report == NULL) return error_null(e, "report");
    check_close(&d->check);
    BlemishStatus status = manifest_check(&d->check, &d->manifest, progress, progress_user, e);
    *report = d->check.report;
    return status;
}

BLEMISH_API BlemishStatus blemish_dataset_resized_masks(BlemishDataset *d, BlemishSplit split, size_t *count,
                                                        size_t *first) {
    if (d == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&d->error);
    if (!d->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found one that failed to open");
    if (count == NULL || first == NULL) return error_null(e, count ? "first" : "count");
    return manifest_resized_masks(&d->manifest, split, count, first, e);
}

BLEMISH_API BlemishStatus blemish_dataset_fingerprint(BlemishDataset *d, char hex[65]) {
    if (d == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&d->error);
    if (!d->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found one that failed to open");
    return hex ? manifest_fingerprint(&d->manifest, hex, e) : error_null(e, "hex");
}

BLEMISH_API const char *blemish_dataset_error(const BlemishDataset *d) {
    return d ? d->error.text : "out of memory";
}

BLEMISH_API void blemish_dataset_close(BlemishDataset *d) {
    if (d == NULL) return;
    if (d->open) manifest_close(&d->manifest);
    check_close(&d->check);
    array_free(d);
}
