/* Small training sets as PNG files and a recipe that trains on them in a moment. All fail the test on error. */
#ifndef BLEMISH_HELPER_TRAIN_H
#define BLEMISH_HELPER_TRAIN_H

#include "helper_model.h"
#include "train/train.h"

enum { TRAIN_SIDE = 32 };

/* folder/name: a smooth picture, with a black square and its mask folder/mask-name where it is a defect. */
void train_picture(const char *folder, const char *name, bool defect, uint64_t seed);
/* Good images g0.png.. and defective ones d0.png.., written and listed for training; the last `maskless` defects have
 * no mask. Closed with manifest_close. */
void train_manifest(Manifest *m, const char *folder, size_t good, size_t defects, size_t maskless);
/* Lists one more image of the folder. mask may be NULL. */
void train_list(Manifest *m, const char *folder, const char *name, const char *mask, BlemishLabel label,
                BlemishSplit split);
/* 32x32 input, 64 hidden channels, 3 epochs in batches of 4; resolved. */
Recipe train_recipe(Regime regime, Variant variant);
/* The defaults with one thread: waiting threads are slow where tests share cores. */
BlemishTrainSettings train_settings(void);

/* A progress callback that stops a stage when `done` reaches `at`, counting its calls. */
typedef struct Stop {
    const char *stage; /* NULL: never */
    size_t at, calls;
    double loss; /* the last one reported */
} Stop;
int train_stop(void *stop, const BlemishProgress *progress);

/* Parameters, statistics and feature scale, bit by bit. */
bool heads_equal(const Heads *a, const Heads *b);

#endif
