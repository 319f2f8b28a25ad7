/* interval: how far figures of so many images can be trusted. */
#ifndef BLEMISH_METRIC_INTERVAL_H
#define BLEMISH_METRIC_INTERVAL_H

#include "metric/pixels.h"

/* ---- binomial.c: k of n, exactly ------------------------------------------------------------------------- */

/* P(X <= k) for X of n draws that each succeed with probability p. */
double binomial_at_most(size_t k, size_t n, double p);
/* Clopper and Pearson's one-sided bounds: the largest rate at which k or fewer of n still have probability alpha, the
 * smallest at which k or more have. 1 and 0 where there is none. */
double binomial_upper(size_t k, size_t n, double alpha);
double binomial_lower(size_t k, size_t n, double alpha);
/* Both, each at half of 1 - confidence; 0 to 1 where n is 0. */
BlemishInterval binomial_interval(size_t k, size_t n, double confidence);
/* Images of which not one may fail to show a rate below `rate` (one-sided); both in (0, 1). */
size_t binomial_needed(double rate, double confidence);

/* ---- bootstrap.c: percentiles of metrics over images drawn again, with replacement, from each class ----------- */

typedef struct Bootstrap {
    double confidence; /* in (0, 1) */
    size_t resamples;
    uint64_t seed;
} Bootstrap;

/* NaN where the metric is. */
typedef struct ScoreIntervals {
    BlemishInterval auroc, ap, f1;
} ScoreIntervals;
BlemishStatus bootstrap_scores(const Bootstrap *b, const float *scores, const uint8_t *labels, size_t n,
                               ScoreIntervals *out, Error *e);
/* What they are percentiles of: values (3, resamples), rows AUROC, AP, best F1. n is 1 or more. */
BlemishStatus bootstrap_score_values(const Bootstrap *b, const float *scores, const uint8_t *labels, size_t n,
                                     double *values, Error *e);

/* ---- bootstrap_pixels.c ---------------------------------------------------------------------------------- */

/* Every map's pixels counted in common bins of their values, PIXEL_BINS at most, whose edges are quantiles: half of the
 * sound pixels' and half of the defective ones'. 4 KiB a map, 12 more where it has a defect. */
enum { PIXEL_BINS = 1024 };
typedef struct PixelHistograms {
    size_t maps, marked, bins; /* marked: maps with a defect */
    size_t *slots;             /* of a map: its place in defects and overlaps, SIZE_MAX without a defect */
    uint32_t *sound;           /* (maps, bins) */
    uint32_t *defects;         /* (marked, bins) */
    double *overlaps;          /* (marked, bins): each pixel by the reciprocal of its region's area */
    size_t *regions;           /* (marked) */
} PixelHistograms;
/* Of a ranking whose metrics were not asked for yet. On failure nothing is held. */
BlemishStatus pixel_histograms_open(PixelHistograms *h, const PixelRanking *r, Error *e);
void pixel_histograms_close(PixelHistograms *h);
/* The metrics that the bins alone give. */
PixelMetrics pixel_histograms_metrics(const PixelHistograms *h);

typedef struct PixelIntervals {
    BlemishInterval p_auroc, ap_loc, aupro, best_f1;
} PixelIntervals;
/* Every resample's metrics into values (4, resamples), rows in the order above; NaN without a defect. Maps with and
 * without a defect are drawn apart. Resampled metrics are the bins', moved by what these miss of the exact ones. */
BlemishStatus bootstrap_pixel_values(const Bootstrap *b, const PixelHistograms *h, const PixelMetrics *exact,
                                     double *values, Error *e);
/* Their intervals, within [0, 1]. */
BlemishStatus bootstrap_pixels(const Bootstrap *b, const double *values, PixelIntervals *out, Error *e);

/* ---- paired.c -------------------------------------------------------------------------------------------- */

/* blemish_compare of checked runs: out (count, BLEMISH_COMPARED). */
BlemishStatus bootstrap_paired(const Bootstrap *b, const BlemishRun *runs, size_t count, const uint8_t *labels,
                               size_t n, BlemishCompared *out, Error *e);

/* Shared: how often each image is drawn, within its class (0 or 1); members is scratch of n. */
void bootstrap_draw(const Bootstrap *b, size_t resample, const uint8_t *classes, size_t n, size_t *members,
                    uint32_t *times);
/* Sorts values; the interval between their outer quantiles. */
BlemishInterval bootstrap_interval(const Bootstrap *b, double *values);

#endif
