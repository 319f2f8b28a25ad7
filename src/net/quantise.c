/* Post-training quantisation: symmetric, weights by output channel, activations by map. A quantised network keeps its
 * weights as floats that are whole multiples of their row's scale, so that quantising them again is exact. */
#include "net/net.h"

#include <math.h>
#include <string.h>

/* Rows of `per` floats at `stride` become multiples of their scale, the nearest or the best for inputs of these second
 * moments. */
static BlemishStatus round_rows(float *weight, size_t rows, size_t per, size_t stride, const float *moments, Error *e) {
    float *plain = array_new(rows * per, sizeof *plain, e), *scale = array_new(rows, sizeof *scale, e);
    int8_t *rounded = array_new(rows * per, 1, e);
    if (plain && rounded && scale) {
        for (size_t i = 0; i < rows * per; i++) plain[i] = weight[i / per * stride + i % per];
        if (moments)
            quantise_rows_for(plain, rows, per, moments, rounded, scale, e);
        else
            quantise_rows(plain, rows, per, per, rounded, scale);
        for (size_t i = 0; i < rows * per; i++) weight[i / per * stride + i % per] = (float)rounded[i] * scale[i / per];
    }
    array_free(plain);
    array_free(rounded);
    array_free(scale);
    return e->status;
}

/* The first layers are rounded for the images they will see: neighbouring pixels are so alike that the errors of their
 * weights add up, where those of later layers average out. The segmentation head is the other one: features share much
 * of their mean, and its errors go straight into the map. */
BlemishStatus trunk_quantise(Trunk *trunk, const Statistics *statistics, Error *e) {
    e->status = BLEMISH_OK;
    for (size_t i = 0; i < trunk->count; i++) {
        TrunkConv *c = &trunk->convs[i];
        const size_t per = c->in * c->kernel * c->kernel;
        /* What a ReLU follows is stored without a sign: all but the shortcuts' convolutions. */
        const bool signless = strstr(c->name, "downsample") == NULL;
        const float *patches = statistics->patches[i];
        if (i ? round_rows(c->weight, c->out, per, per, patches, e) : stem_quantise(c, patches, e)) return e->status;
        c->step = range_step(&statistics->ranges[i], signless ? UINT8_MAX : INT8_MOST);
    }
    return BLEMISH_OK;
}

void heads_adaptor_identity(Heads *heads) {
    HeadParams *p = &heads->params;
    memset(p->adaptor_weight, 0, p->c * p->c * sizeof *p->adaptor_weight);
    memset(p->adaptor_bias, 0, p->c * sizeof *p->adaptor_bias);
    for (size_t i = 0; i < p->c; i++) p->adaptor_weight[i * p->c + i] = 1.0f;
}

void heads_take_steps(Heads *heads, const Trunk *trunk) {
    for (size_t i = 0; i < trunk->count; i++) {
        const TrunkConv *c = &trunk->convs[i];
        if (strncmp(c->name, "layer2", 6) == 0) heads->step[0] = c->step;
        if (strncmp(c->name, "layer3", 6) == 0) heads->step[1] = c->step;
    }
}

BlemishStatus heads_quantise(Heads *heads, Engine *engine, const Trunk *trunk, const Statistics *statistics, Error *e) {
    HeadParams *p = &heads->params;
    const size_t c = p->c, c2 = trunk->c2, cls = (size_t)CLS_TAPS * CLS_CHANNELS;
    heads_take_steps(heads, trunk);
    float *folded = array_new(p->hidden * c, sizeof *folded, e);
    if (folded == NULL) return e->status;
    const int before = engine_enter(engine);
    BlemishStatus status =
        gemm(engine, false, false, p->hidden, c, c, p->seg_weight, c, p->adaptor_weight, c, false, folded, c, e);
    engine_leave(before);
    if (status == BLEMISH_OK) {
        for (size_t r = 0; r < p->hidden; r++) p->seg_bias[r] += (float)adaptor_bias_through(p, p->seg_weight + r * c);
        memcpy(p->seg_weight, folded, p->hidden * c * sizeof *folded);
        heads_adaptor_identity(heads);
        status = round_rows(p->seg_weight, p->hidden, c2, c, statistics->features[0], e);
    }
    array_free(folded);
    if (status || round_rows(p->seg_weight + c2, p->hidden, c - c2, c, statistics->features[1], e)) return e->status;
    if (round_rows(p->cls_weight, cls, c2, c, NULL, e)) return e->status;
    return round_rows(p->cls_weight + c2, cls, c - c2, c, NULL, e);
}
