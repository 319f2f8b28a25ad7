#include "metric/metric.h"
#include "image/image.h"

#include <math.h>
#include <string.h>

/* All scores with their truth, to be sorted by descending score: an item is the score's key (its bits, mapped so that
 * smaller keys are larger scores) above the number of the region it belongs to (0: no defect). Eight bytes a pixel and
 * sorted in place, so that a whole test set's pixels fit beside their maps. */
typedef struct Ranking {
    uint64_t *items;
    size_t count;
} Ranking;

static const double fpr_limit = 0.3;

static uint64_t item_make(float score, uint32_t region) {
    uint32_t bits;
    score = score == 0 ? 0 : score; /* -0 ties with 0 */
    memcpy(&bits, &score, sizeof bits);
    uint32_t ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)~ascending << 32 | region;
}

static float item_score(uint64_t item) {
    uint32_t ascending = ~(uint32_t)(item >> 32), bits = ascending >> 31 ? ascending & 0x7fffffffu : ~ascending;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static uint32_t item_region(uint64_t item) {
    return (uint32_t)item;
}

/* In-place radix sort by the bytes at shift, shift - 8, ... 32, the key's last ("American flag sort", McIlroy, Bostic
 * and McIlroy 1993). */
static void sort_items(uint64_t *items, size_t n, int shift) {
    if (n < 64) {
        for (size_t i = 1; i < n; i++) {
            uint64_t item = items[i];
            size_t j = i;
            for (; j > 0 && items[j - 1] > item; j--) items[j] = items[j - 1];
            items[j] = item;
        }
        return;
    }
    size_t next[256], end[256] = {0};
    for (size_t i = 0; i < n; i++) end[items[i] >> shift & 255]++;
    for (size_t b = 0, sum = 0; b < 256; b++) {
        next[b] = sum;
        end[b] = sum += end[b];
    }
    for (size_t b = 0; b < 256; b++)
        while (next[b] < end[b]) {
            uint64_t item = items[next[b]];
            size_t home = item >> shift & 255;
            while (home != b) {
                uint64_t displaced = items[next[home]];
                items[next[home]++] = item;
                item = displaced;
                home = item >> shift & 255;
            }
            items[next[b]++] = item;
        }
    if (shift == 32) return;
    for (size_t b = 0, start = 0; b < 256; start = end[b++]) sort_items(items + start, end[b] - start, shift - 8);
}

/* Appends n scores; regions holds labels of 0 and 1, or NULL with `numbers` holding each pixel's region. */
static BlemishStatus ranking_add(Ranking *r, const float *scores, const uint8_t *labels, const uint32_t *numbers,
                                 size_t n, Error *e) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(scores[i]))
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "scores: found %g, expected finite numbers", (double)scores[i]);
        r->items[r->count++] = item_make(scores[i], numbers ? numbers[i] : labels ? labels[i] != 0 : 0);
    }
    return BLEMISH_OK;
}

static BlemishStatus ranking_open(Ranking *r, size_t capacity, Error *e) {
    *r = (Ranking){0};
    if (capacity > UINT32_MAX) /* region numbers have 32 bits, and 2 P N below 64 */
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "scores: found %zu, expected fewer than 2^32", capacity);
    if (capacity) r->items = array_new(capacity, sizeof *r->items, e);
    return r->items || capacity == 0 ? BLEMISH_OK : e->status;
}

/* What one sweep from the highest score down finds. `weights[region]` is 1 / area; NULL with no regions. */
typedef struct Sweep {
    double auroc, ap, f1, threshold, aupro;
} Sweep;

static Sweep ranking_sweep(const Ranking *r, const double *weights, size_t regions) {
    size_t positives = 0, tp = 0, fp = 0;
    for (size_t i = 0; i < r->count; i++) positives += item_region(r->items[i]) != 0;
    size_t negatives = r->count - positives;
    uint64_t pairs = 0; /* twice the (defect, sound) pairs in the right order, ties counted half */
    double ap = 0, f1 = -1, threshold = NAN, area = 0, overlap = 0, fpr = 0, pro = 0;
    for (size_t i = 0; i < r->count;) {
        size_t first = i, tp_before = tp, fp_before = fp;
        for (; i < r->count && r->items[i] >> 32 == r->items[first] >> 32; i++) {
            uint32_t region = item_region(r->items[i]);
            tp += region != 0;
            fp += region == 0;
            if (weights && region) overlap += weights[region];
        }
        pairs += (uint64_t)(fp - fp_before) * (tp_before + tp);
        ap += (double)(tp - tp_before) * ((double)tp / (double)i);
        double f1_here = 2 * (double)tp / (double)(i + positives);
        if (f1_here > f1) {
            double last = (double)item_score(r->items[first]);
            f1 = f1_here;
            threshold = i < r->count ? (last + (double)item_score(r->items[i])) / 2 : last;
        }
        if (fpr < fpr_limit && regions && negatives) {
            double fpr_here = (double)fp / (double)negatives, pro_here = overlap / (double)regions;
            if (fpr_here > fpr_limit) {
                pro_here = pro + (pro_here - pro) * (fpr_limit - fpr) / (fpr_here - fpr);
                fpr_here = fpr_limit;
            }
            area += (fpr_here - fpr) * (pro_here + pro) / 2;
            fpr = fpr_here;
            pro = pro_here;
        }
    }
    bool both = positives && negatives;
    return (Sweep){.auroc = both ? (double)pairs / 2 / ((double)positives * (double)negatives) : NAN,
                   .ap = positives ? ap / (double)positives : NAN,
                   .f1 = positives ? f1 : NAN,
                   .threshold = positives ? threshold : NAN,
                   .aupro = regions && negatives ? area / fpr_limit : NAN};
}

