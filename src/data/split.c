#include "data/layout.h"

#include <math.h>
#include <string.h>

/* Draws the test part of `members` (n sample indices of one type, in path order). */
static void split_type(Manifest *m, size_t *members, size_t n, double test_fraction, uint64_t seed) {
    const char *type = m->samples[members[0]].type;
    Random r = random_new(seed, fnv1a64(type, strlen(type), FNV1A64_BASIS));
    random_shuffle(&r, members, n);
    size_t test = (size_t)lround(test_fraction * (double)n);
    if (n > 1 && test == 0 && test_fraction > 0) test = 1;
    if (n > 1 && test == n && test_fraction < 1) test = n - 1;
    for (size_t i = 0; i < n; i++) m->samples[members[i]].split = i < test ? BLEMISH_SPLIT_TEST : BLEMISH_SPLIT_TRAIN;
}

BlemishStatus split_unset(Manifest *m, double test_fraction, uint64_t seed, Error *e) {
    if (!(test_fraction >= 0 && test_fraction <= 1))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "test_fraction: found %g, expected 0 to 1", test_fraction);
    size_t *members = array_new(m->count, sizeof *members, e);
    if (m->count && members == NULL) return e->status;
    for (size_t first = 0; first < m->count; first++) {
        if (m->samples[first].split != SPLIT_UNSET) continue;
        size_t n = 0;
        for (size_t i = first; i < m->count; i++)
            if (m->samples[i].split == SPLIT_UNSET && strcmp(m->samples[i].type, m->samples[first].type) == 0)
                members[n++] = i;
        split_type(m, members, n, test_fraction, seed);
    }
    array_free(members);
    return BLEMISH_OK;
}

BlemishStatus manifest_split(Manifest *m, double test_fraction, uint64_t seed, Error *e) {
    for (size_t i = 0; i < m->count; i++) m->samples[i].split = SPLIT_UNSET;
    return split_unset(m, test_fraction, seed, e);
}
