/* Runs over the same images: every resample draws the same images for all of them, so that what makes an image easy or
 * hard for both leaves their difference alone. */
#include "metric/interval.h"
#include "metric/metric.h"

#include <math.h>

enum { OF_IMAGES = BLEMISH_COMPARED_P_AUROC };

/* ---- verdicts -------------------------------------------------------------------------------------------- */

typedef struct Verdicts {
    double found, missed, alarms, passed;
} Verdicts;

/* Each image counted `times` times (NULL: once). */
static Verdicts verdicts_of(const uint8_t *defects, const uint8_t *labels, const uint32_t *times, size_t n) {
    Verdicts v = {0};
    for (size_t i = 0; i < n; i++)
        *(labels[i] ? defects[i] ? &v.found : &v.missed : defects[i] ? &v.alarms : &v.passed) += times ? times[i] : 1;
    return v;
}

/* F1, accuracy, escape rate, false-alarm rate into every stride-th of values. */
static void verdict_metrics(const Verdicts *v, double *values, size_t stride) {
    const double defects = v->found + v->missed, good = v->alarms + v->passed;
    values[0] = defects > 0 ? 2 * v->found / (v->found + v->alarms + defects) : NAN;
    values[stride] = (v->found + v->passed) / (defects + good);
    values[2 * stride] = defects > 0 ? v->missed / defects : NAN;
    values[3 * stride] = good > 0 ? v->alarms / good : NAN;
}

/* Images of the given label (2: of both) that one run judges rightly and the other wrongly. */
typedef struct Discordant {
    size_t images, better, worse; /* worse: the first run is right */
} Discordant;

static Discordant discordant(const BlemishRun *run, const BlemishRun *first, const uint8_t *labels, size_t n,
                             uint8_t label) {
    Discordant d = {0};
    for (size_t i = 0; i < n; i++) {
        if (label != 2 && labels[i] != label) continue;
        d.images++;
        d.better += run->defects[i] == labels[i] && first->defects[i] != labels[i];
        d.worse += run->defects[i] != labels[i] && first->defects[i] == labels[i];
    }
    return d;
}

/* Where few images differ the bootstrap is too sure. Given how many differ, how many of them speak for one run is
 * binomial: the exact interval of that, from which McNemar's exact test follows, widens the bootstrap's. */
static void widen(BlemishCompared *c, const Discordant *d, bool right_counts, double confidence) {
    const size_t differ = d->better + d->worse, up = right_counts ? d->better : d->worse;
    if (differ == 0) return;
    const BlemishInterval part = binomial_interval(up, differ, confidence);
    const double scale = (double)differ / (double)d->images;
    c->difference_interval.low = fmin(c->difference_interval.low, scale * (2 * part.low - 1));
    c->difference_interval.high = fmax(c->difference_interval.high, scale * (2 * part.high - 1));
}

/* ---- one run --------------------------------------------------------------------------------------------- */

typedef struct Scratch {
    double *first, *values; /* (OF_IMAGES, resamples): the first run's, the present one's */
    double *sorted;         /* of one metric */
    size_t *members;
    uint32_t *times;
} Scratch;

static BlemishStatus measure(const BlemishRun *run, const uint8_t *labels, size_t n, double *values, Error *e) {
    double threshold;
    if (metric_auroc(run->scores, labels, n, &values[BLEMISH_COMPARED_I_AUROC], e) ||
        metric_average_precision(run->scores, labels, n, &values[BLEMISH_COMPARED_AP_DET], e) ||
        metric_best_f1(run->scores, labels, n, &values[BLEMISH_COMPARED_BEST_F1], &threshold, e) ||
        metric_auroc(run->map_maxima, labels, n, &values[BLEMISH_COMPARED_SEG_I_AUROC], e) ||
        metric_average_precision(run->map_maxima, labels, n, &values[BLEMISH_COMPARED_SEG_AP_DET], e))
        return e->status;
    const Verdicts v = verdicts_of(run->defects, labels, NULL, n);
    verdict_metrics(&v, &values[BLEMISH_COMPARED_F1], 1);
    return BLEMISH_OK;
}

/* Rows of values in the order of BlemishComparedMetric: the map maxima's best F1 is written and then overwritten. */
static BlemishStatus resample(const Bootstrap *b, const BlemishRun *run, const uint8_t *labels, size_t n, Scratch *s,
                              Error *e) {
    const size_t times = b->resamples;
    if (bootstrap_score_values(b, run->scores, labels, n, s->values, e) ||
        bootstrap_score_values(b, run->map_maxima, labels, n, s->values + BLEMISH_COMPARED_SEG_I_AUROC * times, e))
        return e->status;
    for (size_t k = 0; k < times; k++) {
        bootstrap_draw(b, k, labels, n, s->members, s->times);
        const Verdicts v = verdicts_of(run->defects, labels, s->times, n);
        verdict_metrics(&v, s->values + BLEMISH_COMPARED_F1 * times + k, times);
    }
    return BLEMISH_OK;
}

static bool excludes_0(BlemishInterval i) {
    return i.low > 0 || i.high < 0;
}