static BlemishStatus sweep_scores(const float *scores, const uint8_t *labels, size_t n, Sweep *out, Error *e) {
    Ranking r;
    BlemishStatus status = ranking_open(&r, n, e);
    if (status == BLEMISH_OK) status = ranking_add(&r, scores, labels, NULL, n, e);
    if (status == BLEMISH_OK) {
        sort_items(r.items, r.count, 56);
        *out = ranking_sweep(&r, NULL, 0);
    }
    array_free(r.items);
    return status;
}

BlemishStatus metric_auroc(const float *scores, const uint8_t *labels, size_t n, double *out, Error *e) {
    Sweep sweep;
    BlemishStatus status = sweep_scores(scores, labels, n, &sweep, e);
    if (status == BLEMISH_OK) *out = sweep.auroc;
    return status;
}

BlemishStatus metric_average_precision(const float *scores, const uint8_t *labels, size_t n, double *out, Error *e) {
    Sweep sweep;
    BlemishStatus status = sweep_scores(scores, labels, n, &sweep, e);
    if (status == BLEMISH_OK) *out = sweep.ap;
    return status;
}

BlemishStatus metric_best_f1(const float *scores, const uint8_t *labels, size_t n, double *f1, double *threshold,
                             Error *e) {
    Sweep sweep;
    BlemishStatus status = sweep_scores(scores, labels, n, &sweep, e);
    if (status != BLEMISH_OK) return status;
    *f1 = sweep.f1;
    *threshold = sweep.threshold;
    return BLEMISH_OK;
}

/* The regions of all masks, numbered from 1: the reciprocal of each one's area. */
typedef struct Regions {
    double *weights;
    size_t count, capacity;
} Regions;

/* Renumbers one map's components (1..found) to follow those before, and weighs them. */
static BlemishStatus regions_add(Regions *g, uint32_t *numbers, size_t pixels, uint32_t found, Error *e) {
    size_t needed = g->count + found + 1;
    if (needed > g->capacity) {
        double *weights = array_new(2 * needed, sizeof *weights, e);
        if (weights == NULL) return e->status;
        if (g->weights) memcpy(weights, g->weights, (g->count + 1) * sizeof *weights);
        array_free(g->weights);
        g->weights = weights;
        g->capacity = 2 * needed;
    }
    for (size_t i = 0; i < pixels; i++)
        if (numbers[i]) g->weights[numbers[i] += (uint32_t)g->count] += 1;
    for (size_t k = g->count + 1; k < needed; k++) g->weights[k] = 1 / g->weights[k];
    g->count += found;
    return BLEMISH_OK;
}

BlemishStatus metric_pixels(const float *const *maps, const uint8_t *const *masks, size_t n, size_t height,
                            size_t width, PixelMetrics *out, Error *e) {
    size_t pixels, total;
    if (!size_mul(height, width, &pixels) || !size_mul(pixels, n, &total))
        return error_set(e, BLEMISH_ERROR_MEMORY, "%zu maps of %zu x %zu are larger than memory", n, height, width);
    Ranking r;
    Regions g = {0};
    BlemishStatus status = ranking_open(&r, total, e);
    uint32_t *numbers = status == BLEMISH_OK && total ? array_new(pixels, sizeof *numbers, e) : NULL;
    if (status == BLEMISH_OK && total && numbers == NULL) status = e->status;
    for (size_t i = 0; total && status == BLEMISH_OK && i < n; i++) {
        uint32_t found = 0;
        if (masks[i]) status = mask_components(masks[i], height, width, numbers, &found, e);
        if (status == BLEMISH_OK && found) status = regions_add(&g, numbers, pixels, found, e);
        if (status == BLEMISH_OK) status = ranking_add(&r, maps[i], NULL, found ? numbers : NULL, pixels, e);
    }
    array_free(numbers);
    if (status == BLEMISH_OK) {
        sort_items(r.items, r.count, 56);
        Sweep s = ranking_sweep(&r, g.weights, g.count);
        *out = (PixelMetrics){
            .p_auroc = s.auroc, .ap_loc = s.ap, .aupro = s.aupro, .best_f1 = s.f1, .best_f1_threshold = s.threshold};
    }
    array_free(g.weights);
    array_free(r.items);
    return status;
}
