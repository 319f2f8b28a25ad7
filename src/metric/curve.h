/* curve: the points that ROC, precision-recall and per-region-overlap plots are drawn from. */
#ifndef BLEMISH_METRIC_CURVE_H
#define BLEMISH_METRIC_CURVE_H

#include "metric/pixels.h"

typedef struct Curve {
    BlemishCurvePoint *points; /* thresholds fall */
    size_t count, capacity;
} Curve;

/* Points lie at distinct scores. Between two neighbours no quantity strays further than this from the first of them
 * (CURVE_STEP_FPR: the false-positive rate, of which overlap is drawn up to 0.3 only); every score is a point where so
 * few are enough. */
#define CURVE_STEP (1.0 / 512)
#define CURVE_STEP_FPR (1.0 / 1024)

/* Of n images. Empty where a class is missing. On failure nothing is held. */
BlemishStatus curve_scores(Curve *c, const float *scores, const uint8_t *labels, size_t n, Error *e);
/* Of a ranking whose metrics were asked for (it is sorted). Empty without defective or without sound pixels. */
BlemishStatus curve_pixels(Curve *c, const PixelRanking *r, Error *e);
void curve_close(Curve *c);

#endif
