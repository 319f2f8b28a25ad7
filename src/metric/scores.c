#include "metric/metric.h"
#include "metric/ranking.h"

static BlemishStatus sweep_scores(const float *scores, const uint8_t *labels, size_t n, Sweep *out, Error *e) {
    if (n > UINT32_MAX) return error_set(e, BLEMISH_ERROR_ARGUMENT, "scores: found %zu, expected fewer than 2^32", n);
    uint32_t *sound = array_new(n, sizeof *sound, e);
    uint64_t *defects = array_new(n, sizeof *defects, e);
    BlemishStatus status = n && (sound == NULL || defects == NULL) ? e->status : BLEMISH_OK;
    size_t negatives = 0, positives = 0;
    for (size_t i = 0; i < n && status == BLEMISH_OK; i++) {
        uint32_t key;
        if (!keys_make(&scores[i], 1, &key))
            status =
                error_set(e, BLEMISH_ERROR_ARGUMENT, "scores: found %g, expected finite numbers", (double)scores[i]);
        else if (labels[i])
            defects[positives++] = item_make(key, 1);
        else
            sound[negatives++] = key;
    }
    if (status == BLEMISH_OK) {
        keys_sort(sound, negatives);
        items_sort(defects, positives);
        *out = sweep(sound, negatives, defects, positives, NULL, 0);
    }
    array_free(sound);
    array_free(defects);
    return status;
}

BlemishStatus metric_auroc(const float *scores, const uint8_t *labels, size_t n, double *out, Error *e) {
    Sweep s;
    BlemishStatus status = sweep_scores(scores, labels, n, &s, e);
    if (status == BLEMISH_OK) *out = s.auroc;
    return status;
}

BlemishStatus metric_average_precision(const float *scores, const uint8_t *labels, size_t n, double *out, Error *e) {
    Sweep s;
    BlemishStatus status = sweep_scores(scores, labels, n, &s, e);
    if (status == BLEMISH_OK) *out = s.ap;
    return status;
}

BlemishStatus metric_best_f1(const float *scores, const uint8_t *labels, size_t n, double *f1, double *threshold,
                             Error *e) {
    Sweep s;
    BlemishStatus status = sweep_scores(scores, labels, n, &s, e);
    if (status != BLEMISH_OK) return status;
    *f1 = s.f1;
    *threshold = s.threshold;
    return BLEMISH_OK;
}
