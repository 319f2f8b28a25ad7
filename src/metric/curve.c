#include "metric/curve.h"
#include "metric/ranking.h"

#include <math.h>
#include <string.h>

void curve_close(Curve *c) {
    array_free(c->points);
    *c = (Curve){0};
}

static BlemishStatus append(Curve *c, const BlemishCurvePoint *point, Error *e) {
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 256;
        BlemishCurvePoint *points = array_new(capacity, sizeof *points, e);
        if (points == NULL) return e->status;
        if (c->count) memcpy(points, c->points, c->count * sizeof *points);
        array_free(c->points);
        c->points = points;
        c->capacity = capacity;
    }
    c->points[c->count++] = *point;
    return BLEMISH_OK;
}

static bool apart(const BlemishCurvePoint *a, const BlemishCurvePoint *b) {
    return fabs(a->fpr - b->fpr) > CURVE_STEP_FPR || fabs(a->recall - b->recall) > CURVE_STEP ||
           fabs(a->precision - b->precision) > CURVE_STEP || fabs(a->overlap - b->overlap) > CURVE_STEP;
}

/* One pass from the highest score down. A point is kept when the next one would be too far from the last one kept, so
 * that both ends of every jump are there. */
static BlemishStatus walk(Curve *c, const uint32_t *sound, size_t negatives, const uint64_t *defects, size_t positives,
                          const double *weights, size_t regions, Error *e) {
    size_t tp = 0, fp = 0;
    double hit = 0;
    BlemishCurvePoint here = {0};
    if (positives == 0 || negatives == 0) return BLEMISH_OK;
    for (bool first = true; tp < positives || fp < negatives; first = false) {
        uint32_t key = UINT32_MAX;
        if (tp < positives) key = item_key(defects[tp]);
        if (fp < negatives && sound[fp] < key) key = sound[fp];
        for (; tp < positives && item_key(defects[tp]) == key; tp++)
            if (weights) hit += weights[item_region(defects[tp])];
        while (fp < negatives && sound[fp] == key) fp++;
        BlemishCurvePoint next = {.threshold = key_score(key),
                                  .fpr = (double)fp / (double)negatives,
                                  .recall = (double)tp / (double)positives,
                                  .precision = (double)tp / (double)(tp + fp),
                                  .overlap = regions ? fmin(hit / (double)regions, 1) : 0};
        bool kept = c->count && c->points[c->count - 1].threshold == here.threshold;
        if (!first && !kept && apart(&c->points[c->count - 1], &next) && append(c, &here, e)) return e->status;
        if ((first || apart(&c->points[c->count - 1], &next)) && append(c, &next, e)) return e->status;
        here = next;
    }
    bool kept = c->points[c->count - 1].threshold == here.threshold;
    return kept ? BLEMISH_OK : append(c, &here, e);
}

BlemishStatus curve_pixels(Curve *c, const PixelRanking *r, Error *e) {
    *c = (Curve){0};
    if (walk(c, r->sound, r->negatives, r->defects, r->positives, r->weights, r->regions, e)) {
        curve_close(c);
        return e->status;
    }
    return BLEMISH_OK;
}

BlemishStatus curve_scores(Curve *c, const float *scores, const uint8_t *labels, size_t n, Error *e) {
    *c = (Curve){0};
    if (n == 0) return BLEMISH_OK;
    uint32_t *sound = array_new(n, sizeof *sound, e);
    uint64_t *defects = array_new(n, sizeof *defects, e);
    size_t negatives = 0, positives = 0;
    BlemishStatus status = sound && defects ? BLEMISH_OK : e->status;
    for (size_t i = 0; i < n && status == BLEMISH_OK; i++) {
        uint32_t key = key_make(scores[i]);
        if (labels[i])
            defects[positives++] = item_make(key, 0);
        else
            sound[negatives++] = key;
    }
    if (status == BLEMISH_OK) {
        keys_sort(sound, negatives);
        items_sort(defects, positives);
        status = walk(c, sound, negatives, defects, positives, NULL, 0, e);
    }
    array_free(sound);
    array_free(defects);
    if (status != BLEMISH_OK) curve_close(c);
    return status;
}
