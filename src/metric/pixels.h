/* The pixels of a test set, gathered map by map: four bytes for each, twelve more for each defective one (and half as
 * much again while those arrays grow). */
#ifndef BLEMISH_PIXELS_H
#define BLEMISH_PIXELS_H

#include "metric/metric.h"

typedef struct PixelEnds {
    size_t sound, defects;
} PixelEnds;

typedef struct PixelRanking {
    size_t room, largest; /* pixels: of all maps together and of the largest at most */
    size_t maps, most;
    uint32_t *sound;   /* keys (ranking.h) of the sound pixels, map after map until the metrics are asked for */
    uint64_t *defects; /* items of the defective ones */
    size_t negatives, positives, defect_capacity;
    double *weights; /* of region k from 1: 1 / area */
    size_t regions, weight_capacity;
    PixelEnds *ends;          /* of each map */
    uint32_t *keys, *numbers; /* one map's: scratch */
} PixelRanking;

/* For up to `maps` maps, together of up to `room` pixels, each of up to `largest`. On failure nothing is held. */
BlemishStatus pixel_ranking_open(PixelRanking *r, size_t maps, size_t room, size_t largest, Error *e);
/* mask: 0 and 1, or NULL where no pixel is defective. Neither is kept. */
BlemishStatus pixel_ranking_add(PixelRanking *r, const float *map, const uint8_t *mask, size_t height, size_t width,
                                Error *e);
/* Sorts in place: the last thing to be asked of it. */
PixelMetrics pixel_ranking_metrics(PixelRanking *r);
void pixel_ranking_close(PixelRanking *r);

#endif
