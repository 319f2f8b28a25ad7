/* The classification head in training: 5x5 convolution of [F, m] (or [A(F), m]), BatchNorm over the batch, ReLU,
 * maximum and mean over space, linear. The convolution is 25 channel mixes at low resolution, lifted with their
 * shifts; noise and the map's channel are added at full resolution, where they live. */
#include "net/head_train.h"

#include <math.h>
#include <string.h>

static size_t map_pixels(const HeadTrainer *t) {
    return t->g.h * t->g.w;
}
static float *sample_d(const HeadTrainer *t, size_t s) {
    return t->d.values + s * map_pixels(t) * CLS_CHANNELS;
}

static Operand clean_weight(const HeadTrainer *t) {
    return t->heads->icpr ? t->cls_folded : operand_param(t, t->heads->params.cls_weight);
}

/* ---- forward --------------------------------------------------------------------------------------------- */

/* ICPR: what the adaptor's bias adds through the convolution, borders included. */
static void bias_map(HeadTrainer *t) {
    const size_t h = t->g.h, w = t->g.w;
    float *ones = t->map; /* free until the segmentation head runs */
    for (size_t i = 0; i < h * w; i++) ones[i] = 1.0f;
    memset(t->cls_bias_map, 0, h * w * CLS_CHANNELS * sizeof(float));
    for (size_t y = 0; y < h; y++)
        t->k->cls_map_row(ones, h, w, y, t->cls_bias_taps, t->cls_bias_map + y * w * CLS_CHANNELS);
}

/* t (rows, 5, w, 128) from the 25 mixes z (rows, x->in, 25, 128) of low-resolution rows. */
static void lift_columns(const HeadTrainer *t, const Band *x, const float *z, size_t rows, float *out) {
    const size_t row = x->in * CLS_MIXES;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows * CLS_SIDE; i++)
        t->k->cls_lift_x(z + i / CLS_SIDE * row + i % CLS_SIDE * CLS_ROW_MIXES, CLS_MIXES, x,
                         out + i * x->out * CLS_CHANNELS);
}

BlemishStatus cls_forward_clean(HeadTrainer *t, const HeadBatch *batch, Error *e) {
    const Geometry *g = &t->g;
    const size_t n2 = g->h2 * g->w2, n3 = g->h3 * g->w3, row = g->w * CLS_CHANNELS;
    const Operand weight = clean_weight(t);
    const ClsMap maps[2] = {{t->cls_t2, g->h2, &t->lift.y2}, {t->cls_t3, g->h3, &t->lift.y3}};
    if (t->cls_bias_map) bias_map(t);
    for (size_t b = 0; b < batch->images; b++) {
        if (product(t, false, true, n2, CLS_MIXES, g->c2, operand_at(&t->f2, b * n2 * g->c2), g->c2, weight, g->c,
                    false, t->cls2.values, CLS_MIXES, e) ||
            product(t, false, true, n3, CLS_MIXES, g->c3, operand_at(&t->f3, b * n3 * g->c3), g->c3,
                    operand_at(&weight, g->c2), g->c, false, t->cls3.values, CLS_MIXES, e))
            return e->status;
        lift_columns(t, &t->lift.x2, t->cls2.values, g->h2, t->cls_t2);
        lift_columns(t, &t->lift.x3, t->cls3.values, g->h3, t->cls_t3);
        float *first = sample_d(t, b), *second = sample_d(t, b + batch->images);
#pragma omp parallel for schedule(static)
        for (size_t y = 0; y < g->h; y += CLS_ROWS) {
            const size_t rows = g->h - y < CLS_ROWS ? g->h - y : CLS_ROWS;
            float *d = first + y * row;
            t->k->cls_lift_y(maps, y, rows, g->w, t->cls_bias_map ? t->cls_bias_map + y * row : NULL, d);
            memcpy(second + y * row, d, rows * row * sizeof *d);
        }
    }
    return BLEMISH_OK;
}

static void add_map_and_sum(HeadTrainer *t, size_t samples, const float *center) {
    const size_t h = t->g.h, w = t->g.w;
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < samples; s++) {
        float *sums = t->cls_partial + s * CLS_MIXES;
        memset(sums, 0, 2 * CLS_CHANNELS * sizeof *sums);
        for (size_t y = 0; y < h; y++) {
            float *d = sample_d(t, s) + y * w * CLS_CHANNELS;
            t->k->cls_map_row(t->map + s * h * w, h, w, y, t->heads->params.cls_map, d);
            t->k->column_stats(d, w, CLS_CHANNELS, center, sums, sums + CLS_CHANNELS);
        }
    }
}

