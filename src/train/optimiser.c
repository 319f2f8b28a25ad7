#include "train/optimiser.h"

#include <math.h>

BlemishStatus optimiser_open(Optimiser *o, const HeadParams *params, Error *e) {
    *o = (Optimiser){0};
    if (head_params_open(&o->first, params->c, params->hidden, e) ||
        head_params_open(&o->second, params->c, params->hidden, e)) {
        optimiser_close(o);
        return e->status;
    }
    return BLEMISH_OK;
}

void optimiser_close(Optimiser *o) {
    head_params_close(&o->first);
    head_params_close(&o->second);
}

double gradient_norm(const HeadParams *grads) {
    enum { SLICES = 64 }; /* a fixed number, so that the sum does not depend on the threads */
    double partial[SLICES];
    const size_t size = (grads->total + SLICES - 1) / SLICES;
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < SLICES; s++) {
        partial[s] = 0;
        for (size_t i = s * size; i < (s + 1) * size && i < grads->total; i++)
            partial[s] += (double)grads->all[i] * (double)grads->all[i];
    }
    double sum = 0;
    for (size_t s = 0; s < SLICES; s++) sum += partial[s];
    return sqrt(sum);
}

void optimiser_step(Optimiser *o, HeadParams *params, const HeadParams *grads, const Recipe *recipe, double clip,
                    double factor) {
    enum { SLICE = 1 << 14 };
    const Kernels *k = kernels();
    const double t = (double)++o->steps;
    const float c1 = (float)(1.0 - pow(0.9, t)), c2 = (float)(1.0 - pow(0.999, t));
    double scale = 1.0;
    if (clip > 0) scale = fmin(1.0, clip / (gradient_norm(grads) + 1e-6));
    const size_t edges[3] = {0, params->adaptor_count, params->total};
    const double lr[2] = {recipe->adaptor_lr, recipe->head_lr}, decay[2] = {recipe->adaptor_decay, recipe->head_decay};
    for (int group = 0; group < 2; group++)
#pragma omp parallel for schedule(static)
        for (size_t i = edges[group]; i < edges[group + 1]; i += SLICE) {
            const size_t n = edges[group + 1] - i < SLICE ? edges[group + 1] - i : SLICE;
            k->adamw(n, params->all + i, grads->all + i, o->first.all + i, o->second.all + i, (float)scale,
                     (float)(lr[group] * factor), (float)decay[group], c1, c2);
        }
}

double learning_rate_factor(const Recipe *recipe, size_t epoch) {
    double factor = 1.0;
    const double done = (double)epoch / (double)recipe->epochs;
    if (done >= recipe->lr_drop_first) factor *= recipe->lr_drop;
    if (done >= recipe->lr_drop_second) factor *= recipe->lr_drop;
    return factor;
}
