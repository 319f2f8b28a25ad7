/* api: the public functions of blemish.h over the folders below. Only src/api includes this.
 *
 * Every public function starts a handle's error afresh (error_begin), because internal functions return the status
 * they find in it. */
#ifndef BLEMISH_API_INTERNAL_H
#define BLEMISH_API_INTERNAL_H

#include "data/data.h"
#include "infer/infer.h"
#include "net/model.h"
#include "train/train.h"

struct BlemishModel {
    Model model;
    bool open;
    Error error;
};

struct BlemishSession {
    Session session;
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

/* ---- judge.c --------------------------------------------------------------------------------------------- */
/* One image of a split, judged. */
typedef struct Judged {
    const Sample *sample;
    BlemishImage image;
    uint8_t *mask; /* 0 or 1 at the network's input size; NULL without a mask, or with an empty one */
    BlemishResult result;
    double seconds; /* decode to result */
} Judged;
typedef BlemishStatus (*JudgedFn)(void *user, const Judged *judged, Error *e);

/* Runs the session over one split in its order, one image at a time, and hands each to `each`; progress may be
 * NULL. */
BlemishStatus judge_split(Session *session, const Manifest *manifest, BlemishSplit split, JudgedFn each, void *user,
                          BlemishProgressFn progress, void *progress_user, Error *e);
/* Images of one split with a known label. */
size_t count_labelled(const Manifest *manifest, BlemishSplit split, BlemishLabel label);

/* ---- calibrate.c ----------------------------------------------------------------------------------------- */
/* Sets the model's thresholds from the training images (docs/model-file.md says how). */
BlemishStatus calibrate(Model *model, const Manifest *manifest, const BlemishTrainSettings *settings, Error *e);

#endif
