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

/* A 1x1 convolution of the columns [from, from + in) of weight (out, c), each row times row_scale[r % period]. */
static BlemishStatus open_mix(HeadRunner *r, Conv **conv, const float *weight, size_t from, size_t in, size_t out,
                              size_t padded, const float *row_scale, size_t period, size_t height, size_t width,
                              Error *e) {
    float *part = array_new(padded * in, sizeof *part, e);
    if (part == NULL) return e->status;
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++) part[o * in + i] = weight[o * r->g.c + from + i] * row_scale[o % period];
    const ConvShape shape = {
        .batch = 1, .height = height, .width = width, .in = in, .out = padded, .kernel = 1, .stride = 1};
    conv_open(conv, r->engine, &shape, part, NULL, e);
    array_free(part);
    r->gmac += 1e-9 * (double)(height * width) * (double)(in * out);
    return e->status;
}

static BlemishStatus fold_seg(HeadRunner *r, const Heads *heads, Error *e) {
    const HeadParams *p = &heads->params;
    const Geometry *g = &r->g;
    const size_t hidden = p->hidden;
    float *folded = array_new(hidden * p->c, sizeof *folded, e), *scale = array_new(hidden, sizeof *scale, e);
    float *bias = r->seg_shift;
    if (folded == NULL || scale == NULL) goto done;
    memcpy(bias, p->seg_bias, hidden * sizeof *bias);
    if (through_adaptor(r->engine, p, p->seg_weight, hidden, folded, bias, e)) goto done;
    for (size_t i = 0; i < hidden; i++) {
        const double s = (double)p->seg_gamma[i] / sqrt((double)heads->stats.seg_var[i] + BN_EPSILON);
        bias[i] = (float)(s * ((double)bias[i] - (double)heads->stats.seg_mean[i]) + (double)p->seg_beta[i]);
        scale[i] = (float)(s / (double)heads->feature_scale);
        r->seg_out[i] = p->seg_out[i];
        r->ones[i] = 1.0f;
    }
    if (open_mix(r, &r->seg2, folded, 0, g->c2, hidden, hidden + SEG_PAD, scale, hidden, g->h2, g->w2, e)) goto done;
    open_mix(r, &r->seg3, folded, g->c2, g->c3, hidden, hidden + SEG_PAD, scale, hidden, g->h3, g->w3, e);
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
    const Geometry *g = &r->g;
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
    if (open_mix(r, &r->cls2, weight, 0, g->c2, mixes, mixes, scale, CLS_CHANNELS, g->h2, g->w2, e)) goto done;
    open_mix(r, &r->cls3, weight, g->c2, g->c3, mixes, mixes, scale, CLS_CHANNELS, g->h3, g->w3, e);
done:
    array_free(folded);
    array_free(taps);
    return e->status;
}

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

static BlemishStatus open_buffers(HeadRunner *r, const HeadParams *p, Error *e) {
    const Geometry *g = &r->g;
    const size_t n2 = g->h2 * g->w2, n3 = g->h3 * g->w3, mixes = (size_t)CLS_TAPS * CLS_CHANNELS;
    const size_t stride = p->hidden + SEG_PAD, column = (size_t)CLS_SIDE * g->w * CLS_CHANNELS;
    r->hidden = p->hidden;
    r->row_floats = largest((g->w + g->w2) * LIFT_BLOCK, g->w * CLS_CHANNELS);
    const struct {
        float **at;
        size_t count;
    } buffers[] = {{&r->seg_shift, p->hidden},
                   {&r->seg_out, p->hidden},
                   {&r->ones, p->hidden},
                   {&r->cls_map, mixes},
                   {&r->cls_shift, CLS_CHANNELS},
                   {&r->fc, CLS_FEATURES + 1},
                   {&r->s2, n2 * stride},
                   {&r->s3, n3 * stride},
                   {&r->z2, n2 * mixes},
                   {&r->z3, n3 * mixes},
                   {&r->t2, g->h2 * column},
                   {&r->t3, g->h3 * column},
                   {&r->rows, (size_t)engine_threads(r->engine) * r->row_floats},
                   {&r->row_max, g->h * CLS_CHANNELS},
                   {&r->row_sum, g->h * CLS_CHANNELS}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        *buffers[i].at = array_new(buffers[i].count, sizeof(float), e);
        if (*buffers[i].at == NULL) return e->status;
    }
    return BLEMISH_OK;
}

BlemishStatus head_runner_open(HeadRunner **out, Engine *engine, const Heads *heads, const Geometry *g,
                               bool align_corners, Error *e) {
    e->status = BLEMISH_OK;
    HeadRunner *r = array_new(1, sizeof *r, e);
    *out = r;
    if (r == NULL) return e->status;
    r->g = *g;
    r->k = kernels();
    r->engine = engine;
    const int before = engine_enter(engine);
    if (lift_open(&r->lift, g, align_corners, e) == BLEMISH_OK && open_buffers(r, &heads->params, e) == BLEMISH_OK &&
        fold_seg(r, heads, e) == BLEMISH_OK && fold_cls(r, heads, e) == BLEMISH_OK) {
        memcpy(r->fc, heads->params.fc_weight, CLS_FEATURES * sizeof(float));
        r->fc[CLS_FEATURES] = heads->params.fc_bias[0];
        const size_t scratch = largest(largest(conv_scratch(r->seg2), conv_scratch(r->seg3)),
                                       largest(conv_scratch(r->cls2), conv_scratch(r->cls3)));
        r->scratch = array_new(scratch, 1, e);
        r->lift_work = lift_work(&r->lift, r->hidden);
    }
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
    Conv *convs[] = {r->seg2, r->seg3, r->cls2, r->cls3};
    for (size_t i = 0; i < 4; i++) conv_close(convs[i]);
    float *buffers[] = {r->seg_shift, r->seg_out, r->ones,    r->cls_map, r->cls_shift, r->cls_base,
                        r->fc,        r->s2,      r->s3,      r->z2,      r->z3,        r->t2,
                        r->t3,        r->rows,    r->row_max, r->row_sum};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) array_free(buffers[i]);
    array_free(r->scratch);
    lift_close(&r->lift);
    array_free(r);
}
