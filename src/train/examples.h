/* The training images as steps see them: features and targets of every view, computed once, or made anew for a batch
 * where views are endless. */
#ifndef BLEMISH_EXAMPLES_H
#define BLEMISH_EXAMPLES_H

#include "train/features.h"
#include "train/targets.h"
#include "train/views.h"

typedef struct Examples {
    const Sample *const *samples; /* normals, then anomalies */
    size_t normals;
    Views views;
    Features features;      /* an entry for every view; one for every place in the batch where they are endless */
    Targets targets;        /* the same of anomalous images */
    size_t *entries;        /* (batch): what is shown in each place */
    FeatureSource *sources; /* (batch): where views are endless */
    const Geometry *g;
    const BlemishImage *roi;          /* the training settings' */
    uint8_t *roi_turned, *roi_places; /* one view of it; what each place shows of it, (batch, h, w); NULL without */
} Examples;

/* samples must outlive the examples, as g and recipe must. *scale becomes the recipe's feature scale, or is measured on
 * the normal images as they are. Reads every image and mask; settings' cache and progress fields count. */
BlemishStatus examples_open(Examples *x, const Sample *const *samples, size_t normals, size_t anomalies, Engine *engine,
                            const Trunk *trunk, const Geometry *g, const Recipe *recipe, size_t batch,
                            const BlemishTrainSettings *settings, float *scale, Error *e);
void examples_close(Examples *x);
/* Makes what the draws of step `step` show ready in places 0 to images - 1; a function of these and the recipe. Runs
 * the backbone where views are endless. */
BlemishStatus examples_show(Examples *x, const Draw *draws, size_t images, uint64_t step, Error *e);
/* The features in a place of the batch, as floats times `scale`. */
void examples_features(const Examples *x, size_t place, float scale, float *f2, float *f3);
/* Which pixels (h, w) of what a place shows are inside the region of interest; NULL where there is none. */
const uint8_t *examples_roi(const Examples *x, size_t place);
/* The entry of targets in a place that shows an anomalous image. */
size_t examples_target(const Examples *x, size_t place);

#endif