/* Intervals of a metric and of its difference, from the resamples of both runs; NULL where there are none. */
static void fill(BlemishCompared *c, const Bootstrap *b, double value, double first_value, const double *values,
                 const double *first, double *sorted) {
    const BlemishInterval none = {NAN, NAN};
    *c = (BlemishCompared){.value = value, .interval = none, .difference = NAN, .difference_interval = none};
    if (values == NULL) return;
    for (size_t k = 0; k < b->resamples; k++) sorted[k] = values[k];
    c->interval = bootstrap_interval(b, sorted);
    if (first == NULL) return;
    for (size_t k = 0; k < b->resamples; k++) sorted[k] = values[k] - first[k];
    c->difference = value - first_value;
    c->difference_interval = bootstrap_interval(b, sorted);
}

static void compare_images(const Bootstrap *b, const BlemishRun *run, const BlemishRun *first, const uint8_t *labels,
                           size_t n, const double *values, const double *first_values, Scratch *s,
                           BlemishCompared *out) {
    const Verdicts v = verdicts_of(run->defects, labels, NULL, n);
    const double counts[][2] = {
        {v.found + v.passed, (double)n}, {v.missed, v.found + v.missed}, {v.alarms, v.alarms + v.passed}};
    for (size_t m = 0; m < OF_IMAGES; m++)
        fill(&out[m], b, values[m], first_values[m], s->values + m * b->resamples, s->first + m * b->resamples,
             s->sorted);
    for (size_t i = 0; i < 3; i++) { /* a rate's own interval is exact */
        BlemishCompared *c = &out[BLEMISH_COMPARED_ACCURACY + i];
        const uint8_t label = i == 0 ? 2 : i == 1 ? 1 : 0;
        const Discordant d = discordant(run, first, labels, n, label);
        if (isnan(c->value)) continue;
        c->interval = binomial_interval((size_t)counts[i][0], (size_t)counts[i][1], b->confidence);
        widen(c, &d, i == 0, b->confidence);
    }
}

static BlemishStatus compare_pixels(const Bootstrap *b, const BlemishRun *run, const BlemishRun *first,
                                    BlemishCompared *out, Error *e) {
    const size_t times = run->pixels_resampled ? run->pixel_resamples : 0;
    const Bootstrap of_pixels = {b->confidence, times, b->seed};
    const bool pairs = first->pixels_resampled && times && first->pixel_resamples == times;
    double *sorted = times ? array_new(times, sizeof *sorted, e) : NULL;
    if (times && sorted == NULL) return e->status;
    for (size_t m = 0; m < BLEMISH_COMPARED - OF_IMAGES; m++) {
        BlemishCompared *c = &out[OF_IMAGES + m];
        fill(c, &of_pixels, run->pixels[m], first->pixels[m], times ? run->pixels_resampled + m * times : NULL,
             pairs ? first->pixels_resampled + m * times : NULL, sorted);
        if (!isnan(c->interval.low))
            c->interval = (BlemishInterval){fmax(0, c->interval.low), fmin(1, c->interval.high)};
    }
    array_free(sorted);
    return BLEMISH_OK;
}

/* ---- all runs -------------------------------------------------------------------------------------------- */

static bool scratch_open(Scratch *s, size_t resamples, size_t n, Error *e) {
    s->first = array_new(OF_IMAGES, resamples * sizeof *s->first, e);
    s->values = array_new(OF_IMAGES, resamples * sizeof *s->values, e);
    s->sorted = array_new(resamples, sizeof *s->sorted, e);
    s->members = array_new(n, sizeof *s->members, e);
    s->times = array_new(n, sizeof *s->times, e);
    return s->first && s->values && s->sorted && s->members && s->times;
}

static void scratch_close(Scratch *s) {
    array_free(s->first), array_free(s->values), array_free(s->sorted), array_free(s->members), array_free(s->times);
}

BlemishStatus bootstrap_paired(const Bootstrap *b, const BlemishRun *runs, size_t count, const uint8_t *labels,
                               size_t n, BlemishCompared *out, Error *e) {
    Scratch s;
    double first[OF_IMAGES], values[OF_IMAGES];
    BlemishStatus status = scratch_open(&s, b->resamples, n, e) ? BLEMISH_OK : e->status;
    for (size_t k = 0; k < count && status == BLEMISH_OK; k++, out += BLEMISH_COMPARED) {
        status = measure(&runs[k], labels, n, values, e);
        if (status == BLEMISH_OK) status = resample(b, &runs[k], labels, n, &s, e);
        if (status != BLEMISH_OK) break;
        for (size_t m = 0; m < OF_IMAGES && k == 0; m++) first[m] = values[m];
        for (size_t i = 0; i < OF_IMAGES * b->resamples && k == 0; i++) s.first[i] = s.values[i];
        compare_images(b, &runs[k], &runs[0], labels, n, values, first, &s, out);
        status = compare_pixels(b, &runs[k], &runs[0], out, e);
        for (size_t m = 0; m < BLEMISH_COMPARED; m++) out[m].differs = excludes_0(out[m].difference_interval);
    }
    scratch_close(&s);
    return status;
}
