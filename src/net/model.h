/* The model file: everything a session needs, in one safetensors file (docs/model-file.md). */
#ifndef BLEMISH_MODEL_H
#define BLEMISH_MODEL_H

#include "net/calibration.h"
#include "net/net.h"

typedef struct Model {
    Trunk trunk;
    TensorFile file; /* where the trunk's weights are; empty for a model that was made, not read */
    Heads heads;
    Geometry geometry;
    bool align_corners;
    bool quantised;     /* weights are whole multiples of a row's scale, and activations have steps */
    bool tiles;         /* images are judged by tiles of the network's input size, at their own resolution */
    float tile_overlap; /* part of a tile's side that neighbours share at least, 0 to TILE_OVERLAP_MAX */
    float threshold, pixel_threshold;
    size_t min_area, border; /* of regions, in pixels of the image; 0: none */
    uint8_t *roi;            /* region of interest: 0 or 1 for each pixel of the network's input; NULL: all of it */
    Calibration calibration;
    char regime[16];          /* "unsupervised", "supervised", "none" */
    char program_version[32]; /* of the program that made it */
    char *recipe_json;        /* the recipe's object, or NULL */
    char *metrics_json;       /* the last evaluation's object, or NULL */
    char fingerprint[65];     /* of the training data; "" when untrained */
    char weights_sha256[65];  /* of the file that the backbone's weights are from; "" where that is not known */
    char *header_json;        /* the whole header as text, rebuilt by model_header */
} Model;

#define MODEL_FORMAT "blemish-model"
/* format_version is 1, or 2 where a program that knows only 1 would misread the file: int8 weights, a verdict that is
 * not the score's, tiles, a least area or border of regions, or a region of interest. */

#define TILE_OVERLAP 0.25f /* of models that do not say */
#define TILE_OVERLAP_MAX 0.5

/* Fills what every new model has: the library's version, thresholds of 0.5, regime "none". */
void model_start(Model *model);
/* Rebuilds header_json from the other fields. */
BlemishStatus model_header(Model *model, Error *e);
/* Replaces *model, which holds nothing before; on failure it holds nothing after. The file stays open and the trunk
 * points to it: a Model is not copied. */
BlemishStatus model_read(Model *model, const char *path, Error *e);
BlemishStatus model_write(const Model *model, const char *path, Error *e);
void model_close(Model *model);

/* ---- model_roi.c: the region of interest -------------------------------------------------------------------- */
/* Keeps a copy of a mask of one channel, not 0 where the image counts, brought to the network's input; NULL, or one
 * that leaves nothing out: the whole image counts. *changed: whether that is another region than before. Refused where
 * nothing would count, and in a model by tiles; the model is then as before. */
BlemishStatus model_set_roi(Model *model, const BlemishImage *mask, bool *changed, Error *e);
/* Part of the image that counts, above 0 and at most 1. */
double model_roi_share(const Model *model);

#endif