/* [max, mean] of the channels and [max, mean] of the map; and how many pixels share each maximum, because each gets
 * an equal part of its gradient (PyTorch's amax). */
static void pool_sample(HeadTrainer *t, size_t s) {
    const size_t n = map_pixels(t);
    float *v = t->pooled + s * CLS_FEATURES, *ties = t->ties + s * CLS_CHANNELS;
    memset(v, 0, CLS_FEATURES * sizeof *v);
    memset(ties, 0, CLS_CHANNELS * sizeof *ties);
    /* Row by row, so that no float sum grows long. */
    float sum[CLS_CHANNELS];
    double total[CLS_CHANNELS] = {0}, map_sum = 0;
    for (size_t y = 0; y < t->g.h; y++) {
        memset(sum, 0, sizeof sum);
        t->k->cls_pool(sample_d(t, s) + y * t->g.w * CLS_CHANNELS, t->g.w, t->cls_scale, t->cls_shift, v, sum, ties);
        for (size_t c = 0; c < CLS_CHANNELS; c++) total[c] += (double)sum[c];
    }
    for (size_t c = 0; c < CLS_CHANNELS; c++) v[CLS_CHANNELS + c] = (float)(total[c] / (double)n);
    const float *m = t->map + s * n;
    float max = m[0];
    for (size_t i = 0; i < n; i++) {
        max = fmaxf(max, m[i]);
        map_sum += (double)m[i];
    }
    t->map_ties[s] = 0;
    for (size_t i = 0; i < n; i++) t->map_ties[s] += m[i] == max ? 1.0f : 0.0f;
    v[2 * CLS_CHANNELS] = max;
    v[2 * CLS_CHANNELS + 1] = (float)(map_sum / (double)n);
}

void cls_forward_finish(HeadTrainer *t, const HeadBatch *batch) {
    const HeadParams *p = &t->heads->params;
    const size_t samples = 2 * batch->images;
    float center[CLS_CHANNELS]; /* any pixel's values are within a few deviations of the mean */
    memcpy(center, t->d.values + (map_pixels(t) / 2) * CLS_CHANNELS, sizeof center);
    add_map_and_sum(t, samples, center);
    const BatchNorm bn = {p->cls_gamma,           p->cls_beta,  p->cls_bias,  t->cls_mean,
                          t->cls_inv_std,         t->cls_scale, t->cls_shift, t->heads->stats.cls_mean,
                          t->heads->stats.cls_var};
    for (size_t c = 0; c < CLS_CHANNELS; c++) {
        double sum = 0, square = 0;
        for (size_t s = 0; s < samples; s++) {
            sum += (double)t->cls_partial[s * CLS_MIXES + c];
            square += (double)t->cls_partial[s * CLS_MIXES + CLS_CHANNELS + c];
        }
        batch_norm_update(&bn, c, (double)(samples * map_pixels(t)), (double)center[c], sum, square);
    }
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < samples; s++) {
        pool_sample(t, s);
        double score = (double)p->fc_bias[0];
        for (size_t i = 0; i < CLS_FEATURES; i++)
            score += (double)p->fc_weight[i] * (double)t->pooled[s * CLS_FEATURES + i];
        t->score[s] = (float)score;
    }
}

/* ---- backward -------------------------------------------------------------------------------------------- */

static void linear_backward(const HeadTrainer *t, size_t samples, const float *dscore, HeadParams *grads) {
    double bias = 0;
    for (size_t s = 0; s < samples; s++) bias += (double)dscore[s];
    grads->fc_bias[0] = (float)bias;
    for (size_t i = 0; i < CLS_FEATURES; i++) {
        double sum = 0;
        for (size_t s = 0; s < samples; s++) sum += (double)dscore[s] * (double)t->pooled[s * CLS_FEATURES + i];
        grads->fc_weight[i] = (float)sum;
    }
}

