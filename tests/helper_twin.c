#include "helper_twin.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *zero_doubles(size_t n) {
    double *p = calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

static double *doubles_of(const float *values, size_t n) {
    double *p = zero_doubles(n);
    for (size_t i = 0; i < n; i++) p[i] = (double)values[i];
    return p;
}

double *twin_param(const Twin *t, const float *p) {
    return t->params + (p - t->heads->params.all);
}

/* ---- lift ------------------------------------------------------------------------------------------------ */

/* Where PyTorch's interpolate reads output position `at`: `part` of the way from low to high. */
static double source(size_t at, size_t in, size_t out, bool align_corners, size_t *low, size_t *high) {
    const double x = align_corners ? (double)at * (double)(in - 1) / (double)(out - 1)
                                   : fmax(((double)at + 0.5) * (double)in / (double)out - 0.5, 0);
    *low = (size_t)x;
    *high = *low + 1 < in ? *low + 1 : *low;
    return x - (double)*low;
}

/* in (ih, iw, channels) -> channels [first, first + channels) of out (h, w, c). */
static void upsample(const float *in, size_t ih, size_t iw, size_t channels, const Geometry *g, bool align_corners,
                     size_t first, double *out) {
    for (size_t y = 0; y < g->h; y++)
        for (size_t x = 0; x < g->w; x++) {
            size_t top, bottom, left, right;
            const double v = source(y, ih, g->h, align_corners, &top, &bottom);
            const double u = source(x, iw, g->w, align_corners, &left, &right);
            for (size_t i = 0; i < channels; i++) {
                const double a = (double)in[(top * iw + left) * channels + i];
                const double b = (double)in[(top * iw + right) * channels + i];
                const double c = (double)in[(bottom * iw + left) * channels + i];
                const double d = (double)in[(bottom * iw + right) * channels + i];
                out[(y * g->w + x) * g->c + first + i] = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d);
            }
        }
}

/* 3x3, stride 1, the zero padding counted in the divisor. */
static void average(const double *in, const Geometry *g, double *out) {
    for (size_t y = 0; y < g->h; y++)
        for (size_t x = 0; x < g->w; x++)
            for (size_t i = y ? y - 1 : 0; i <= y + 1 && i < g->h; i++)
                for (size_t j = x ? x - 1 : 0; j <= x + 1 && j < g->w; j++)
                    for (size_t k = 0; k < g->c; k++)
                        out[(y * g->w + x) * g->c + k] += in[(i * g->w + j) * g->c + k] / 9;
}

/* ---- heads ----------------------------------------------------------------------------------------------- */

/* out (outs) = weight (outs, ins) in + bias. */
static void linear(const double *weight, const double *bias, const double *in, size_t ins, size_t outs, double *out) {
    for (size_t o = 0; o < outs; o++) {
        out[o] = bias[o];
        for (size_t i = 0; i < ins; i++) out[o] += weight[o * ins + i] * in[i];
    }
}

/* Both heads' inputs; the first one's convolution. */
static void make_inputs(Twin *t) {
    const HeadParams *p = &t->heads->params;
    const size_t pixels = t->g.h * t->g.w, c = p->c;
    double *seg_in = zero_doubles(c);
    for (size_t i = 0; i < t->samples * pixels; i++) {
        const double *feature = t->features + i % (t->images * pixels) * c;
        double *cls_in = t->cls_in + i * c;
        linear(twin_param(t, p->adaptor_weight), twin_param(t, p->adaptor_bias), feature, c, c, seg_in);
        memcpy(cls_in, t->heads->icpr ? seg_in : feature, c * sizeof *cls_in);
        for (size_t k = 0; t->training && t->noise_mask[i] && k < c; k++) {
            seg_in[k] += (double)t->noise[i * c + k];
            cls_in[k] += (double)t->noise[i * c + k];
        }
        linear(twin_param(t, p->seg_weight), twin_param(t, p->seg_bias), seg_in, c, p->hidden, t->seg + i * p->hidden);
    }
    free(seg_in);
}

/* In place, on v (n, channels). */
static void batch_norm(const Twin *t, double *v, size_t n, size_t channels, const float *gamma, const float *beta,
                       double *running_mean, double *running_var) {
    for (size_t c = 0; c < channels; c++) {
        double mean = running_mean[c], var = running_var[c];
        if (t->training) {
            mean = var = 0;
            for (size_t i = 0; i < n; i++) mean += v[i * channels + c] / (double)n;
            for (size_t i = 0; i < n; i++) var += pow(v[i * channels + c] - mean, 2) / (double)n;
            running_mean[c] = 0.9 * running_mean[c] + 0.1 * mean;
            running_var[c] = 0.9 * running_var[c] + 0.1 * var * (double)n / (double)(n - 1);
        }
        const double scale = *twin_param(t, gamma + c) / sqrt(var + 1e-5), shift = *twin_param(t, beta + c);
        for (size_t i = 0; i < n; i++) v[i * channels + c] = (v[i * channels + c] - mean) * scale + shift;
    }
}

