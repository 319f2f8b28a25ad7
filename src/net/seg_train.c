/* The segmentation head in training: 1x1 convolution, BatchNorm over the batch, LeakyReLU, 1x1 to the map. Channels go
 * in blocks of 64 that stay in cache; rows are lifted again in every pass, which is cheaper than storing them. */
#include "net/head_train.h"

#include <string.h>

typedef struct Pass {
    HeadTrainer *t;
    size_t images, block; /* block: first channel */
    float *z2, *z3;       /* this block's mixes */
} Pass;

static size_t pixels2(const HeadTrainer *t) {
    return t->g.h2 * t->g.w2;
}
static size_t pixels3(const HeadTrainer *t) {
    return t->g.h3 * t->g.w3;
}

static Pass pass_at(HeadTrainer *t, size_t images, size_t block) {
    return (Pass){t, images, block, t->seg2 + block * t->batch * pixels2(t), t->seg3 + block * t->batch * pixels3(t)};
}

static void lift_clean(const Pass *p, size_t image, size_t y, float *scratch, float *row) {
    const HeadTrainer *t = p->t;
    const LiftMap maps[2] = {{p->z2 + image * pixels2(t) * LIFT_BLOCK, LIFT_BLOCK, &t->lift.y2, &t->lift.x2, 0},
                             {p->z3 + image * pixels3(t) * LIFT_BLOCK, LIFT_BLOCK, &t->lift.y3, &t->lift.x3, 0}};
    t->k->lift_row(maps, 2, y, 0, scratch, row);
}

/* The noise's mixes of one sample's row at this block of channels. */
typedef struct NoisyRow {
    const uint32_t *pixel;
    float *mix; /* stride hidden */
    size_t count, stride, first_pixel;
} NoisyRow;

static NoisyRow noisy_row(const Pass *p, size_t sample, size_t y) {
    const HeadTrainer *t = p->t;
    const size_t first = t->noisy_row[sample * t->g.h + y], end = t->noisy_row[sample * t->g.h + y + 1];
    const size_t hidden = t->heads->params.hidden;
    return (NoisyRow){t->noisy_pixel + first, t->noise_mix + first * hidden + p->block, end - first, hidden,
                      y * t->g.w};
}

/* The row a sample sees: the clean one itself where it has no noise, else a copy with noise in `copy`. */
static float *row_of_sample(const Pass *p, size_t sample, size_t y, float *clean, float *copy) {
    const NoisyRow noisy = noisy_row(p, sample, y);
    if (noisy.count == 0) return clean;
    memcpy(copy, clean, p->t->g.w * LIFT_BLOCK * sizeof *copy);
    for (size_t i = 0; i < noisy.count; i++) {
        float *to = copy + (noisy.pixel[i] - noisy.first_pixel) * LIFT_BLOCK;
        for (size_t c = 0; c < LIFT_BLOCK; c++) to[c] += noisy.mix[i * noisy.stride + c];
    }
    return copy;
}

/* Per thread: the clean row, a sample's row, the sum of both gradients, the lift's scratch. */
typedef struct Rows {
    float *clean, *copy, *sum, *scratch;
} Rows;

static Rows rows_of_thread(const HeadTrainer *t) {
    float *base = t->rows + (size_t)engine_thread_index() * t->row_floats;
    const size_t n = t->g.w * LIFT_BLOCK;
    return (Rows){base, base + n, base + 2 * n, base + 3 * n};
}

/* ---- forward --------------------------------------------------------------------------------------------- */

static BlemishStatus mix_block(HeadTrainer *t, const HeadBatch *batch, size_t block, Error *e) {
    const Pass p = pass_at(t, batch->images, block);
    const Operand weight = operand_at(&t->seg_folded, block * t->g.c);
    if (product(t, false, true, batch->images * pixels2(t), LIFT_BLOCK, t->g.c2, t->f2, t->g.c2, weight, t->g.c, false,
                p.z2, LIFT_BLOCK, e))
        return e->status;
    return product(t, false, true, batch->images * pixels3(t), LIFT_BLOCK, t->g.c3, t->f3, t->g.c3,
                   operand_at(&weight, t->g.c2), t->g.c, false, p.z3, LIFT_BLOCK, e);
}

/* Near the block's means, so that sums of squares keep their digits: the first image's low-resolution averages. */
static void block_center(const Pass *p, float center[LIFT_BLOCK]) {
    double sum[LIFT_BLOCK] = {0};
    const size_t n2 = pixels2(p->t), n3 = pixels3(p->t);
    for (size_t i = 0; i < n2; i++)
        for (size_t c = 0; c < LIFT_BLOCK; c++) sum[c] += (double)p->z2[i * LIFT_BLOCK + c] / (double)n2;
    for (size_t i = 0; i < n3; i++)
        for (size_t c = 0; c < LIFT_BLOCK; c++) sum[c] += (double)p->z3[i * LIFT_BLOCK + c] / (double)n3;
    for (size_t c = 0; c < LIFT_BLOCK; c++) center[c] = (float)sum[c];
}