/* What the linear layer sends back straight to the map. */
static void map_pool_backward(const HeadTrainer *t, size_t s, float dscore, float *dm) {
    const size_t n = map_pixels(t);
    const float *m = t->map + s * n, *weight = t->heads->params.fc_weight + 2 * CLS_CHANNELS;
    const float max = t->pooled[s * CLS_FEATURES + 2 * CLS_CHANNELS];
    const float dmax = dscore * weight[0] / t->map_ties[s], dmean = dscore * weight[1] / (float)n;
    for (size_t i = 0; i < n; i++) dm[i] += dmean + (m[i] == max ? dmax : 0.0f);
}

static ClsBlock block_of_sample(const HeadTrainer *t, size_t s, float dscore, float dmax[CLS_CHANNELS],
                                float dmean[CLS_CHANNELS]) {
    const float *weight = t->heads->params.fc_weight;
    for (size_t c = 0; c < CLS_CHANNELS; c++) {
        dmax[c] = dscore * weight[c] / t->ties[s * CLS_CHANNELS + c];
        dmean[c] = dscore * weight[CLS_CHANNELS + c] / (float)map_pixels(t);
    }
    return (ClsBlock){t->cls_scale, t->cls_shift, t->cls_mean, t->cls_inv_std, t->pooled + s * CLS_FEATURES,
                      dmax,         dmean};
}

static void batch_norm_backward(HeadTrainer *t, size_t samples, const float *dscore, HeadParams *grads) {
    const size_t h = t->g.h, w = t->g.w, n = h * w;
    float mean_dy[CLS_CHANNELS], mean_dy_xhat[CLS_CHANNELS];
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < samples; s++) {
        float dmax[CLS_CHANNELS], dmean[CLS_CHANNELS], *sums = t->cls_partial + s * CLS_MIXES;
        const ClsBlock block = block_of_sample(t, s, dscore[s], dmax, dmean);
        memset(sums, 0, 2 * CLS_CHANNELS * sizeof *sums);
        for (size_t y = 0; y < h; y++) /* as in pool_sample: no float sum grows long */
            t->k->cls_grad_sums(sample_d(t, s) + y * w * CLS_CHANNELS, w, &block, sums);
    }
    for (size_t c = 0; c < CLS_CHANNELS; c++) {
        double dy = 0, dy_xhat = 0;
        for (size_t s = 0; s < samples; s++) {
            dy += (double)t->cls_partial[s * CLS_MIXES + c];
            dy_xhat += (double)t->cls_partial[s * CLS_MIXES + CLS_CHANNELS + c];
        }
        grads->cls_beta[c] = (float)dy;
        grads->cls_gamma[c] = (float)dy_xhat;
        mean_dy[c] = (float)(dy / (double)(samples * n));
        mean_dy_xhat[c] = (float)(dy_xhat / (double)(samples * n));
    }
    memset(grads->cls_bias, 0, CLS_CHANNELS * sizeof(float));
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < samples; s++) {
        float dmax[CLS_CHANNELS], dmean[CLS_CHANNELS];
        const ClsBlock block = block_of_sample(t, s, dscore[s], dmax, dmean);
        t->k->cls_grad_rows(sample_d(t, s), n, &block, mean_dy, mean_dy_xhat);
    }
}

/* Sums each sample's (25, 128) of cls_partial into `taps`, in sample order. */
static void sum_taps(const HeadTrainer *t, size_t samples, float *taps) {
    for (size_t i = 0; i < CLS_MIXES; i++) {
        double sum = 0;
        for (size_t s = 0; s < samples; s++) sum += (double)t->cls_partial[s * CLS_MIXES + i];
        taps[i] = (float)sum;
    }
}

/* The map's channel: its taps' gradient, and the map's own unless stop_grad. */
static void map_channel_backward(HeadTrainer *t, size_t samples, const float *dscore, float *dmap, float *dtaps) {
    const size_t h = t->g.h, w = t->g.w;
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < samples; s++) {
        float *taps = t->cls_partial + s * CLS_MIXES, *dm = dmap + s * h * w;
        memset(taps, 0, CLS_MIXES * sizeof *taps);
        for (size_t y = 0; y < h; y++) {
            const float *d = sample_d(t, s) + y * w * CLS_CHANNELS;
            t->k->cls_map_grad_weight(t->map + s * h * w, h, w, y, d, taps);
            if (!t->stop_grad) t->k->cls_map_grad_map(d, h, w, y, t->heads->params.cls_map, dm);
        }
        if (!t->stop_grad) map_pool_backward(t, s, dscore[s], dm);
    }
    sum_taps(t, samples, dtaps);
}

