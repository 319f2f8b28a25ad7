/* The heads made ready for inference: everything linear is multiplied out once; docs/architecture.md derives it. */
#include "net/head_runner.h"

#include <math.h>
#include <string.h>

/* out (rows, c) = weight (rows, c) times the adaptor (c, c); bias (rows) += weight times the adaptor's bias. */
static BlemishStatus through_adaptor(Engine *engine, const HeadParams *p, const float *weight, size_t rows, float *out,
                                     float *bias, Error *e) {
    const size_t c = p->c;
    if (gemm(engine, false, false, rows, c, c, weight, c, p->adaptor_weight, c, false, out, c, e)) return e->status;
    for (size_t r = 0; r < rows; r++) bias[r] += (float)adaptor_bias_through(p, weight + r * c);
    return BLEMISH_OK;
}

/* A mix of quantised features to floats: each row by its own scale, which the features' unit is part of. */
static BlemishStatus open_int8(HeadRunner *r, Conv **conv, const ConvShape *shape, const float *weight, float step,
                               Error *e) {
    int8_t *rounded = array_new(shape->out * shape->in, 1, e);
    float *scale = array_new(shape->out, sizeof *scale, e);
    if (rounded && scale) {
        quantise_rows(weight, shape->out, shape->in, shape->in, rounded, scale);
        for (size_t i = 0; i < shape->out; i++) scale[i] *= step;
        conv_open_int8(conv, r->engine, shape, rounded, scale, NULL, e);
    }
    array_free(rounded);
    array_free(scale);
    return e->status;
}

/* The level's mix: a 1x1 convolution by the columns of weight (out, c) that belong to its features, each row times
 * row_scale[r % period]. It makes `padded` channels. */
static BlemishStatus open_mix(HeadRunner *r, Level *l, Conv **mix, const float *weight, size_t out, size_t padded,
                              const float *row_scale, size_t period, Error *e) {
    const size_t in = l->channels, from = l->y == &r->lift.y2 ? 0 : r->g.c2;
    float *part = array_new(padded * in, sizeof *part, e);
    if (part == NULL) return e->status;
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++) part[o * in + i] = weight[o * r->g.c + from + i] * row_scale[o % period];
    const ConvShape shape = {.batch = 1,
                             .height = l->part,
                             .width = l->x->in,
                             .in = in,
                             .out = padded,
                             .kernel = 1,
                             .stride = 1,
                             .from = r->type,
                             .parts = l->strip / l->part};
    if (r->type == ELEMENT_U8)
        open_int8(r, mix, &shape, part, r->step[from > 0], e);
    else
        conv_open(mix, r->engine, &shape, part, NULL, e);
    array_free(part);
    r->gmac += 1e-9 * (double)(l->y->in * l->x->in) * (double)(in * out);
    return e->status;
}

static BlemishStatus fold_seg(HeadRunner *r, const Heads *heads, Error *e) {
    const HeadParams *p = &heads->params;
    const size_t hidden = p->hidden;
    float *folded = NULL, *scale = array_new(hidden, sizeof *scale, e), *bias = r->seg_shift;
    const float *weight = p->seg_weight;
    if (scale == NULL) return e->status;
    memcpy(bias, p->seg_bias, hidden * sizeof *bias);
    if (heads->step[0] == 0) { /* of a quantised model it is in the weights already */
        folded = array_new(hidden * p->c, sizeof *folded, e);
        if (folded == NULL || through_adaptor(r->engine, p, weight, hidden, folded, bias, e)) goto done;
        weight = folded;
    }
    for (size_t i = 0; i < hidden; i++) {
        const double s = (double)p->seg_gamma[i] / sqrt((double)heads->stats.seg_var[i] + BN_EPSILON);
        bias[i] = (float)(s * ((double)bias[i] - (double)heads->stats.seg_mean[i]) + (double)p->seg_beta[i]);
        scale[i] = (float)(s / (double)heads->feature_scale);
        r->seg_out[i] = p->seg_out[i];
    }
    for (int i = 0; i < 2 && e->status == BLEMISH_OK; i++)
        open_mix(r, &r->seg[i], &r->seg[i].mix[0], weight, hidden, hidden + SEG_PAD, scale, hidden, e);
done:
    array_free(folded);
    array_free(scale);
    return e->status;
}

/* ICPR: the adaptor's bias reaches the 5x5 convolution everywhere but in its zero padding: the convolution of a map
 * of ones. */
