#include "metric/calibrate.h"
#include "metric/ranking.h"

/* A run of values with one probability. */
typedef struct Block {
    double first, last, sum, count;
} Block;

static double level(const Block *b) {
    return b->sum / b->count;
}

/* Items of falling values into blocks of rising ones; returns how many. */
static size_t pool(const uint64_t *items, size_t n, Block *blocks) {
    size_t used = 0;
    for (size_t i = n; i-- > 0;) {
        const double value = (double)key_score(item_key(items[i])), label = item_region(items[i]) == 2;
        if (used && blocks[used - 1].last == value) { /* equal values are one point from the start */
            blocks[used - 1].sum += label;
            blocks[used - 1].count++;
        } else {
            blocks[used++] = (Block){value, value, label, 1};
        }
        if (i && item_key(items[i]) == item_key(items[i - 1])) continue;
        for (; used > 1 && level(&blocks[used - 2]) >= level(&blocks[used - 1]); used--) {
            Block *a = &blocks[used - 2], *b = &blocks[used - 1];
            *a = (Block){a->first, b->last, a->sum + b->sum, a->count + b->count};
        }
    }
    return used;
}

BlemishStatus isotonic_fit(const float *values, const uint8_t *labels, size_t n, Calibration *out, Error *e) {
    if (n == 0) return error_set(e, BLEMISH_ERROR_ARGUMENT, "probability: found no images");
    uint64_t *items = array_new(n, sizeof *items, e);
    Block *blocks = array_new(n, sizeof *blocks, e);
    size_t used = 0, points = 0;
    if (items && blocks) {
        for (size_t i = 0; i < n; i++) items[i] = item_make(key_make(values[i]), labels[i] ? 2 : 1);
        items_sort(items, n);
        used = pool(items, n, blocks);
        if (2 * used > CALIBRATION_POINTS_MAX) used = 0;
        out->x = array_new(2 * used, sizeof *out->x, e);
        out->p = array_new(2 * used, sizeof *out->p, e);
        for (size_t i = 0; i < used && out->x && out->p; i++)
            for (int end = 0; end < (blocks[i].first < blocks[i].last ? 2 : 1); end++) {
                out->x[points] = end ? blocks[i].last : blocks[i].first;
                out->p[points++] = level(&blocks[i]);
            }
        out->points = points;
    }
    const bool whole = items && blocks;
    array_free(items);
    array_free(blocks);
    if (!whole || (used && points == 0)) return e->status;
    return points ? BLEMISH_OK
                  : error_set(e, BLEMISH_ERROR_ARGUMENT, "probability: found more than %d steps, expected platt",
                              CALIBRATION_POINTS_MAX / 2);
}