static void block_statistics(const Pass *p) {
    HeadTrainer *t = p->t;
    const HeadParams *params = &t->heads->params;
    float center[LIFT_BLOCK];
    block_center(p, center);
    memset(t->seg_partial, 0, p->images * 3 * LIFT_BLOCK * sizeof(float));
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < p->images; b++) {
        const Rows rows = rows_of_thread(t);
        float *sums = t->seg_partial + b * 3 * LIFT_BLOCK;
        for (size_t y = 0; y < t->g.h; y++) {
            lift_clean(p, b, y, rows.scratch, rows.clean);
            for (size_t s = b; s < 2 * p->images; s += p->images)
                t->k->column_stats(row_of_sample(p, s, y, rows.clean, rows.copy), t->g.w, LIFT_BLOCK, center, sums,
                                   sums + LIFT_BLOCK);
        }
    }
    const size_t c0 = p->block;
    const BatchNorm bn = {params->seg_gamma, params->seg_beta,         params->seg_bias,
                          t->seg_mean,       t->seg_inv_std,           t->seg_scale,
                          t->seg_shift,      t->heads->stats.seg_mean, t->heads->stats.seg_var};
    for (size_t c = 0; c < LIFT_BLOCK; c++) {
        double sum = 0, square = 0;
        for (size_t b = 0; b < p->images; b++) {
            sum += (double)t->seg_partial[b * 3 * LIFT_BLOCK + c];
            square += (double)t->seg_partial[(b * 3 + 1) * LIFT_BLOCK + c];
        }
        batch_norm_update(&bn, c0 + c, (double)(2 * p->images * t->g.h * t->g.w), (double)center[c], sum, square);
    }
}

static SegBlock seg_block(const HeadTrainer *t, size_t c0) {
    return (SegBlock){t->seg_scale + c0, t->seg_shift + c0, t->heads->params.seg_out + c0, t->seg_mean + c0,
                      t->seg_inv_std + c0};
}

static void block_to_map(const Pass *p) {
    HeadTrainer *t = p->t;
    const SegBlock block = seg_block(t, p->block);
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < p->images; b++) {
        const Rows rows = rows_of_thread(t);
        for (size_t y = 0; y < t->g.h; y++) {
            lift_clean(p, b, y, rows.scratch, rows.clean);
            for (size_t s = b; s < 2 * p->images; s += p->images)
                t->k->seg_dot(row_of_sample(p, s, y, rows.clean, rows.copy), t->g.w, &block,
                              t->map + (s * t->g.h + y) * t->g.w);
        }
    }
}

/* The adaptor's bias reaches the head through its 1x1 convolution; only the running mean sees it. */
static void add_adaptor_bias(HeadTrainer *t) {
    const HeadParams *p = &t->heads->params;
    for (size_t o = 0; o < p->hidden; o++)
        t->heads->stats.seg_mean[o] += (float)(0.1 * adaptor_bias_through(p, p->seg_weight + o * p->c));
}

BlemishStatus seg_forward(HeadTrainer *t, const HeadBatch *batch, Error *e) {
    memset(t->map, 0, 2 * batch->images * t->g.h * t->g.w * sizeof *t->map);
    for (size_t block = 0; block < t->heads->params.hidden; block += LIFT_BLOCK) {
        if (mix_block(t, batch, block, e)) return e->status;
        const Pass p = pass_at(t, batch->images, block);
        block_statistics(&p);
        block_to_map(&p);
    }
    add_adaptor_bias(t);
    return BLEMISH_OK;
}

/* ---- backward -------------------------------------------------------------------------------------------- */

/* BatchNorm's two means, and the gradients of its scale and shift and of the last convolution. */
static void block_gradient_sums(const Pass *p, const float *dmap, HeadParams *grads, float mean_dy[LIFT_BLOCK],
                                float mean_dy_xhat[LIFT_BLOCK]) {
    HeadTrainer *t = p->t;
    const SegBlock block = seg_block(t, p->block);
    memset(t->seg_partial, 0, p->images * 3 * LIFT_BLOCK * sizeof(float));
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < p->images; b++) {
        const Rows rows = rows_of_thread(t);
        for (size_t y = 0; y < t->g.h; y++) {
            lift_clean(p, b, y, rows.scratch, rows.clean);
            for (size_t s = b; s < 2 * p->images; s += p->images)
                t->k->seg_grad_sums(row_of_sample(p, s, y, rows.clean, rows.copy), t->g.w, &block,
                                    dmap + (s * t->g.h + y) * t->g.w, t->seg_partial + b * 3 * LIFT_BLOCK);
        }
    }
    const double n = (double)(2 * p->images * t->g.h * t->g.w);
    for (size_t c = 0; c < LIFT_BLOCK; c++) {
        double sums[3] = {0};
        for (size_t b = 0; b < p->images; b++)
            for (size_t i = 0; i < 3; i++) sums[i] += (double)t->seg_partial[(b * 3 + i) * LIFT_BLOCK + c];
        grads->seg_beta[p->block + c] = (float)sums[0];
        grads->seg_gamma[p->block + c] = (float)sums[1];
        grads->seg_out[p->block + c] = (float)sums[2];
        mean_dy[c] = (float)(sums[0] / n);
        mean_dy_xhat[c] = (float)(sums[1] / n);
    }
}

