/* Post-training quantisation: symmetric, weights by output channel, activations by map. A quantised network keeps its
 * weights as floats that are whole multiples of their row's scale, so that quantising them again is exact. */
#include "net/net.h"

#include <math.h>
#include <string.h>

/* ---- ranges of activations ------------------------------------------------------------------------------- */

/* Until all of it fits, pairs of bins become one. */
static void range_widen(Range *r, float most) {
    if (r->width == 0) r->width = most / RANGE_BINS;
    while (most > r->width * RANGE_BINS) {
        for (size_t i = 0; i < RANGE_BINS; i++)
            r->bins[i] = i < RANGE_BINS / 2 ? r->bins[2 * i] + r->bins[2 * i + 1] : 0;
        r->width *= 2;
    }
}

void range_add(Range *r, const float *values, size_t count) {
    float most = 0;
    for (size_t i = 0; i < count; i++) most = fmaxf(most, fabsf(values[i]));
    if (!(most > 0) || !isfinite(most)) return;
    range_widen(r, most);
    for (size_t i = 0; i < count; i++) {
        const float v = fabsf(values[i]);
        const size_t bin = (size_t)(v / r->width);
        if (v > 0) r->bins[bin < RANGE_BINS ? bin : RANGE_BINS - 1]++;
    }
}

/* The squared error of all values where those above `end` bins saturate: rounding makes step^2 / 12 on average. */
static double clipping_error(const Range *r, size_t end, size_t levels) {
    const double step = (double)r->width * (double)end / (double)levels;
    double error = 0;
    for (size_t i = 0; i < RANGE_BINS; i++) {
        const double beyond = ((double)i + 0.5 - (double)end) * (double)r->width;
        error += (double)r->bins[i] * (i < end ? step * step / 12 : beyond * beyond);
    }
    return error;
}

float range_step(const Range *r, size_t levels) {
    enum { TURN = RANGE_BINS / 128, FIRST = 2 * TURN };
    double least = INFINITY;
    size_t end = RANGE_BINS;
    if (r->width == 0) return 1;
    for (size_t i = FIRST; i <= RANGE_BINS; i += TURN) least = fmin(least, clipping_error(r, i, levels));
    while (clipping_error(r, end, levels) > RANGE_SLACK * least) end -= TURN;
    return (float)((double)r->width * (double)end / (double)levels);
}

/* ---- a network ------------------------------------------------------------------------------------------- */

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

/* The first convolution is rounded for the images it will see: neighbouring pixels are so alike that the errors of its
 * weights add up, where those of most layers average out. The segmentation head is the other one: features share much
 * of their mean, and its errors go straight into the map. */
BlemishStatus trunk_quantise(Trunk *trunk, const Range *ranges, const float *patches, Error *e) {
    e->status = BLEMISH_OK;
    for (size_t i = 0; i < trunk->count; i++) {
        TrunkConv *c = &trunk->convs[i];
        const size_t per = c->in * c->kernel * c->kernel;
        /* What a ReLU follows is stored without a sign: all but the shortcuts' convolutions. */
        const bool signless = strstr(c->name, "downsample") == NULL;
        if (i ? round_rows(c->weight, c->out, per, per, NULL, e) : stem_quantise(c, patches, e)) return e->status;
        c->step = range_step(&ranges[i], signless ? UINT8_MAX : INT8_MOST);
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

BlemishStatus heads_quantise(Heads *heads, Engine *engine, const Trunk *trunk, float *const moments[2], Error *e) {
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
        status = round_rows(p->seg_weight, p->hidden, c2, c, moments[0], e);
    }
    array_free(folded);
    if (status || round_rows(p->seg_weight + c2, p->hidden, c - c2, c, moments[1], e)) return e->status;
    if (round_rows(p->cls_weight, cls, c2, c, NULL, e)) return e->status;
    return round_rows(p->cls_weight + c2, cls, c - c2, c, NULL, e);
}
