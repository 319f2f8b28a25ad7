/* AdamW with the recipe's two groups, gradient clipping and the learning-rate schedule (docs/recipes.md). */
#ifndef BLEMISH_OPTIMISER_H
#define BLEMISH_OPTIMISER_H

#include "train/train.h"

typedef struct Optimiser {
    HeadParams first, second; /* moments */
    uint64_t steps;
} Optimiser;

BlemishStatus optimiser_open(Optimiser *o, const HeadParams *params, Error *e);
void optimiser_close(Optimiser *o);
/* Euclidean norm of all gradients. */
double gradient_norm(const HeadParams *grads);
/* One step. clip: largest norm, 0 for none (PyTorch's clip_grad_norm_); factor: the schedule's. */
void optimiser_step(Optimiser *o, HeadParams *params, const HeadParams *grads, const Recipe *recipe, double clip,
                    double factor);
/* The schedule's factor for an epoch: lr_drop after each of two fractions of the epochs. */
double learning_rate_factor(const Recipe *recipe, size_t epoch);

#endif
