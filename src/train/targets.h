/* Training targets at feature resolution (docs/recipes.md). */
#ifndef BLEMISH_TARGETS_H
#define BLEMISH_TARGETS_H

#include "data/data.h"
#include "net/net.h"
#include "train/train.h"

/* Masks and loss weights of every anomalous training image in each flip that is shown. */
typedef struct Targets {
    size_t pixels, flips; /* h * w; 1 or 4 */
    uint8_t *masks;       /* (images, flips, h, w) */
    float *weights;       /* the same shape; NULL where the recipe has no distance weights */
    uint8_t *segmented;   /* (images): gamma, 1 where the image has a mask */
} Targets;

/* samples: the anomalous training samples, in the sampler's order. Reads every mask file. */
BlemishStatus targets_open(Targets *t, const Sample *const *samples, size_t count, const Geometry *g,
                           const Recipe *recipe, Error *e);
void targets_close(Targets *t);
const uint8_t *targets_mask(const Targets *t, size_t image, Flip flip);
const float *targets_weights(const Targets *t, size_t image, Flip flip);

#endif
