/* One training step of the heads: what is shared by both, and the noise, whose mixes are computed at the noisy
 * pixels alone and chunk by chunk, made again for the backward pass instead of being kept. */
#include "net/head_train.h"

#include <math.h>
#include <string.h>

void batch_norm_update(const BatchNorm *bn, size_t channel, double n, double center, double sum, double square) {
    const size_t c = channel;
    const double mean = center + sum / n, variance = fmax(square / n - (sum / n) * (sum / n), 0.0);
    const double inv_std = 1.0 / sqrt(variance + BN_EPSILON), scale = (double)bn->gamma[c] * inv_std;
    bn->mean[c] = (float)mean;
    bn->inv_std[c] = (float)inv_std;
    bn->scale[c] = (float)scale;
    bn->shift[c] = (float)((double)bn->beta[c] - mean * scale);
    bn->running_mean[c] = (float)(0.9 * (double)bn->running_mean[c] + 0.1 * (mean + (double)bn->bias[c]));
    bn->running_var[c] = (float)(0.9 * (double)bn->running_var[c] + 0.1 * variance * n / (n - 1.0));
}

/* ---- folding --------------------------------------------------------------------------------------------- */

/* The products of weights that a step starts from. */
static BlemishStatus fold(HeadTrainer *t, Error *e) {
    const HeadParams *p = &t->heads->params;
    const size_t c = p->c;
    const Operand adaptor = operand_param(t, p->adaptor_weight);
    operand_round(&t->params, p->total);
    if (product(t, false, false, p->hidden, c, c, operand_param(t, p->seg_weight), c, adaptor, c, false,
                t->seg_folded.values, c, e))
        return e->status;
    operand_round(&t->seg_folded, p->hidden * c);
    if (!t->heads->icpr) return BLEMISH_OK;
    if (product(t, false, false, CLS_MIXES, c, c, operand_param(t, p->cls_weight), c, adaptor, c, false,
                t->cls_folded.values, c, e))
        return e->status;
    operand_round(&t->cls_folded, CLS_MIXES * c);
    for (size_t i = 0; i < CLS_MIXES; i++) t->cls_bias_taps[i] = (float)adaptor_bias_through(p, p->cls_weight + i * c);
    return BLEMISH_OK;
}

/* The batch's features as operands; only the rounded copies are the trainer's own. */
static void take_features(HeadTrainer *t, const HeadBatch *batch) {
    t->f2.values = (float *)(uintptr_t)batch->f2;
    t->f3.values = (float *)(uintptr_t)batch->f3;
    operand_round(&t->f2, batch->images * t->g.h2 * t->g.w2 * t->g.c2);
    operand_round(&t->f3, batch->images * t->g.h3 * t->g.w3 * t->g.c3);
}

/* ---- noise ----------------------------------------------------------------------------------------------- */

static BlemishStatus list_noisy(HeadTrainer *t, const HeadBatch *batch, Error *e) {
    const size_t h = t->g.h, w = t->g.w, rows = 2 * batch->images * h;
    size_t count = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t x = 0; x < w; x++) count += batch->noise_mask[r * w + x];
    count = (count + NOISE_STEP - 1) / NOISE_STEP * NOISE_STEP; /* the last chunk's padding */
    if (count > t->noisy_capacity) {
        array_free(t->noise_mix);
        array_free(t->noisy_pixel);
        t->noisy_capacity = 0;
        t->noise_mix = array_new(count, t->heads->params.hidden * sizeof(float), e);
        t->noisy_pixel = array_new(count, sizeof *t->noisy_pixel, e);
        if (t->noise_mix == NULL || t->noisy_pixel == NULL) return e->status;
        t->noisy_capacity = count;
    }
    t->noisy = 0;
    for (size_t r = 0; r < rows; r++) {
        t->noisy_row[r] = t->noisy;
        for (size_t x = 0; x < w; x++)
            if (batch->noise_mask[r * w + x]) t->noisy_pixel[t->noisy++] = (uint32_t)(r % h * w + x);
    }
    t->noisy_row[rows] = t->noisy;
    return BLEMISH_OK;
}

/* Sample of the entry `at`; entries are visited in order, so the search starts from the last answer. */
static size_t sample_of(const HeadTrainer *t, size_t at, size_t from) {
    while (t->noisy_row[(from + 1) * t->g.h] <= at) from++;
    return from;
}

