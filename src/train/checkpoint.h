/* Everything that training continues from: written whole or not at all. */
#ifndef BLEMISH_CHECKPOINT_H
#define BLEMISH_CHECKPOINT_H

#include "train/optimiser.h"

/* Where training stands: before step `step` of epoch `epoch`. */
typedef struct Cursor {
    size_t epoch, step;
    uint32_t *shown; /* (normals): the sampler's counts at the start of the epoch */
    size_t normals;
    double sums[8]; /* the epoch's running figures, for the log */
} Cursor;

/* What a run is of; a checkpoint is only continued where all three are the same. */
typedef struct RunIdentity {
    const char *recipe;   /* as JSON, before the feature scale is measured */
    const char *data;     /* fingerprint */
    const char *backbone; /* name and a hash of its weights */
} RunIdentity;

BlemishStatus checkpoint_write(const char *path, const RunIdentity *run, const Heads *heads, const Optimiser *optimiser,
                               const Cursor *cursor, Error *e);
/* Fills heads (feature scale included), optimiser and cursor, which are open. */
BlemishStatus checkpoint_read(const char *path, const RunIdentity *run, Heads *heads, Optimiser *optimiser,
                              Cursor *cursor, Error *e);

#endif
