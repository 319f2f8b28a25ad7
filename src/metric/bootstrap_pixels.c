#include "metric/interval.h"
#include "metric/ranking.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { SAMPLE = 1 << 17 }; /* pixels that quantiles are taken of */

/* ---- bins ------------------------------------------------------------------------------------------------ */

/* `wanted` quantiles of keys (or of the keys of items) into edges; returns how many there are. */
static size_t add_edges(const uint32_t *keys, const uint64_t *items, size_t n, size_t wanted, uint32_t *sample,
                        uint32_t *edges) {
    const size_t stride = n / SAMPLE + 1, count = n / stride;
    for (size_t i = 0; i < count; i++) sample[i] = keys ? keys[i * stride] : item_key(items[i * stride]);
    keys_sort(sample, count);
    if (count < wanted) wanted = count;
    for (size_t k = 0; k < wanted; k++) edges[k] = sample[(k + 1) * count / (wanted + 1)];
    return wanted;
}

/* The number of edges below the key: equal keys share a bin. */
static size_t bin_of(const uint32_t *edges, size_t count, uint32_t key) {
    size_t low = 0;
    while (count > 0) {
        const size_t half = count / 2;
        const bool below = edges[low + half] < key;
        low = below ? low + half + 1 : low;
        count = below ? count - half - 1 : half;
    }
    return low;
}

static void fill_map(const PixelHistograms *h, const PixelRanking *r, const uint32_t *edges, size_t map) {
    const PixelEnds first = map ? r->ends[map - 1] : (PixelEnds){0}, end = r->ends[map];
    for (size_t i = first.sound; i < end.sound; i++)
        h->sound[map * h->bins + bin_of(edges, h->bins - 1, r->sound[i])]++;
    const size_t slot = h->slots[map];
    uint32_t low = UINT32_MAX, high = 0;
    for (size_t i = first.defects; i < end.defects; i++) {
        const uint32_t region = item_region(r->defects[i]);
        const size_t at = slot * h->bins + bin_of(edges, h->bins - 1, item_key(r->defects[i]));
        h->defects[at]++;
        h->overlaps[at] += r->weights[region];
        low = region < low ? region : low;
        high = region > high ? region : high;
    }
    if (slot != SIZE_MAX) h->regions[slot] = high - low + 1; /* a map's regions follow one another */
}

static BlemishStatus histograms_allocate(PixelHistograms *h, Error *e) {
    size_t sound, defects;
    if (!size_mul(h->maps, h->bins, &sound) || !size_mul(h->marked, h->bins, &defects))
        return error_set(e, BLEMISH_ERROR_MEMORY, "bootstrap: found %zu maps, more than memory", h->maps);
    h->sound = array_new(sound, sizeof *h->sound, e);
    if (h->marked) {
        h->defects = array_new(defects, sizeof *h->defects, e);
        h->overlaps = array_new(defects, sizeof *h->overlaps, e);
        h->regions = array_new(h->marked, sizeof *h->regions, e);
    }
    return h->sound && (!h->marked || (h->defects && h->overlaps && h->regions)) ? BLEMISH_OK : e->status;
}

BlemishStatus pixel_histograms_open(PixelHistograms *h, const PixelRanking *r, Error *e) {
    uint32_t edges[PIXEL_BINS];
    *h = (PixelHistograms){.maps = r->maps};
    if (r->maps == 0) return BLEMISH_OK;
    uint32_t *sample = array_new(SAMPLE + 1, sizeof *sample, e);
    h->slots = array_new(r->maps, sizeof *h->slots, e);
    if (sample && h->slots) {
        size_t count = add_edges(r->sound, NULL, r->negatives, PIXEL_BINS / 2, sample, edges);
        count += add_edges(NULL, r->defects, r->positives, PIXEL_BINS / 2 - 1, sample, edges + count);
        keys_sort(edges, count);
        h->bins = 1;
        for (size_t i = 0; i < count; i++)
            if (i == 0 || edges[i] != edges[i - 1]) edges[h->bins++ - 1] = edges[i];
        for (size_t i = 0; i < r->maps; i++)
            h->slots[i] = r->ends[i].defects > (i ? r->ends[i - 1].defects : 0) ? h->marked++ : SIZE_MAX;
    }
    const bool ready = sample && h->slots && histograms_allocate(h, e) == BLEMISH_OK;
    array_free(sample);
    if (!ready) {
        pixel_histograms_close(h);
        return e->status;
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < r->maps; i++) fill_map(h, r, edges, i);
    return BLEMISH_OK;
}

void pixel_histograms_close(PixelHistograms *h) {
    array_free(h->slots);
    array_free(h->sound);
    array_free(h->defects);
    array_free(h->overlaps);
    array_free(h->regions);
    *h = (PixelHistograms){0};
}

/* ---- metrics --------------------------------------------------------------------------------------------- */

