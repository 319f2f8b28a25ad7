/* metric: exact curves and areas. All take scores in any order and labels of 0 and 1. */
#ifndef BLEMISH_METRIC_H
#define BLEMISH_METRIC_H

#include "base/base.h"

/* Area under the ROC curve, ties by trapezoids (the Mann-Whitney statistic); NaN when a class is missing. */
BlemishStatus metric_auroc(const float *scores, const uint8_t *labels, size_t n, double *out, Error *e);
/* Average precision: sum over distinct thresholds of (R_n - R_{n-1}) P_n; NaN without positives. */
BlemishStatus metric_average_precision(const float *scores, const uint8_t *labels, size_t n, double *out, Error *e);
/* Largest F1 over thresholds "score >= t", and that t: halfway between the last score accepted and the next lower
 * one, so that it is no score's exact value (the lowest score itself where all are accepted); NaN without
 * positives. Ties go to the highest threshold. */
BlemishStatus metric_best_f1(const float *scores, const uint8_t *labels, size_t n, double *f1, double *threshold,
                             Error *e);

typedef struct PixelMetrics {
    double p_auroc, ap_loc, aupro, best_f1, best_f1_threshold;
} PixelMetrics;
/* Over n maps of height x width and their masks of 0/1 bytes (NULL = no defect). All pixels of all maps. AUPRO:
 * per-region overlap over 8-connected regions, integrated by trapezoids over the false-positive rate up to 0.3 (the
 * curve interpolated linearly at 0.3) and divided by 0.3; the curve starts at (0, 0). */
BlemishStatus metric_pixels(const float *const *maps, const uint8_t *const *masks, size_t n, size_t height,
                            size_t width, PixelMetrics *out, Error *e);

#endif
