/* The loss that uses each label it has (JIMS 3.4). */
#ifndef BLEMISH_LOSS_H
#define BLEMISH_LOSS_H

#include "base/base.h"

typedef struct LossInput {
    size_t samples, pixels;
    const float *map;         /* (samples, pixels) logits */
    const float *score;       /* (samples) logits */
    const uint8_t *mask;      /* (samples, pixels) target: 0 or 1 */
    const uint8_t *label;     /* (samples) target: 0 or 1 */
    const uint8_t *segmented; /* (samples) gamma: 0 switches the image's segmentation terms off */
    const float *weight;      /* (samples, pixels) distance weights D, or NULL for 1 */
    bool unscored;            /* there is no classification head: the score's term is left out */
} LossInput;

typedef struct LossTerms {
    double l1_good, l1_bad, focal_map, focal_score, total;
} LossTerms;

/* Fills terms and the gradients of their total: dmap (samples, pixels) and dscore (samples). */
void loss_terms(const LossInput *in, LossTerms *terms, float *dmap, float *dscore);

#endif
