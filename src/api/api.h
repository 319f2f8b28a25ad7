/* api: the public functions of blemish.h over the folders below. Only src/api includes this.
 *
 * Every public function starts a handle's error afresh (error_begin), because internal functions return the status
 * they find in it. */
#ifndef BLEMISH_API_INTERNAL_H
#define BLEMISH_API_INTERNAL_H

#include "data/data.h"
#include "data/roi.h"
#include "data/surfaces.h"
#include "infer/infer.h"
#include "metric/curve.h"
#include "net/model.h"
#include "train/train.h"

struct BlemishModel {
    Model model;
    bool open;
    Error error;
};

struct BlemishSession {
    Session session;
    Curve curves[BLEMISH_CURVES]; /* the last evaluation's */
    double *pixels_resampled;     /* (4, pixel_resamples), the last evaluation's; NULL without */
    size_t pixel_resamples;
    bool open;
    Error error;
};

struct BlemishDataset {
    Manifest manifest;
    Check check; /* the last one's */
    bool open;
    Error error;
};

struct BlemishRecipe {
    Recipe recipe;
    Error error;
};

struct BlemishGallery {
    Gallery gallery;
    bool open;
    Error error;
};

/* ---- handle.c -------------------------------------------------------------------------------------------- */
/* A zeroed handle; NULL when memory is short. */
void *handle_new(size_t size);
Error *error_begin(Error *error);
/* Copies the text to a caller's BLEMISH_ERROR_SIZE bytes (or NULL); returns the status. */
BlemishStatus error_report(const Error *e, char *error);
/* Sets "NAME: found a null pointer" and returns BLEMISH_ERROR_ARGUMENT. */
BlemishStatus error_null(Error *e, const char *name);

/* ---- evaluate.c ------------------------------------------------------------------------------------------ */
BlemishStatus check_resampling(double confidence, size_t resamples, Error *e);

/* ---- calibrate.c ----------------------------------------------------------------------------------------- */
/* Good values (label 0) that reach the threshold, and defective ones that do not. */
typedef struct Mistakes {
    size_t false_alarms, escapes;
} Mistakes;
Mistakes count_mistakes(const float *values, const uint8_t *labels, size_t n, float threshold);

/* ---- judge.c --------------------------------------------------------------------------------------------- */
/* One image of a split, judged. */
typedef struct Judged {
    const Sample *sample;
    BlemishImage image;
    uint8_t *mask;      /* 0 or 1 at the map's size; NULL without a mask, or with an empty one */
    double defect_area; /* part of the mask that is 1, at the mask's own size; NaN without one, or with an empty one */
    BlemishResult result;
    double seconds; /* decode to result */
    /* What pixel metrics are of: map and mask, or where these have more than PIXELS_JUDGED pixels the largest values of
     * squares of `square` pixels a side. */
    size_t height, width, square;
    const float *map;
    const uint8_t *map_mask;
} Judged;
#define PIXELS_JUDGED ((size_t)1 << 20)
typedef BlemishStatus (*JudgedFn)(void *user, const Judged *judged, Error *e);

/* Runs the session over one split in its order, one image at a time, and hands each to `each`; progress may be
 * NULL. */
BlemishStatus judge_split(Session *session, const Manifest *manifest, BlemishSplit split, JudgedFn each, void *user,
                          BlemishProgressFn progress, void *progress_user, Error *e);
/* Adds how many pixels pixel metrics of the split's images with a known label have: of all together and of the
 * largest. By tiles the headers of all images are read. */
typedef struct Extent {
    size_t total, most;
} Extent;
BlemishStatus judge_extent(const Geometry *g, bool tiles, const Manifest *manifest, BlemishSplit split, Extent *extent,
                           Error *e);
/* Images of one split with a known label. */
size_t count_labelled(const Manifest *manifest, BlemishSplit split, BlemishLabel label);

/* ---- train.c --------------------------------------------------------------------------------------------- */
/* The backbone that the settings name, and the checksum of its weights. Fills in an automatic feature scale where the
 * weights settle it. */
BlemishStatus train_trunk(Trunk *trunk, char sha256[65], const BlemishTrainSettings *settings, Recipe *recipe,
                          Error *e);
/* Settles the recipe for these images and refuses what cannot be trained. */
BlemishStatus train_settle(Recipe *recipe, const Manifest *manifest, Error *e);
/* Trains a started model with a trunk by a settled recipe; its thresholds and header are left to the caller. */
BlemishStatus train_heads(Model *model, const Manifest *manifest, Recipe *recipe, const BlemishTrainSettings *settings,
                          Error *e);

/* ---- folds.c --------------------------------------------------------------------------------------------- */
/* Deals the labelled images out to folds, each label evenly, into fold_of[manifest->count]; SIZE_MAX for an image
 * without a label. Images of the same content share a fold. Refused where a fold would lack a label. */
BlemishStatus folds_deal(const Manifest *manifest, size_t folds, uint64_t seed, size_t *fold_of,
                         BlemishProgressFn progress, void *progress_user, Error *e);

/* ---- train_thresholds.c ---------------------------------------------------------------------------------- */
/* Sets the model's thresholds from the training images (docs/model-file.md says how). */
BlemishStatus train_thresholds(Model *model, const Manifest *manifest, const BlemishTrainSettings *settings, Error *e);

#endif