/* noise (padded, c): of `count` entries from `at`, then zeros. */
static void make_noise(HeadTrainer *t, const HeadBatch *batch, size_t at, size_t count, size_t padded) {
    const size_t c = t->g.c, pixels = t->g.h * t->g.w;
    memset(t->noise.values + count * c, 0, (padded - count) * c * sizeof(float));
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++) {
        const size_t s = sample_of(t, at + i, 0), pixel = t->noisy_pixel[at + i];
        if (batch->noise)
            memcpy(t->noise.values + i * c, batch->noise + (s * pixels + pixel) * c, c * sizeof(float));
        else
            t->k->gauss(batch->noise_key, s, pixel * c, c, batch->noise_std, t->noise.values + i * c);
    }
    operand_round(&t->noise, padded * c);
}

/* Adds a chunk's (count, 25, 128) to the pre-activations around its pixels. Threads share pixels but not channels. */
static void scatter(HeadTrainer *t, size_t at, size_t count) {
    enum { LANES = 16 };
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < CLS_CHANNELS; c += LANES)
        for (size_t i = 0, s = 0; i < count; i++) {
            const size_t pixel = t->noisy_pixel[at + i];
            s = sample_of(t, at + i, s);
            t->k->cls_scatter(t->mixes.values + i * CLS_MIXES, t->g.h, t->g.w, pixel / t->g.w, pixel % t->g.w, c, LANES,
                              t->d.values + s * t->g.h * t->g.w * CLS_CHANNELS);
        }
}

/* The gradients around a chunk's pixels, (count, 25, 128), in what the product reads. */
static void gather(HeadTrainer *t, size_t at, size_t count) {
    const size_t size = t->bf16 ? sizeof(uint16_t) : sizeof(float), sample = t->g.h * t->g.w * CLS_CHANNELS * size;
    const uint8_t *d = t->bf16 ? (const uint8_t *)t->d.rounded : (const uint8_t *)t->d.values;
    uint8_t *mixes = t->bf16 ? (uint8_t *)t->mixes.rounded : (uint8_t *)t->mixes.values;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++) {
        const size_t s = sample_of(t, at + i, 0), pixel = t->noisy_pixel[at + i];
        t->k->cls_gather(d + s * sample, size, t->g.h, t->g.w, pixel / t->g.w, pixel % t->g.w,
                         mixes + i * CLS_MIXES * size);
    }
}

/* Entries of the chunk at `at`, and the rows its products run over. */
static size_t chunk_size(const HeadTrainer *t, size_t at, size_t *padded) {
    const size_t n = t->noisy - at < NOISE_CHUNK ? t->noisy - at : NOISE_CHUNK;
    *padded = (n + NOISE_STEP - 1) / NOISE_STEP * NOISE_STEP;
    return n;
}

static BlemishStatus noise_forward(HeadTrainer *t, const HeadBatch *batch, Error *e) {
    const HeadParams *p = &t->heads->params;
    const size_t c = p->c;
    for (size_t at = 0, n, padded; at < t->noisy; at += n) {
        n = chunk_size(t, at, &padded);
        make_noise(t, batch, at, n, padded);
        if (product(t, false, true, padded, p->hidden, c, t->noise, c, operand_param(t, p->seg_weight), c, false,
                    t->noise_mix + at * p->hidden, p->hidden, e) ||
            product(t, false, true, padded, CLS_MIXES, c, t->noise, c, operand_param(t, p->cls_weight), c, false,
                    t->mixes.values, CLS_MIXES, e))
            return e->status;
        scatter(t, at, n);
    }
    return BLEMISH_OK;
}

/* The rows of padding meet zeros of noise. Gradients are rounded before they are gathered, each in 25 places. */
static BlemishStatus noise_backward(HeadTrainer *t, const HeadBatch *batch, HeadParams *grads, Error *e) {
    const HeadParams *p = &t->heads->params;
    const size_t c = p->c;
    if (t->noisy) operand_round(&t->d, 2 * batch->images * t->g.h * t->g.w * CLS_CHANNELS);
    for (size_t at = 0, n, padded; at < t->noisy; at += n) {
        n = chunk_size(t, at, &padded);
        make_noise(t, batch, at, n, padded);
        gather(t, at, n);
        t->chunk.values = t->noise_mix + at * p->hidden;
        operand_round(&t->chunk, padded * p->hidden);
        if (product(t, true, false, p->hidden, c, padded, t->chunk, p->hidden, t->noise, c, true, grads->seg_weight, c,
                    e) ||
            product(t, true, false, CLS_MIXES, c, padded, t->mixes, CLS_MIXES, t->noise, c, true, grads->cls_weight, c,
                    e))
            return e->status;
    }
    return BLEMISH_OK;
}

