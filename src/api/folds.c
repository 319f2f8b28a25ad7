/* Folds of a label audit: even by label, and never the same picture on both sides. */
#include "api/api.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Content {
    char sha256[65];
    size_t sample;
} Content;

static int compare_contents(const void *a, const void *b) {
    const Content *x = a, *y = b;
    const int order = strcmp(x->sha256, y->sha256);
    return order ? order : (x->sample > y->sample) - (x->sample < y->sample);
}

/* twin[i]: the first labelled sample with the content of sample i. */
static BlemishStatus find_twins(const Manifest *m, Content *contents, size_t *twin, BlemishProgressFn progress,
                                void *user, Error *e) {
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        const BlemishProgress p = {.stage = "check", .done = i, .total = m->count, .loss = NAN, .seconds_left = -1};
        if (progress && progress(user, &p))
            return error_set(e, BLEMISH_ERROR_INTERRUPTED, "audit: stopped while reading the images");
        if (m->samples[i].label == BLEMISH_LABEL_UNKNOWN) continue;
        if (sha256_file(m->samples[i].path, contents[n].sha256, e)) return e->status;
        contents[n++].sample = i;
    }
    if (n) qsort(contents, n, sizeof *contents, compare_contents);
    for (size_t i = 0, first = 0; i < n; i++) {
        if (strcmp(contents[i].sha256, contents[first].sha256) != 0) first = i;
        twin[contents[i].sample] = contents[first].sample;
    }
    return BLEMISH_OK;
}

static BlemishStatus deal(const Manifest *m, size_t folds, uint64_t seed, const size_t *twin, size_t *members,
                          size_t *fold_of, Error *e) {
    size_t counts[2] = {0}, next = 0;
    for (int label = BLEMISH_LABEL_GOOD; label <= BLEMISH_LABEL_DEFECT; label++) {
        size_t *n = &counts[label];
        for (size_t i = 0; i < m->count; i++)
            if ((int)m->samples[i].label == label && twin[i] == i) members[(*n)++] = i;
        Random r = random_new(seed, mix64(fnv1a64("folds", 5, FNV1A64_BASIS)) + (uint64_t)label);
        random_shuffle(&r, members, *n);
        for (size_t i = 0; i < *n; i++) fold_of[members[i]] = next++ % folds;
    }
    if (counts[0] < folds || counts[1] < folds)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "data set: found %zu good and %zu defective images (the same image twice counts once), "
                         "expected at least one of each for each of the %zu folds",
                         counts[0], counts[1], folds);
    for (size_t i = 0; i < m->count; i++)
        fold_of[i] = m->samples[i].label == BLEMISH_LABEL_UNKNOWN ? SIZE_MAX : fold_of[twin[i]];
    return BLEMISH_OK;
}

BlemishStatus folds_deal(const Manifest *m, size_t folds, uint64_t seed, size_t *fold_of, BlemishProgressFn progress,
                         void *user, Error *e) {
    Content *contents = array_new(m->count, sizeof *contents, e);
    size_t *twin = array_new(m->count, sizeof *twin, e), *members = array_new(m->count, sizeof *members, e);
    BlemishStatus status = m->count && !(contents && twin && members) ? e->status : BLEMISH_OK;
    if (status == BLEMISH_OK) status = find_twins(m, contents, twin, progress, user, e);
    if (status == BLEMISH_OK) status = deal(m, folds, seed, twin, members, fold_of, e);
    array_free(contents), array_free(twin), array_free(members);
    return status;
}