static BlemishStatus bias_map(HeadRunner *r, const float *taps, Error *e) {
    const size_t h = r->g.h, w = r->g.w;
    float *ones = array_new(h * w, sizeof *ones, e);
    r->cls_base = array_new(h * w * CLS_CHANNELS, sizeof *r->cls_base, e);
    if (ones && r->cls_base) {
        for (size_t i = 0; i < h * w; i++) ones[i] = 1.0f;
        for (size_t y = 0; y < h; y++) r->k->cls_map_row(ones, h, w, y, taps, r->cls_base + y * w * CLS_CHANNELS);
    }
    array_free(ones);
    return e->status;
}

static BlemishStatus fold_cls(HeadRunner *r, const Heads *heads, Error *e) {
    const HeadParams *p = &heads->params;
    const size_t mixes = (size_t)CLS_TAPS * CLS_CHANNELS;
    float scale[CLS_CHANNELS], *folded = NULL, *taps = array_new(mixes, sizeof *taps, e);
    const float *weight = p->cls_weight;
    if (taps == NULL) return e->status;
    for (size_t i = 0; i < CLS_CHANNELS; i++) {
        const double s = (double)p->cls_gamma[i] / sqrt((double)heads->stats.cls_var[i] + BN_EPSILON);
        r->cls_shift[i] =
            (float)(s * ((double)p->cls_bias[i] - (double)heads->stats.cls_mean[i]) + (double)p->cls_beta[i]);
        scale[i] = (float)s;
    }
    for (size_t i = 0; i < mixes; i++) r->cls_map[i] = p->cls_map[i] * scale[i % CLS_CHANNELS];
    if (heads->icpr) {
        folded = array_new(mixes * p->c, sizeof *folded, e);
        if (folded == NULL || through_adaptor(r->engine, p, weight, mixes, folded, taps, e)) goto done;
        weight = folded;
        for (size_t i = 0; i < mixes; i++) taps[i] *= scale[i % CLS_CHANNELS];
        if (bias_map(r, taps, e)) goto done;
    }
    for (size_t i = 0; i < CLS_CHANNELS; i++) scale[i] /= heads->feature_scale;
    for (size_t i = 0; i < 2 * CLS_SIDE && e->status == BLEMISH_OK; i++) {
        Level *l = &r->cls[i / CLS_SIDE];
        const size_t u = i % CLS_SIDE;
        open_mix(r, l, &l->mix[u], weight + u * CLS_ROW_MIXES * p->c, CLS_ROW_MIXES, CLS_ROW_MIXES, scale, CLS_CHANNELS,
                 e);
    }
done:
    array_free(folded);
    array_free(taps);
    return e->status;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

/* Each thread's part of a strip: its mixes for a row of the kernel, 330 KB, stay in a second-level cache, and products of
 * as many rows run at full speed. */
enum { STRIP_PIXELS = 128 };

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

/* A level that makes `row` floats of each row of features of `channels`. */
static BlemishStatus open_level(const HeadRunner *r, Level *l, const Band *y, const Band *x, size_t channels,
                                size_t reach, size_t row, Error *e) {
    const size_t threads = (size_t)engine_threads(r->engine), even = (y->in + threads - 1) / threads;
    const size_t wanted = STRIP_PIXELS / x->in < even ? STRIP_PIXELS / x->in : even;
    *l = (Level){.y = y, .x = x, .reach = reach, .channels = channels, .row = row};
    l->part = wanted < 1 ? 1 : wanted;
    l->strip = l->part * (y->in / l->part < threads ? y->in / l->part : threads);
    size_t most = 0;
    for (size_t i = 0; i < y->out; i++) most = largest(most, level_end(l, i) - level_first(l, i));
    /* One row short of what an output row reads, a strip is added. */
    l->capacity = most + l->strip < y->in ? most + l->strip : y->in;
    l->rows = array_new(l->capacity * row, sizeof(float), e);
    return l->rows ? BLEMISH_OK : e->status;
}

static BlemishStatus open_levels(HeadRunner *r, Error *e) {
    const Geometry *g = &r->g;
    const Band *y[2] = {&r->lift.y2, &r->lift.y3}, *x[2] = {&r->lift.x2, &r->lift.x3};
    const size_t channels[2] = {g->c2, g->c3};
    for (int i = 0; i < 2; i++) {
        if (open_level(r, &r->seg[i], y[i], x[i], channels[i], 0, x[i]->in * (r->hidden + SEG_PAD), e) ||
            (!r->map_score && open_level(r, &r->cls[i], y[i], x[i], channels[i], CLS_SIDE / 2,
                                         (size_t)CLS_SIDE * g->w * CLS_CHANNELS, e)))
            return e->status;
    }
    return BLEMISH_OK;
}

typedef struct Buffer {
    float **at;
    size_t count;
} Buffer;

static BlemishStatus open_buffers(const Buffer *buffers, size_t count, Error *e) {
    for (size_t i = 0; i < count; i++) {
        *buffers[i].at = array_new(buffers[i].count, sizeof(float), e);
        if (*buffers[i].at == NULL) return e->status;
    }
    return BLEMISH_OK;
}

static BlemishStatus open_seg(HeadRunner *r, const Heads *heads, Error *e) {
    const Geometry *g = &r->g;
    r->scratch_floats = g->w * 16 + (g->w2 + g->w3) * LIFT_BLOCK;
    if (!r->map_score) r->scratch_floats = largest(r->scratch_floats, CLS_ROWS * g->w * CLS_CHANNELS);
    const Buffer buffers[] = {{&r->seg_shift, r->hidden},
                              {&r->seg_out, r->hidden},
                              {&r->scratch_rows, (size_t)engine_threads(r->engine) * r->scratch_floats}};
    if (open_buffers(buffers, sizeof buffers / sizeof *buffers, e)) return e->status;
    return fold_seg(r, heads, e);
}

static BlemishStatus open_cls(HeadRunner *r, const Heads *heads, Error *e) {
    const size_t taps = (size_t)CLS_TAPS * CLS_CHANNELS;
    const size_t pixels = largest(r->cls[0].strip * r->cls[0].x->in, r->cls[1].strip * r->cls[1].x->in);
    const Buffer buffers[] = {{&r->mixes, pixels * CLS_ROW_MIXES}, {&r->cls_map, taps},
                              {&r->cls_scale, CLS_CHANNELS},       {&r->cls_shift, CLS_CHANNELS},
                              {&r->fc, CLS_FEATURES + 1},          {&r->row_max, r->g.h * CLS_CHANNELS},
                              {&r->row_sum, r->g.h * CLS_CHANNELS}};
    if (open_buffers(buffers, sizeof buffers / sizeof *buffers, e)) return e->status;
    for (size_t i = 0; i < CLS_CHANNELS; i++) r->cls_scale[i] = 1.0f;
    memcpy(r->fc, heads->params.fc_weight, CLS_FEATURES * sizeof(float));
    r->fc[CLS_FEATURES] = heads->params.fc_bias[0];
    return fold_cls(r, heads, e);
}

static BlemishStatus open_scratch(HeadRunner *r, Error *e) {
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        bytes = largest(bytes, conv_scratch(r->seg[i].mix[0]));
        for (int u = 0; u < CLS_SIDE && !r->map_score; u++) bytes = largest(bytes, conv_scratch(r->cls[i].mix[u]));
    }
    r->scratch = array_new(bytes, 1, e);
    return e->status;
}

