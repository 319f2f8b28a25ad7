/* The per-epoch metrics log: CSV, one row an epoch. */
#ifndef BLEMISH_TRAIN_LOG_H
#define BLEMISH_TRAIN_LOG_H

#include "base/base.h"

#include <stdio.h>

typedef struct TrainLog {
    FILE *file; /* NULL: no log was asked for */
    const char *path;
} TrainLog;

typedef struct EpochFigures {
    size_t epoch;                                                        /* from 0 */
    double loss, l1_good, l1_bad, focal_map, focal_score, gradient_norm; /* means over the epoch's steps */
    double lr_factor, images_per_second, seconds;
} EpochFigures;

/* path NULL: no log. Rows of epochs before first_epoch are kept (a resumed run), later ones dropped. */
BlemishStatus train_log_open(TrainLog *log, const char *path, size_t first_epoch, Error *e);
BlemishStatus train_log_row(TrainLog *log, const EpochFigures *figures, Error *e);
BlemishStatus train_log_close(TrainLog *log, Error *e);

#endif