/* out (h, w, 128) += 5x5 convolution with zero padding of in (h, w, ins); weight (25, 128, ins). */
static void convolve(const Geometry *g, const double *in, size_t ins, const double *weight, double *out) {
    double *turned = zero_doubles(CLS_TAPS * ins * CLS_CHANNELS); /* (25, ins, 128): the inner loop runs along it */
    for (size_t i = 0; i < CLS_TAPS * CLS_CHANNELS * ins; i++)
        turned[(i / ins / CLS_CHANNELS * ins + i % ins) * CLS_CHANNELS + i / ins % CLS_CHANNELS] = weight[i];
    for (size_t y = 0; y < g->h; y++)
        for (size_t x = 0; x < g->w; x++)
            for (size_t tap = 0; tap < CLS_TAPS; tap++) {
                const size_t from_y = y + tap / CLS_SIDE - 2, from_x = x + tap % CLS_SIDE - 2; /* wrap where outside */
                if (from_y >= g->h || from_x >= g->w) continue;
                const double *from = in + (from_y * g->w + from_x) * ins;
                double *to = out + (y * g->w + x) * CLS_CHANNELS;
                for (size_t i = 0; i < ins; i++)
                    for (size_t o = 0; o < CLS_CHANNELS; o++)
                        to[o] += from[i] * turned[(tap * ins + i) * CLS_CHANNELS + o];
            }
    free(turned);
}

/* The largest and the mean of n values `stride` apart. */
static void pool(const double *v, size_t n, size_t stride, double *max, double *mean) {
    *max = v[0];
    *mean = 0;
    for (size_t i = 0; i < n; i++) {
        *max = fmax(*max, v[i * stride]);
        *mean += v[i * stride] / (double)n;
    }
}

static void segment(Twin *t) {
    const HeadParams *p = &t->heads->params;
    const size_t n = t->samples * t->g.h * t->g.w;
    batch_norm(t, t->seg, n, p->hidden, p->seg_gamma, p->seg_beta, t->seg_mean, t->seg_var);
    for (size_t i = 0; i < n; i++) {
        t->map[i] = 0;
        for (size_t k = 0; k < p->hidden; k++) {
            const double y = t->seg[i * p->hidden + k];
            t->map[i] += *twin_param(t, p->seg_out + k) * (y > 0 ? y : 0.2 * y);
        }
    }
}

static void classify(Twin *t) {
    const HeadParams *p = &t->heads->params;
    const size_t pixels = t->g.h * t->g.w, n = t->samples * pixels;
    const double *map = t->seen_map ? t->seen_map : t->map;
    if (!t->keep_conv) memset(t->conv, 0, n * CLS_CHANNELS * sizeof *t->conv);
    for (size_t s = 0; s < t->samples; s++) {
        double *conv = t->conv + s * pixels * CLS_CHANNELS, *d = t->d + s * pixels * CLS_CHANNELS;
        if (!t->keep_conv) convolve(&t->g, t->cls_in + s * pixels * p->c, p->c, twin_param(t, p->cls_weight), conv);
        for (size_t i = 0; i < pixels * CLS_CHANNELS; i++)
            d[i] = conv[i] + *twin_param(t, p->cls_bias + i % CLS_CHANNELS);
        convolve(&t->g, map + s * pixels, 1, twin_param(t, p->cls_map), d);
    }
    batch_norm(t, t->d, n, CLS_CHANNELS, p->cls_gamma, p->cls_beta, t->cls_mean, t->cls_var);
    for (size_t i = 0; i < n * CLS_CHANNELS; i++) t->d[i] = fmax(t->d[i], 0);
    for (size_t s = 0; s < t->samples; s++) {
        double pooled[CLS_FEATURES];
        for (size_t k = 0; k < CLS_CHANNELS; k++)
            pool(t->d + s * pixels * CLS_CHANNELS + k, pixels, CLS_CHANNELS, pooled + k, pooled + CLS_CHANNELS + k);
        pool(map + s * pixels, pixels, 1, pooled + 2 * CLS_CHANNELS, pooled + 2 * CLS_CHANNELS + 1);
        linear(twin_param(t, p->fc_weight), twin_param(t, p->fc_bias), pooled, CLS_FEATURES, 1, t->score + s);
    }
}

void twin_forward(Twin *t) {
    make_inputs(t);
    segment(t);
    classify(t);
}

