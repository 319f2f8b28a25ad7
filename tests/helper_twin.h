/* The heads' plain graph at full feature resolution, as the reference's `lift` and `Heads.forward` write it, in naive
 * double loops: the oracle of everything the program folds, factorises, shares between samples or fuses. */
#ifndef BLEMISH_HELPER_TWIN_H
#define BLEMISH_HELPER_TWIN_H

#include "helper_numbers.h"
#include "net/net.h"
#include "train/loss.h"

typedef struct Twin {
    const Heads *heads; /* shapes and icpr; its numbers are copied when the twin is opened */
    Geometry g;
    size_t images, samples;    /* samples: images, or 2 * images in training mode */
    bool training;             /* BatchNorm over the batch */
    double *params;            /* laid out as heads->params.all; free to change between forwards */
    double *features;          /* (images, h, w, c): lifted */
    const uint8_t *noise_mask; /* training: (samples, h, w) */
    const float *noise;        /* training: (samples, h, w, c) */
    const double *seen_map;    /* what the classification head sees instead of map: stop_grad's constant. Or NULL */
    bool keep_conv; /* no parameter that `conv` depends on has changed since the last forward: it is most of the work */
    double *map, *score;                             /* results: (samples, h, w) and (samples) logits */
    double *seg_mean, *seg_var, *cls_mean, *cls_var; /* running statistics, updated by forward in training mode */
    double *seg, *cls_in, *conv, *d;                 /* (samples, h, w, hidden), (.., c), (.., 128), (.., 128) */
} Twin;

/* f2, f3: (images, h2, w2, c2) and (images, h3, w3, c3), divided by feature_scale here. noise NULL: eval mode. */
void twin_open(Twin *t, const Heads *heads, const Geometry *g, bool align_corners, size_t images, const float *f2,
               const float *f3, double feature_scale, const uint8_t *noise_mask, const float *noise);
void twin_forward(Twin *t);
void twin_close(Twin *t);
/* The twin's number that stands for the parameter at `p`, which points into heads->params. */
double *twin_param(const Twin *t, const float *p);

/* The reference's `loss_terms` of logits in double; targets and weights are `in`'s, its logits are not read. */
LossTerms twin_loss(const LossInput *in, const double *map, const double *score);

/* Heads with random numbers everywhere: weights as large as the reference's `fill` makes them, BatchNorm scales of
 * both signs, variances in [0.5, 1.5). Closed with heads_close. */
void random_heads(Random *r, Heads *heads, size_t c, size_t hidden);

#endif