BlemishStatus head_runner_open(HeadRunner **out, Engine *engine, const Heads *heads, const Geometry *g,
                               bool align_corners, Element type, Error *e) {
    e->status = BLEMISH_OK;
    HeadRunner *r = array_new(1, sizeof *r, e);
    *out = r;
    if (r == NULL) return e->status;
    r->g = *g;
    r->type = type;
    memcpy(r->step, heads->step, sizeof r->step);
    r->k = kernels();
    r->engine = engine;
    r->hidden = heads->params.hidden;
    r->map_score = heads->map_score;
    const int before = engine_enter(engine);
    if (lift_open(&r->lift, g, align_corners, e) == BLEMISH_OK && open_levels(r, e) == BLEMISH_OK &&
        open_seg(r, heads, e) == BLEMISH_OK && (r->map_score || open_cls(r, heads, e) == BLEMISH_OK))
        open_scratch(r, e);
    if (e->status == BLEMISH_OK) r->lift_work = lift_work(&r->lift, r->hidden, !r->map_score);
    engine_leave(before);
    if (e->status != BLEMISH_OK) {
        head_runner_close(r);
        *out = NULL;
    }
    return e->status;
}

double head_runner_gmac(const HeadRunner *r) {
    return r->gmac;
}

void head_runner_close(HeadRunner *r) {
    if (r == NULL) return;
    for (int i = 0; i < 2; i++) {
        conv_close(r->seg[i].mix[0]);
        for (int u = 0; u < CLS_SIDE; u++) conv_close(r->cls[i].mix[u]);
        array_free(r->seg[i].rows);
        array_free(r->cls[i].rows);
    }
    float *buffers[] = {r->seg_shift, r->seg_out, r->mixes,        r->cls_map, r->cls_scale, r->cls_shift,
                        r->cls_base,  r->fc,      r->scratch_rows, r->row_max, r->row_sum};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) array_free(buffers[i]);
    array_free(r->scratch);
    lift_close(&r->lift);
    array_free(r);
}
