#include "metric/interval.h"
#include "metric/ranking.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

void bootstrap_draw(const Bootstrap *b, size_t resample, const uint8_t *classes, size_t n, size_t *members,
                    uint32_t *times) {
    Random r = random_new(b->seed, resample);
    memset(times, 0, n * sizeof *times);
    for (uint8_t label = 0; label < 2; label++) {
        uint32_t count = 0;
        for (size_t i = 0; i < n; i++)
            if ((classes[i] != 0) == label) members[count++] = i;
        for (uint32_t k = 0; k < count; k++) times[members[random_below(&r, count)]]++;
    }
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double q) {
    const double at = q * (double)(n - 1), below = floor(at);
    const size_t i = (size_t)below;
    return i + 1 < n ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

BlemishInterval bootstrap_interval(const Bootstrap *b, double *values) {
    const double tail = (1 - b->confidence) / 2;
    for (size_t i = 0; i < b->resamples; i++)
        if (isnan(values[i])) return (BlemishInterval){NAN, NAN};
    qsort(values, b->resamples, sizeof *values, ascending);
    return (BlemishInterval){quantile(values, b->resamples, tail), quantile(values, b->resamples, 1 - tail)};
}

/* The sweep of ranking.c over items of n images (region: the image's index), each counted `times` times. */
static Sweep sweep_times(const uint64_t *items, const uint8_t *labels, const uint32_t *times, size_t n) {
    double positives = 0, negatives = 0, tp = 0, fp = 0, pairs = 0, ap = 0, f1 = 0;
    for (size_t i = 0; i < n; i++) *(labels[i] ? &positives : &negatives) += times[i];
    for (size_t i = 0; i < n;) {
        const double tp_before = tp, fp_before = fp;
        const uint32_t key = item_key(items[i]);
        for (; i < n && item_key(items[i]) == key; i++) {
            const uint32_t image = item_region(items[i]);
            *(labels[image] ? &tp : &fp) += times[image];
        }
        if (tp + fp == 0) continue;
        pairs += (fp - fp_before) * (tp_before + tp) / 2;
        ap += (tp - tp_before) * tp / (tp + fp);
        f1 = fmax(f1, 2 * tp / (tp + fp + positives));
    }
    return (Sweep){.auroc = positives > 0 && negatives > 0 ? pairs / (positives * negatives) : NAN,
                   .ap = positives > 0 ? ap / positives : NAN,
                   .f1 = positives > 0 ? f1 : NAN};
}

BlemishStatus bootstrap_score_values(const Bootstrap *b, const float *scores, const uint8_t *labels, size_t n,
                                     double *values, Error *e) {
    const int threads = omp_get_max_threads();
    size_t all;
    if (n > UINT32_MAX || !size_mul(n, (size_t)threads, &all))
        return error_set(e, BLEMISH_ERROR_MEMORY, "bootstrap: found %zu images, more than memory", n);
    uint64_t *items = array_new(n, sizeof *items, e);
    uint32_t *times = array_new(all, sizeof *times, e);
    size_t *members = array_new(all, sizeof *members, e);
    BlemishStatus status = items && times && members ? BLEMISH_OK : e->status;
    for (size_t i = 0; i < n && status == BLEMISH_OK; i++) {
        uint32_t key;
        if (!keys_make(&scores[i], 1, &key))
            status =
                error_set(e, BLEMISH_ERROR_ARGUMENT, "scores: found %g, expected finite numbers", (double)scores[i]);
        else
            items[i] = item_make(key, (uint32_t)i);
    }
    if (status == BLEMISH_OK) {
        items_sort(items, n);
        double *aurocs = values, *aps = values + b->resamples, *f1s = values + 2 * b->resamples;
#pragma omp parallel for num_threads(threads)
        for (size_t k = 0; k < b->resamples; k++) {
            const size_t thread = (size_t)omp_get_thread_num();
            bootstrap_draw(b, k, labels, n, members + thread * n, times + thread * n);
            const Sweep s = sweep_times(items, labels, times + thread * n, n);
            aurocs[k] = s.auroc, aps[k] = s.ap, f1s[k] = s.f1;
        }
    }
    array_free(items), array_free(times), array_free(members);
    return status;
}

BlemishStatus bootstrap_scores(const Bootstrap *b, const float *scores, const uint8_t *labels, size_t n,
                               ScoreIntervals *out, Error *e) {
    const BlemishInterval none = {NAN, NAN};
    *out = (ScoreIntervals){none, none, none};
    if (n == 0) return BLEMISH_OK;
    double *values = array_new(3, b->resamples * sizeof *values, e);
    if (values == NULL) return e->status;
    BlemishStatus status = bootstrap_score_values(b, scores, labels, n, values, e);
    if (status == BLEMISH_OK)
        *out = (ScoreIntervals){bootstrap_interval(b, values), bootstrap_interval(b, values + b->resamples),
                                bootstrap_interval(b, values + 2 * b->resamples)};
    array_free(values);
    return status;
}
