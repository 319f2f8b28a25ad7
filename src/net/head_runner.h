/* What head_fold.c makes of the heads and head_forward.c runs. */
#ifndef BLEMISH_HEAD_RUNNER_H
#define BLEMISH_HEAD_RUNNER_H

#include "net/net.h"

/* Channels of padding behind each pixel's segmentation mixes: without them every pixel would start at a multiple of
 * 4 KiB, and a lifted row's reads would all fall into the same few cache sets. */
#define SEG_PAD 16

/* What one head mixes of one feature map. It is made a strip of rows at a time, as the output rows need it, and
 * forgotten behind them: memory does not grow with the image's height, and what is lifted is still in the cache. */
typedef struct Level {
    /* 1x1, on `strip` rows of features in parts for each thread. Classification: one for each row of the 5x5 kernel, so
     * that what a thread mixes and lifts next stays in its second-level cache; segmentation: the first. */
    Conv *mix[CLS_SIDE];
    const Band *y, *x;
    size_t reach;                 /* an output row reads what band rows up to this far from it do */
    size_t channels, row;         /* of the features; floats of a row of what is made of them */
    size_t part, strip, capacity; /* rows made by a thread, made at once, that fit */
    float *rows;                  /* segmentation: rows held .. made - 1; classification: a ring of the last ones */
    size_t held, made;
} Level;

struct HeadRunner {
    Geometry g;
    const Kernels *k;
    Engine *engine;
    Element type;  /* of the features, and what they are mixed in */
    float step[2]; /* int8: what a unit of f2 and of f3 is worth */
    Lift lift;
    size_t hidden;
    bool map_score;               /* there is no classification head: none of what is its own is made */
    Level seg[2];                 /* of f2 and f3: rows (w2, hidden + SEG_PAD) */
    Level cls[2];                 /* rows (5, w, 128): lifted along x */
    float *mixes;                 /* a strip's (w2, 5, 128), before that lift */
    float *seg_shift, *seg_out;   /* (hidden) */
    float *cls_map;               /* (25, 128), BatchNorm folded in */
    float *cls_scale, *cls_shift; /* (128): what is left of it, a scale of 1 */
    float *cls_base;              /* ICPR: (h, w, 128), what the adaptor's bias adds; else NULL */
    float *fc;                    /* (258) and the bias */
    float *scratch_rows;          /* per thread: what a row of either head needs */
    size_t scratch_floats;
    float *row_max, *row_sum; /* (h, 128) */
    void *scratch;
    double gmac;
    BlemishStage lift_work; /* what follows the mixes, for the profile */
};

/* First and one past the last band row that output row y needs. */
static inline size_t level_first(const Level *l, size_t y) {
    return l->y->first[y > l->reach ? y - l->reach : 0];
}
static inline size_t level_end(const Level *l, size_t y) {
    return l->y->first[y + l->reach < l->y->out ? y + l->reach : l->y->out - 1] + l->y->taps;
}

#endif
