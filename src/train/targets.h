/* Training targets at feature resolution (docs/recipes.md). */
#ifndef BLEMISH_TARGETS_H
#define BLEMISH_TARGETS_H

#include "data/data.h"
#include "net/net.h"
#include "train/augment.h"
#include "train/train.h"

/* Planes at network resolution, and one at feature resolution. */
typedef struct TargetScratch {
    uint8_t *turned, *mask, *dilated;
    float *plane, *small;
} TargetScratch;

/* Masks and loss weights of anomalous training images: an entry for every view, or entries that are renewed. */
typedef struct Targets {
    const Geometry *g;
    size_t dilate, pixels; /* the recipe's; h * w */
    uint8_t *masks;        /* (entries, h, w) */
    float *weights;        /* the same shape; NULL where the recipe has no distance weights */
    uint8_t *segmented;    /* (entries): gamma, 1 where the image has a mask */
    size_t turns;          /* for targets_renew: 1 or 4 */
    uint8_t *turned;       /* (images, turns, height, width): augment_turn_mask's */
    uint8_t *known;        /* (images): 1 where the image has a mask */
    TargetScratch scratch;
} Targets;

/* samples: the anomalous training samples, in the sampler's order. Reads every mask file. views: `per_image` of every
 * sample, whose shifts are reduced by augment_keep_defect; image i has the entries from i * per_image on. Masks are
 * 0 outside roi, or NULL. The geometry must outlive the targets. */
BlemishStatus targets_open(Targets *t, const Sample *const *samples, size_t count, const Geometry *g,
                           const Recipe *recipe, Augmentation *views, size_t per_image, const BlemishImage *roi,
                           Error *e);
/* `entries` empty entries, for targets_renew. Keeps every mask at network resolution, in each turn. */
BlemishStatus targets_open_empty(Targets *t, const Sample *const *samples, size_t count, const Geometry *g,
                                 const Recipe *recipe, size_t entries, const BlemishImage *roi, Error *e);
/* Makes an entry that shows the image in this view, whose shift is reduced as above. */
BlemishStatus targets_renew(Targets *t, size_t entry, size_t image, Augmentation *view, Error *e);
void targets_close(Targets *t);
const uint8_t *targets_mask(const Targets *t, size_t entry);
const float *targets_weights(const Targets *t, size_t entry);

#endif
