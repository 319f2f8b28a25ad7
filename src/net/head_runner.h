/* What head_fold.c makes of the heads and head_forward.c runs. */
#ifndef BLEMISH_HEAD_RUNNER_H
#define BLEMISH_HEAD_RUNNER_H

#include "net/net.h"

/* Channels of padding behind each pixel's segmentation mixes: without them every pixel would start at a multiple of
 * 4 KiB, and a lifted row's reads would all fall into the same few cache sets. */
#define SEG_PAD 16

struct HeadRunner {
    Geometry g;
    const Kernels *k;
    Engine *engine;
    Lift lift;
    size_t hidden;
    Conv *seg2, *seg3, *cls2, *cls3;   /* the 1x1 mixes of f2 and f3 */
    float *seg_shift, *seg_out, *ones; /* (hidden) */
    float *cls_map, *cls_shift;        /* (25, 128), (128): BatchNorm folded in */
    float *cls_base;                   /* ICPR: (h, w, 128), what the adaptor's bias adds; else NULL */
    float *fc;                         /* (258) and the bias */
    float *s2, *s3;                    /* (pixels, hidden + SEG_PAD) */
    float *z2, *z3;                    /* (pixels, 25, 128) */
    float *t2, *t3;                    /* (h2, 5, w, 128) */
    float *rows;                       /* per thread: a lifted row and its scratch, or one row of the 128 channels */
    size_t row_floats;
    float *row_max, *row_sum; /* (h, 128) */
    void *scratch;
    double gmac;
    BlemishStage lift_work; /* what follows the mixes, for the profile */
};

#endif
