/* Scores in order. A key is a score's bits, mapped so that smaller keys are larger scores; good images or sound pixels
 * are bare keys, defective ones are items: the key above the number of the region they belong to (from 1). So a whole
 * test set's pixels take four bytes each, sorted in place. */
#ifndef BLEMISH_RANKING_H
#define BLEMISH_RANKING_H

#include "base/base.h"

uint32_t key_make(float score); /* -0 ties with 0 */
float key_score(uint32_t key);

static inline uint64_t item_make(uint32_t key, uint32_t region) {
    return (uint64_t)key << 32 | region;
}
static inline uint32_t item_key(uint64_t item) {
    return (uint32_t)(item >> 32);
}
static inline uint32_t item_region(uint64_t item) {
    return (uint32_t)item;
}

/* n keys; false where a score is not finite. */
bool keys_make(const float *scores, size_t n, uint32_t *keys);
/* In place, ascending; items by their keys alone. */
void keys_sort(uint32_t *keys, size_t n);
void items_sort(uint64_t *items, size_t n);

/* All metrics, in one pass from the highest score down over sorted keys and items, together fewer than 2^32.
 * weights[region] is 1 / area; NULL, and 0 regions, where no overlap is asked for. */
typedef struct Sweep {
    double auroc, ap, f1, threshold, aupro;
} Sweep;
Sweep sweep(const uint32_t *sound, size_t negatives, const uint64_t *defects, size_t positives, const double *weights,
            size_t regions);

#define FPR_LIMIT 0.3 /* of AUPRO */

#endif
