#include "metric/ranking.h"

#include <math.h>
#include <string.h>

enum { FEW = 64, TASK = 1 << 16 }; /* sorted by insertion; sorted by a task of its own */

uint32_t key_make(float score) {
    uint32_t bits;
    score = score == 0 ? 0 : score;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

float key_score(uint32_t key) {
    uint32_t bits = key >> 31 ? key : ~key & 0x7fffffffu;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

bool keys_make(const float *scores, size_t n, uint32_t *keys) {
    uint32_t infinite = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &scores[i], sizeof bits);
        infinite |= (bits & 0x7f800000u) == 0x7f800000u;
        keys[i] = key_make(scores[i]);
    }
    return !infinite;
}

/* ---- sorting: in place by one byte after the other, the highest first ("American flag sort", McIlroy, Bostic and
 * McIlroy 1993) ---------------------------------------------------------------------------------------------- */

static void keys_sort_byte(uint32_t *keys, size_t n, int shift) {
    if (n < FEW) {
        for (size_t i = 1; i < n; i++) {
            uint32_t key = keys[i];
            size_t j = i;
            for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
            keys[j] = key;
        }
        return;
    }
    size_t next[256], end[256] = {0};
    for (size_t i = 0; i < n; i++) end[keys[i] >> shift & 255]++;
    for (size_t b = 0, sum = 0; b < 256; b++) {
        next[b] = sum;
        end[b] = sum += end[b];
    }
    for (size_t b = 0; b < 256; b++)
        while (next[b] < end[b]) {
            uint32_t key = keys[next[b]];
            for (size_t home; (home = key >> shift & 255) != b;) {
                uint32_t displaced = keys[next[home]];
                keys[next[home]++] = key;
                key = displaced;
            }
            keys[next[b]++] = key;
        }
    if (shift == 0) return;
    for (size_t b = 0, start = 0; b < 256; start = end[b++]) {
        size_t count = end[b] - start;
#pragma omp task if (count > TASK)
        keys_sort_byte(keys + start, count, shift - 8);
    }
}

void keys_sort(uint32_t *keys, size_t n) {
#pragma omp parallel if (n > TASK)
#pragma omp single
    keys_sort_byte(keys, n, 24);
}

static void items_sort_byte(uint64_t *items, size_t n, int shift) {
    if (n < FEW) {
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
            for (size_t home; (home = item >> shift & 255) != b;) {
                uint64_t displaced = items[next[home]];
                items[next[home]++] = item;
                item = displaced;
            }
            items[next[b]++] = item;
        }
    if (shift == 32) return;
    for (size_t b = 0, start = 0; b < 256; start = end[b++]) items_sort_byte(items + start, end[b] - start, shift - 8);
}

void items_sort(uint64_t *items, size_t n) {
    items_sort_byte(items, n, 56);
}

/* ---- the sweep: nothing but false positives happens between two defective scores ------------------------------- */

typedef struct Overlap {
    double fpr, pro, area; /* the curve so far, up to the limit */
} Overlap;

static void overlap_to(Overlap *o, double fpr, double pro) {
    if (o->fpr >= FPR_LIMIT) return;
    if (fpr > FPR_LIMIT) {
        pro = o->pro + (pro - o->pro) * (FPR_LIMIT - o->fpr) / (fpr - o->fpr);
        fpr = FPR_LIMIT;
    }
    o->area += (fpr - o->fpr) * (pro + o->pro) / 2;
    o->fpr = fpr;
    o->pro = pro;
}

Sweep sweep(const uint32_t *sound, size_t negatives, const uint64_t *defects, size_t positives, const double *weights,
            size_t regions) {
    const bool both = positives && negatives;
    const double all = (double)negatives;
    size_t tp = 0, fp = 0;
    uint64_t pairs = 0; /* twice the (defect, sound) pairs in the right order, ties counted half */
    double ap = 0, f1 = -1, threshold = NAN, hit = 0;
    Overlap o = {0};
    while (tp < positives) {
        const uint32_t key = item_key(defects[tp]);
        const size_t tp_before = tp, fp_last = fp;
        while (fp < negatives && sound[fp] < key) fp++;
        const size_t fp_before = fp;
        while (fp < negatives && sound[fp] == key) fp++;
        if (both && regions) overlap_to(&o, (double)fp_before / all, hit / (double)regions);
        for (; tp < positives && item_key(defects[tp]) == key; tp++)
            if (weights) hit += weights[item_region(defects[tp])];
        if (both && regions) overlap_to(&o, (double)fp / all, hit / (double)regions);
        pairs += 2 * (uint64_t)(fp_before - fp_last) * tp_before + (uint64_t)(fp - fp_before) * (tp_before + tp);
        ap += (double)(tp - tp_before) * ((double)tp / (double)(tp + fp));
        double f1_here = 2 * (double)tp / (double)(tp + fp + positives);
        if (f1_here > f1) {
            uint32_t next = fp < negatives ? sound[fp] : UINT32_MAX;
            if (tp < positives && item_key(defects[tp]) < next) next = item_key(defects[tp]);
            double last = (double)key_score(key);
            f1 = f1_here;
            threshold = tp + fp < positives + negatives ? (last + (double)key_score(next)) / 2 : last;
        }
    }
    pairs += 2 * (uint64_t)(negatives - fp) * positives;
    if (both && regions) overlap_to(&o, 1, hit / (double)regions);
    return (Sweep){.auroc = both ? (double)pairs / 2 / ((double)positives * all) : NAN,
                   .ap = positives ? ap / (double)positives : NAN,
                   .f1 = positives ? f1 : NAN,
                   .threshold = threshold,
                   .aupro = both && regions ? o.area / FPR_LIMIT : NAN};
}