/* The sums over all maps, each counted `times` times (NULL: once), and a sweep over the bins. */
static PixelMetrics metrics_of(const PixelHistograms *h, const uint32_t *times) {
    double sound[PIXEL_BINS] = {0}, defects[PIXEL_BINS] = {0}, overlaps[PIXEL_BINS] = {0};
    double positives = 0, negatives = 0, regions = 0, tp = 0, fp = 0, hit = 0, pairs = 0, ap = 0, f1 = 0;
    for (size_t i = 0; i < h->maps; i++) {
        const double weight = times ? times[i] : 1;
        const size_t slot = h->slots[i];
        if (weight == 0) continue;
        const uint32_t *from = h->sound + i * h->bins;
        for (size_t k = 0; k < h->bins; k++) sound[k] += weight * from[k];
        if (slot == SIZE_MAX) continue;
        regions += weight * (double)h->regions[slot];
        for (size_t k = 0; k < h->bins; k++) {
            defects[k] += weight * h->defects[slot * h->bins + k];
            overlaps[k] += weight * h->overlaps[slot * h->bins + k];
        }
    }
    for (size_t k = 0; k < h->bins; k++) {
        positives += defects[k];
        negatives += sound[k];
    }
    Overlap o = {0};
    for (size_t k = 0; k < h->bins; k++) {
        pairs += sound[k] * (tp + defects[k] / 2);
        tp += defects[k];
        fp += sound[k];
        hit += overlaps[k];
        if (tp > 0) ap += defects[k] * tp / (tp + fp);
        f1 = fmax(f1, 2 * tp / (tp + fp + positives));
        overlap_to(&o, fp / negatives, hit / regions);
    }
    const bool both = positives > 0 && negatives > 0;
    return (PixelMetrics){.p_auroc = both ? pairs / (positives * negatives) : NAN,
                          .ap_loc = positives > 0 ? ap / positives : NAN,
                          .aupro = both ? o.area / FPR_LIMIT : NAN,
                          .best_f1 = positives > 0 ? f1 : NAN,
                          .best_f1_threshold = NAN};
}

PixelMetrics pixel_histograms_metrics(const PixelHistograms *h) {
    return metrics_of(h, NULL);
}

/* ---- resampling ------------------------------------------------------------------------------------------ */

static BlemishInterval within_bounds(const Bootstrap *b, double *values) {
    const BlemishInterval i = bootstrap_interval(b, values);
    return isnan(i.low) ? i : (BlemishInterval){fmax(0, i.low), fmin(1, i.high)};
}

BlemishStatus bootstrap_pixel_values(const Bootstrap *b, const PixelHistograms *h, const PixelMetrics *exact,
                                     double *values, Error *e) {
    const int threads = omp_get_max_threads();
    size_t all;
    if (!size_mul(h->maps, (size_t)threads, &all))
        return error_set(e, BLEMISH_ERROR_MEMORY, "bootstrap: found %zu maps, more than memory", h->maps);
    for (size_t i = 0; i < 4 * b->resamples; i++) values[i] = NAN;
    if (h->marked == 0) return BLEMISH_OK;
    uint8_t *classes = array_new(h->maps, sizeof *classes, e);
    uint32_t *times = array_new(all, sizeof *times, e);
    size_t *members = array_new(all, sizeof *members, e);
    const bool ready = classes && times && members;
    if (ready) {
        double *aurocs = values, *aps = aurocs + b->resamples, *pros = aps + b->resamples, *f1s = pros + b->resamples;
        const PixelMetrics binned = pixel_histograms_metrics(h);
        for (size_t i = 0; i < h->maps; i++) classes[i] = h->slots[i] != SIZE_MAX;
#pragma omp parallel for num_threads(threads)
        for (size_t k = 0; k < b->resamples; k++) {
            const size_t thread = (size_t)omp_get_thread_num();
            bootstrap_draw(b, k, classes, h->maps, members + thread * h->maps, times + thread * h->maps);
            const PixelMetrics m = metrics_of(h, times + thread * h->maps);
            aurocs[k] = m.p_auroc + (exact->p_auroc - binned.p_auroc);
            aps[k] = m.ap_loc + (exact->ap_loc - binned.ap_loc);
            pros[k] = m.aupro + (exact->aupro - binned.aupro);
            f1s[k] = m.best_f1 + (exact->best_f1 - binned.best_f1);
        }
    }
    array_free(classes), array_free(times), array_free(members);
    return ready ? BLEMISH_OK : e->status;
}

BlemishStatus bootstrap_pixels(const Bootstrap *b, const double *values, PixelIntervals *out, Error *e) {
    double *sorted = array_new(4, b->resamples * sizeof *sorted, e);
    if (sorted == NULL) return e->status;
    memcpy(sorted, values, 4 * b->resamples * sizeof *sorted);
    *out = (PixelIntervals){within_bounds(b, sorted), within_bounds(b, sorted + b->resamples),
                            within_bounds(b, sorted + 2 * b->resamples), within_bounds(b, sorted + 3 * b->resamples)};
    array_free(sorted);
    return BLEMISH_OK;
}
