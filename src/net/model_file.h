/* Private to model.c and model_int8.c: what a model file will hold. */
#ifndef BLEMISH_MODEL_FILE_H
#define BLEMISH_MODEL_FILE_H

#include "net/model.h"

/* Tensors with the memory of their names and of the values that are not the model's own, in file order. */
enum { LISTING_MAX = 4 * TRUNK_CONVS_MAX + HEAD_TENSORS + 16 };
typedef struct Listing {
    Tensor tensors[LISTING_MAX];
    char names[LISTING_MAX][80];
    void *owned[LISTING_MAX]; /* or NULL; freed with the listing */
    size_t count;
} Listing;

/* The name is printed before. */
Tensor *list_tensor(Listing *l, TensorType type, size_t rank, const size_t *shape, const void *data);
/* One of the reference's tensors. */
BlemishStatus list_head(Listing *l, const Heads *heads, size_t index, Error *e);

/* ---- model_roi.c ------------------------------------------------------------------------------------------- */
/* The tensor "roi" of a file that has one, into a model with a geometry. */
BlemishStatus roi_read(Model *model, const TensorFile *file, Error *e);

/* ---- model_int8.c: the same of a quantised model ---------------------------------------------------------- */
BlemishStatus list_quantised(Listing *l, const Model *model, Error *e);
/* Into opened heads. */
BlemishStatus heads_load_quantised(Heads *heads, const Trunk *trunk, const TensorFile *file, Error *e);

#endif
