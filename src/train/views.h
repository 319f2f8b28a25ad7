/* In which ways the training images are shown. Turns, flips and a number of random variants of each make a finite list
 * of views, whose features and targets can be kept; with data.variants 0 every showing is drawn anew. */
#ifndef BLEMISH_VIEWS_H
#define BLEMISH_VIEWS_H

#include "train/augment.h"

typedef struct Views {
    const Recipe *recipe;
    size_t normals, anomalies;
    size_t turns, flips; /* 1 or 4; of an anomalous image 1, 4, or 2 where turns make the other two */
    size_t variants;     /* of each of these; 0: endless, and the list is empty */
    size_t count, first; /* entries of the list; the first one of an anomalous image */
    Augmentation *list;  /* image after image: (turns, variants) of normals, (turns, flips, variants) of anomalies */
} Views;

/* One image as it is shown now. */
typedef struct Showing {
    Augmentation view;
    size_t entry; /* into the list; the place in the batch where there is none */
} Showing;

BlemishStatus views_open(Views *v, const Recipe *recipe, size_t normals, size_t anomalies, Error *e);
void views_close(Views *v);
/* Whether normals are only shown as they are. */
bool views_plain(const Views *v);
/* Entries of one anomalous image. */
size_t views_per_anomaly(const Views *v);
/* The image, in the sampler's order, that an entry shows. */
size_t views_image(const Views *v, size_t entry);
/* How the draw at place `place` of the batch of step `step` is shown: a function of these and the recipe's seed. */
Showing views_show(const Views *v, Draw draw, uint64_t step, size_t place);

#endif