/* The clean features: both samples' gradients summed, projected to low resolution, times the features. dweight
 * (25 * 128, c) is overwritten. */
static BlemishStatus clean_backward(HeadTrainer *t, const HeadBatch *batch, float *dweight, Error *e) {
    const Geometry *g = &t->g;
    const size_t n2 = g->h2 * g->w2, n3 = g->h3 * g->w3, n = map_pixels(t) * CLS_CHANNELS;
    const size_t column = (size_t)CLS_SIDE * g->w * CLS_CHANNELS;
    for (size_t b = 0; b < batch->images; b++) {
        const float *first = sample_d(t, b), *second = sample_d(t, b + batch->images);
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++) t->cls_sum[i] = first[i] + second[i];
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < g->h2 + g->h3; i++) {
            const bool low = i >= g->h2;
            const size_t r = low ? i - g->h2 : i;
            float *column_at = (low ? t->cls_t3 : t->cls_t2) + r * column;
            t->k->cls_project_y(t->cls_sum, low ? &t->lift.y3 : &t->lift.y2, r, g->w, column_at);
            t->k->cls_project_x(column_at, low ? &t->lift.x3 : &t->lift.x2,
                                low ? t->cls3.values + r * g->w3 * CLS_MIXES : t->cls2.values + r * g->w2 * CLS_MIXES);
        }
        operand_round(&t->cls2, n2 * CLS_MIXES);
        operand_round(&t->cls3, n3 * CLS_MIXES);
        if (product(t, true, false, CLS_MIXES, g->c2, n2, t->cls2, CLS_MIXES, operand_at(&t->f2, b * n2 * g->c2), g->c2,
                    b > 0, dweight, g->c, e) ||
            product(t, true, false, CLS_MIXES, g->c3, n3, t->cls3, CLS_MIXES, operand_at(&t->f3, b * n3 * g->c3), g->c3,
                    b > 0, dweight + g->c2, g->c, e))
            return e->status;
    }
    return BLEMISH_OK;
}

BlemishStatus cls_backward(HeadTrainer *t, const HeadBatch *batch, float *dmap, const float *dscore, HeadParams *grads,
                           Error *e) {
    const size_t samples = 2 * batch->images;
    linear_backward(t, samples, dscore, grads);
    batch_norm_backward(t, samples, dscore, grads);
    map_channel_backward(t, samples, dscore, dmap, grads->cls_map);
    return clean_backward(t, batch, t->heads->icpr ? t->cls_dfolded.values : grads->cls_weight, e);
}

/* From the gradients of W_cls W_adaptor and of W_cls b_adaptor to those of their factors. */
BlemishStatus cls_unfold(HeadTrainer *t, const HeadBatch *batch, HeadParams *grads, Error *e) {
    if (!t->heads->icpr) return BLEMISH_OK;
    const size_t samples = 2 * batch->images;
    const HeadParams *p = &t->heads->params;
    const size_t c = p->c, h = t->g.h, w = t->g.w;
    float *dtaps = t->cls_bias_taps, *ones = t->cls_sum; /* both are made anew in the next step */
    for (size_t i = 0; i < h * w; i++) ones[i] = 1.0f;
#pragma omp parallel for schedule(static)
    for (size_t s = 0; s < samples; s++) {
        float *taps = t->cls_partial + s * CLS_MIXES;
        memset(taps, 0, CLS_MIXES * sizeof *taps);
        for (size_t y = 0; y < h; y++)
            t->k->cls_map_grad_weight(ones, h, w, y, sample_d(t, s) + y * w * CLS_CHANNELS, taps);
    }
    sum_taps(t, samples, dtaps);
    operand_round(&t->cls_dfolded, CLS_MIXES * c);
    if (product(t, false, true, CLS_MIXES, c, c, t->cls_dfolded, c, operand_param(t, p->adaptor_weight), c, false,
                grads->cls_weight, c, e) ||
        product(t, true, false, c, c, CLS_MIXES, operand_param(t, p->cls_weight), c, t->cls_dfolded, c, true,
                grads->adaptor_weight, c, e))
        return e->status;
    for (size_t i = 0; i < CLS_MIXES; i++)
        for (size_t k = 0; k < c; k++) {
            grads->cls_weight[i * c + k] += dtaps[i] * p->adaptor_bias[k];
            grads->adaptor_bias[k] += dtaps[i] * p->cls_weight[i * c + k];
        }
    return BLEMISH_OK;
}