/* Gradients of the pre-activations: kept at the noisy pixels, summed over both samples and projected elsewhere. */
static void block_project(const Pass *p, const float *dmap, const float *mean_dy, const float *mean_dy_xhat) {
    HeadTrainer *t = p->t;
    const SegBlock block = seg_block(t, p->block);
    const size_t n2 = pixels2(t) * LIFT_BLOCK, n3 = pixels3(t) * LIFT_BLOCK, w = t->g.w;
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < p->images; b++) {
        const Rows rows = rows_of_thread(t);
        const LiftGrad grads[2] = {{t->seg_grad2.values + b * n2, LIFT_BLOCK, &t->lift.y2, &t->lift.x2},
                                   {t->seg_grad3.values + b * n3, LIFT_BLOCK, &t->lift.y3, &t->lift.x3}};
        memset(grads[0].data, 0, n2 * sizeof(float));
        memset(grads[1].data, 0, n3 * sizeof(float));
        for (size_t y = 0; y < t->g.h; y++) {
            lift_clean(p, b, y, rows.scratch, rows.clean);
            memset(rows.sum, 0, w * LIFT_BLOCK * sizeof(float));
            for (size_t s = b; s < 2 * p->images; s += p->images) {
                float *row = row_of_sample(p, s, y, rows.clean, rows.copy);
                if (row == rows.clean) row = memcpy(rows.copy, rows.clean, w * LIFT_BLOCK * sizeof(float));
                t->k->seg_grad_row(row, w, &block, dmap + (s * t->g.h + y) * w, mean_dy, mean_dy_xhat);
                const NoisyRow noisy = noisy_row(p, s, y);
                for (size_t i = 0; i < noisy.count; i++)
                    memcpy(noisy.mix + i * noisy.stride, row + (noisy.pixel[i] - noisy.first_pixel) * LIFT_BLOCK,
                           LIFT_BLOCK * sizeof(float));
                for (size_t i = 0; i < w * LIFT_BLOCK; i++) rows.sum[i] += row[i];
            }
            t->k->project_row(grads, 2, y, 0, rows.scratch, rows.sum);
        }
    }
}

BlemishStatus seg_backward(HeadTrainer *t, const HeadBatch *batch, const float *dmap, HeadParams *grads, Error *e) {
    const HeadParams *p = &t->heads->params;
    const size_t c = t->g.c, c2 = t->g.c2, c3 = t->g.c3;
    for (size_t block = 0; block < p->hidden; block += LIFT_BLOCK) {
        float mean_dy[LIFT_BLOCK], mean_dy_xhat[LIFT_BLOCK];
        const Pass pass = pass_at(t, batch->images, block);
        block_gradient_sums(&pass, dmap, grads, mean_dy, mean_dy_xhat);
        block_project(&pass, dmap, mean_dy, mean_dy_xhat);
        const size_t n2 = batch->images * pixels2(t), n3 = batch->images * pixels3(t);
        float *dfolded = t->seg_dfolded.values + block * c;
        operand_round(&t->seg_grad2, n2 * LIFT_BLOCK);
        operand_round(&t->seg_grad3, n3 * LIFT_BLOCK);
        if (product(t, true, false, LIFT_BLOCK, c2, n2, t->seg_grad2, LIFT_BLOCK, t->f2, c2, false, dfolded, c, e) ||
            product(t, true, false, LIFT_BLOCK, c3, n3, t->seg_grad3, LIFT_BLOCK, t->f3, c3, false, dfolded + c2, c, e))
            return e->status;
    }
    memset(grads->seg_bias, 0, p->hidden * sizeof(float));
    memset(grads->adaptor_bias, 0, c * sizeof(float));
    /* folded = W_seg W_adaptor */
    operand_round(&t->seg_dfolded, p->hidden * c);
    if (product(t, false, true, p->hidden, c, c, t->seg_dfolded, c, operand_param(t, p->adaptor_weight), c, false,
                grads->seg_weight, c, e))
        return e->status;
    return product(t, true, false, c, c, p->hidden, operand_param(t, p->seg_weight), c, t->seg_dfolded, c, false,
                   grads->adaptor_weight, c, e);
}
