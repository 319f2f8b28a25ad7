#include "data/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Chooses the test part of a shuffled list of n, as manifest_split says. */
static size_t test_part(double test_fraction, size_t n) {
    size_t test = (size_t)lround(test_fraction * (double)n);
    if (n > 1 && test == 0 && test_fraction > 0) test = 1;
    if (n > 1 && test == n && test_fraction < 1) test = n - 1;
    return test;
}

typedef struct Part {
    double fraction;    /* the test part, where folds is 0 */
    size_t folds, fold; /* else every folds-th image */
} Part;

/* Draws the test part of `members` (n sample indices of one type, in path order). */
static void split_type(Manifest *m, size_t *members, size_t n, const Part *part, uint64_t seed) {
    const char *type = m->samples[members[0]].type;
    Random r = random_new(seed, fnv1a64(type, strlen(type), FNV1A64_BASIS));
    random_shuffle(&r, members, n);
    size_t first = test_part(part->fraction, n);
    for (size_t i = 0; i < n; i++) {
        bool test = part->folds ? i % part->folds == part->fold : i < first;
        m->samples[members[i]].split = test ? BLEMISH_SPLIT_TEST : BLEMISH_SPLIT_TRAIN;
    }
}

static BlemishStatus split_types(Manifest *m, const Part *part, uint64_t seed, Error *e) {
    size_t *members = array_new(m->count, sizeof *members, e);
    if (m->count && members == NULL) return e->status;
    for (size_t first = 0; first < m->count; first++) {
        if (m->samples[first].split != SPLIT_UNSET) continue;
        size_t n = 0;
        for (size_t i = first; i < m->count; i++)
            if (m->samples[i].split == SPLIT_UNSET && strcmp(m->samples[i].type, m->samples[first].type) == 0)
                members[n++] = i;
        split_type(m, members, n, part, seed);
    }
    array_free(members);
    return BLEMISH_OK;
}

BlemishStatus split_unset(Manifest *m, double test_fraction, uint64_t seed, Error *e) {
    if (!(test_fraction >= 0 && test_fraction <= 1))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "test_fraction: found %g, expected 0 to 1", test_fraction);
    return split_types(m, &(Part){.fraction = test_fraction}, seed, e);
}

BlemishStatus split_fold(Manifest *m, size_t folds, size_t fold, uint64_t seed, Error *e) {
    return split_types(m, &(Part){.folds = folds, .fold = fold}, seed, e);
}

BlemishStatus split_masks(Manifest *m, const BlemishDatasetSettings *settings, Error *e) {
    const double ratio = settings->mask_ratio;
    if (!(ratio >= 0 && ratio <= 1))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "mask_ratio: found %g, expected 0 to 1", ratio);
    if (settings->mask_count >= 0 && ratio < 1)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "mask_ratio: found %g beside a mask_count of %lld, expected one",
                         ratio, (long long)settings->mask_count);
    if (m->masks_chosen || (settings->mask_count < 0 && ratio >= 1)) return BLEMISH_OK;
    size_t *members = array_new(m->count, sizeof *members, e), n = 0;
    if (m->count && members == NULL) return e->status;
    for (size_t i = 0; i < m->count; i++)
        if (m->samples[i].split == BLEMISH_SPLIT_TRAIN && m->samples[i].mask_path) members[n++] = i;
    Random r = random_new(settings->seed, fnv1a64("masks", 5, FNV1A64_BASIS));
    random_shuffle(&r, members, n);
    uint64_t kept = settings->mask_count >= 0 ? (uint64_t)settings->mask_count : (uint64_t)lround(ratio * (double)n);
    for (size_t i = kept < n ? (size_t)kept : n; i < n; i++) {
        free(m->samples[members[i]].mask_path);
        m->samples[members[i]].mask_path = NULL;
    }
    array_free(members);
    if (kept <= n) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_ARGUMENT,
                     "mask_count: found %llu, expected at most the training split's %zu masks",
                     (unsigned long long)kept, n);
}

BlemishStatus manifest_split(Manifest *m, double test_fraction, uint64_t seed, Error *e) {
    for (size_t i = 0; i < m->count; i++) m->samples[i].split = SPLIT_UNSET;
    return split_unset(m, test_fraction, seed, e);
}