void twin_open(Twin *t, const Heads *heads, const Geometry *g, bool align_corners, size_t images, const float *f2,
               const float *f3, double feature_scale, const uint8_t *noise_mask, const float *noise) {
    const HeadParams *p = &heads->params;
    const size_t pixels = g->h * g->w, samples = noise ? 2 * images : images, n = samples * pixels;
    *t = (Twin){.heads = heads,
                .g = *g,
                .images = images,
                .samples = samples,
                .training = noise != NULL,
                .noise_mask = noise_mask,
                .noise = noise};
    t->params = doubles_of(p->all, p->total);
    t->features = zero_doubles(images * pixels * g->c);
    double *up = zero_doubles(pixels * g->c);
    for (size_t b = 0; b < images; b++) {
        upsample(f2 + b * g->h2 * g->w2 * g->c2, g->h2, g->w2, g->c2, g, align_corners, 0, up);
        upsample(f3 + b * g->h3 * g->w3 * g->c3, g->h3, g->w3, g->c3, g, align_corners, g->c2, up);
        average(up, g, t->features + b * pixels * g->c);
    }
    free(up);
    for (size_t i = 0; i < images * pixels * g->c; i++) t->features[i] /= feature_scale;
    t->map = zero_doubles(n);
    t->score = zero_doubles(samples);
    t->seg_mean = doubles_of(heads->stats.seg_mean, p->hidden);
    t->seg_var = doubles_of(heads->stats.seg_var, p->hidden);
    t->cls_mean = doubles_of(heads->stats.cls_mean, CLS_CHANNELS);
    t->cls_var = doubles_of(heads->stats.cls_var, CLS_CHANNELS);
    t->seg = zero_doubles(n * p->hidden);
    t->cls_in = zero_doubles(n * g->c);
    t->conv = zero_doubles(n * CLS_CHANNELS);
    t->d = zero_doubles(n * CLS_CHANNELS);
}

void twin_close(Twin *t) {
    double *buffers[] = {t->params,   t->features, t->map, t->score,  t->seg_mean, t->seg_var,
                         t->cls_mean, t->cls_var,  t->seg, t->cls_in, t->conv,     t->d};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

/* ---- loss ------------------------------------------------------------------------------------------------ */

/* log(sigmoid(x)), for any x. */
static double log_sigmoid(double x) {
    return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
}

static double focal(double logit, bool target) {
    const double log_pt = log_sigmoid(target ? logit : -logit);
    return -log_pt * pow(-expm1(log_pt), 4);
}

LossTerms twin_loss(const LossInput *in, const double *map, const double *score) {
    LossTerms terms = {0};
    size_t good = 0, bad = 0;
    for (size_t i = 0; i < in->samples * in->pixels; i++) {
        if (!in->segmented[i / in->pixels]) continue;
        const double weight = in->weight ? (double)in->weight[i] : 1;
        if (in->mask[i])
            bad++, terms.l1_bad += weight * fmax(0, 0.5 - map[i]);
        else
            good++, terms.l1_good += weight * fmax(0, map[i] + 0.5);
        terms.focal_map += weight * focal(map[i], in->mask[i]);
    }
    for (size_t s = 0; s < in->samples && !in->unscored; s++)
        terms.focal_score += focal(score[s], in->label[s]) / (double)in->samples;
    if (good) terms.l1_good /= (double)good;
    if (bad) terms.l1_bad /= (double)bad;
    if (good + bad) terms.focal_map /= (double)(good + bad);
    terms.total = terms.l1_good + terms.l1_bad + terms.focal_map + terms.focal_score;
    return terms;
}

/* ---- random heads ---------------------------------------------------------------------------------------- */

void random_heads(Random *r, Heads *heads, size_t c, size_t hidden) {
    Error e = {0};
    if (heads_open(heads, c, hidden, &e)) fail_msg("%s", e.text);
    for (size_t i = 0; i < HEAD_TENSORS; i++) {
        TrunkTensor t;
        heads_tensor(heads, i, &t);
        size_t n = 1, fan_in = 1;
        for (size_t k = 0; k < t.rank; k++) n *= t.shape[k], fan_in *= k ? t.shape[k] : 1;
        float *values = random_floats(r, n);
        const bool variance = strstr(t.name, "running_var") != NULL, gamma = strstr(t.name, "bn.weight") != NULL;
        for (size_t k = 0; k < n; k++) {
            values[k] *= t.rank > 1 ? sqrtf(3.0f / (float)fan_in) : 0.5f;
            if (variance || gamma) values[k] += 1;
            if (gamma && random_below(r, 4) == 0) values[k] = -values[k];
        }
        heads_set(heads, i, values);
        free(values);
    }
}
