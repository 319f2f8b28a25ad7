/* A training step of random heads on random features, noise and targets. */
#ifndef BLEMISH_HELPER_STEP_H
#define BLEMISH_HELPER_STEP_H

#include "helper_twin.h"
#include "net/head_train.h"

typedef enum Noise { NO_NOISE, SOME_NOISE, NOISE_EVERYWHERE } Noise;
typedef enum Segmented { ALL_SEGMENTED, SOME_SEGMENTED, NONE_SEGMENTED } Segmented;

typedef struct StepCase {
    size_t height, width, hidden, images, capacity; /* capacity: the images a trainer is opened for, and used with */
    bool icpr, stop_grad, align_corners, weights, flat, unscored; /* flat: without upscaling */
    Noise noise;
    Segmented segmented;
} StepCase;

typedef struct RandomStep {
    StepCase what;
    Geometry g;
    Heads heads;
    Engine *engine;
    HeadTrainer *trainer;
    HeadParams grads;
    HeadBatch batch;
    LossInput loss;
    float *f2, *f3, *noise, *weight, *dmap, *dscore;
    uint8_t *noise_mask, *mask, *label, *segmented;
} RandomStep;

#define STEP_NOISE_STD 0.3f /* large, so that a lost noise term is a gross error */

/* 16 + 48 channels; the seed is made of the case's sizes. */
void random_step_open(RandomStep *s, const StepCase *what, int threads);
/* Forward, loss and backward: fills dmap, dscore and grads. */
LossTerms random_step_run(RandomStep *s);
void random_step_close(RandomStep *s);

#endif