/* ---- the step -------------------------------------------------------------------------------------------- */

BlemishStatus head_trainer_forward(HeadTrainer *t, const HeadBatch *batch, Error *e) {
    e->status = BLEMISH_OK;
    take_features(t, batch);
    if (fold(t, e) || list_noisy(t, batch, e)) return e->status;
    engine_lap(t->engine, "fold weights");
    if (cls_forward_clean(t, batch, e)) return e->status;
    engine_lap(t->engine, "cls forward");
    if (noise_forward(t, batch, e)) return e->status;
    engine_lap(t->engine, "noise forward");
    if (seg_forward(t, batch, e)) return e->status;
    engine_lap(t->engine, "seg forward");
    cls_forward_finish(t, batch);
    engine_lap(t->engine, "cls forward");
    return BLEMISH_OK;
}

BlemishStatus head_trainer_backward(HeadTrainer *t, const HeadBatch *batch, float *dmap, const float *dscore,
                                    HeadParams *grads, Error *e) {
    e->status = BLEMISH_OK;
    if (cls_backward(t, batch, dmap, dscore, grads, e)) return e->status;
    engine_lap(t->engine, "cls backward");
    if (seg_backward(t, batch, dmap, grads, e) || cls_unfold(t, batch, grads, e)) return e->status;
    engine_lap(t->engine, "seg backward");
    if (noise_backward(t, batch, grads, e)) return e->status;
    engine_lap(t->engine, "noise backward");
    return BLEMISH_OK;
}

/* ---- buffers --------------------------------------------------------------------------------------------- */

static BlemishStatus open_buffers(HeadTrainer *t, Error *e) {
    const Geometry *g = &t->g;
    const size_t hidden = t->heads->params.hidden, B = t->batch, n = g->h * g->w;
    const size_t n2 = g->h2 * g->w2, n3 = g->h3 * g->w3, column = (size_t)CLS_SIDE * g->w * CLS_CHANNELS;
    const size_t icpr = t->heads->icpr ? 1 : 0;
    t->row_floats = (3 * g->w + g->w2) * LIFT_BLOCK;
    const struct {
        float **at;
        size_t count;
    } buffers[] = {{&t->map, 2 * B * n},
                   {&t->score, 2 * B},
                   {&t->seg2, hidden * B * n2},
                   {&t->seg3, hidden * B * n3},
                   {&t->seg_mean, hidden},
                   {&t->seg_inv_std, hidden},
                   {&t->seg_scale, hidden},
                   {&t->seg_shift, hidden},
                   {&t->seg_partial, B * 3 * LIFT_BLOCK},
                   {&t->rows, (size_t)engine_threads(t->engine) * t->row_floats},
                   {&t->cls_bias_taps, icpr * CLS_MIXES},
                   {&t->cls_bias_map, icpr * n * CLS_CHANNELS},
                   {&t->cls_t2, g->h2 * column},
                   {&t->cls_t3, g->h3 * column},
                   {&t->cls_sum, n * CLS_CHANNELS},
                   {&t->cls_mean, CLS_CHANNELS},
                   {&t->cls_inv_std, CLS_CHANNELS},
                   {&t->cls_scale, CLS_CHANNELS},
                   {&t->cls_shift, CLS_CHANNELS},
                   {&t->pooled, 2 * B * CLS_FEATURES},
                   {&t->ties, 2 * B * CLS_CHANNELS},
                   {&t->map_ties, 2 * B},
                   {&t->cls_partial, 2 * B * CLS_MIXES}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        *buffers[i].at = array_new(buffers[i].count, sizeof(float), e);
        if (*buffers[i].at == NULL && buffers[i].count) return e->status;
    }
    t->noisy_row = array_new(2 * B * g->h + 1, sizeof *t->noisy_row, e);
    return e->status;
}

/* Every operand but `params`, with its size; three of them hold a rounded copy of values that lie elsewhere. */
enum { OPERANDS = 14, BORROWED = 3 };
typedef struct OperandSize {
    Operand *operand;
    size_t count;
} OperandSize;

static void list_operands(HeadTrainer *t, OperandSize out[OPERANDS]) {
    const Geometry *g = &t->g;
    const size_t hidden = t->heads->params.hidden, n2 = g->h2 * g->w2, n3 = g->h3 * g->w3;
    const size_t folded = t->heads->icpr ? CLS_MIXES * g->c : 0;
    const OperandSize list[OPERANDS] = {{&t->f2, t->batch * n2 * g->c2},
                                        {&t->f3, t->batch * n3 * g->c3},
                                        {&t->chunk, NOISE_CHUNK * hidden},
                                        {&t->noise, NOISE_CHUNK * g->c},
                                        {&t->mixes, (size_t)NOISE_CHUNK * CLS_MIXES},
                                        {&t->seg_folded, hidden * g->c},
                                        {&t->seg_dfolded, hidden * g->c},
                                        {&t->seg_grad2, LIFT_BLOCK * t->batch * n2},
                                        {&t->seg_grad3, LIFT_BLOCK * t->batch * n3},
                                        {&t->cls_folded, folded},
                                        {&t->cls_dfolded, folded},
                                        {&t->cls2, n2 * CLS_MIXES},
                                        {&t->cls3, n3 * CLS_MIXES},
                                        {&t->d, 2 * t->batch * g->h * g->w * CLS_CHANNELS}};
    memcpy(out, list, sizeof list);
}

static BlemishStatus open_operands(HeadTrainer *t, Error *e) {
    OperandSize list[OPERANDS];
    list_operands(t, list);
    t->params.values = t->heads->params.all;
    if (t->bf16) t->params.rounded = array_new(t->heads->params.total, sizeof *t->params.rounded, e);
    for (size_t i = 0; i < OPERANDS; i++) {
        if (i >= BORROWED && operand_open(list[i].operand, list[i].count, t->bf16, e)) return e->status;
        if (i < BORROWED && t->bf16)
            list[i].operand->rounded = array_new(list[i].count, sizeof *list[i].operand->rounded, e);
    }
    return e->status;
}

static void close_operands(HeadTrainer *t) {
    OperandSize list[OPERANDS];
    list_operands(t, list);
    t->params.values = NULL;
    operand_close(&t->params);
    for (size_t i = 0; i < OPERANDS; i++) {
        if (i < BORROWED) list[i].operand->values = NULL;
        operand_close(list[i].operand);
    }
}

BlemishStatus head_trainer_open(HeadTrainer **out, Engine *engine, Heads *heads, const Geometry *g,
                                const HeadTrainerSettings *settings, Error *e) {
    e->status = BLEMISH_OK;
    HeadTrainer *t = array_new(1, sizeof *t, e);
    *out = t;
    if (t == NULL) return e->status;
    t->engine = engine;
    t->k = kernels();
    t->heads = heads;
    t->g = *g;
    t->batch = settings->batch;
    t->stop_grad = settings->stop_grad;
    t->bf16 = settings->bf16;
    if (lift_open(&t->lift, g, settings->align_corners, e) || open_buffers(t, e) || open_operands(t, e)) {
        head_trainer_close(t);
        *out = NULL;
    }
    return e->status;
}

void head_trainer_close(HeadTrainer *t) {
    if (t == NULL) return;
    void *buffers[] = {t->map,      t->score,         t->noise_mix,    t->noisy_pixel, t->noisy_row, t->seg2,
                       t->seg3,     t->seg_mean,      t->seg_inv_std,  t->seg_scale,   t->seg_shift, t->seg_partial,
                       t->rows,     t->cls_bias_taps, t->cls_bias_map, t->cls_t2,      t->cls_t3,    t->cls_sum,
                       t->cls_mean, t->cls_inv_std,   t->cls_scale,    t->cls_shift,   t->pooled,    t->ties,
                       t->map_ties, t->cls_partial};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) array_free(buffers[i]);
    close_operands(t);
    lift_close(&t->lift);
    array_free(t);
}
