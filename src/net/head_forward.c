/* Inference: the folded heads applied at low resolution and lifted last; docs/architecture.md derives it. */
#include "net/head_runner.h"

#include <math.h>
#include <string.h>

/* One row of map logits: lift a block of channels, activate, reduce - the full-resolution channels never leave the
 * first-level cache. */
static void seg_row(const HeadRunner *r, size_t y, float *row, float *map) {
    const size_t w = r->g.w, stride = r->hidden + SEG_PAD;
    const LiftMap maps[2] = {{r->s2, stride, &r->lift.y2, &r->lift.x2}, {r->s3, stride, &r->lift.y3, &r->lift.x3}};
    float *m = map + y * w;
    memset(m, 0, w * sizeof *m);
    for (size_t c = 0; c < r->hidden; c += LIFT_BLOCK) {
        const SegBlock block = {.scale = r->ones, .shift = r->seg_shift + c, .out = r->seg_out + c};
        r->k->lift_row(maps, 2, y, c, row + w * LIFT_BLOCK, row);
        r->k->seg_dot(row, w, &block, m);
    }
}

/* One row of the classification head's 128 channels, reduced to its maximum and sum after the ReLU. */
static void cls_row(const HeadRunner *r, size_t y, float *d, const float *map) {
    const size_t w = r->g.w;
    for (size_t x = 0; x < w; x++) memcpy(d + x * CLS_CHANNELS, r->cls_shift, CLS_CHANNELS * sizeof *d);
    if (r->cls_base)
        for (size_t i = 0; i < w * CLS_CHANNELS; i++) d[i] += r->cls_base[y * w * CLS_CHANNELS + i];
    r->k->cls_lift_y(r->t2, &r->lift.y2, y, w, d);
    r->k->cls_lift_y(r->t3, &r->lift.y3, y, w, d);
    r->k->cls_map_row(map, r->g.h, w, y, r->cls_map, d);
    float *max = r->row_max + y * CLS_CHANNELS, *sum = r->row_sum + y * CLS_CHANNELS;
    memset(max, 0, CLS_CHANNELS * sizeof *max); /* the ReLU's floor */
    memset(sum, 0, CLS_CHANNELS * sizeof *sum);
    for (size_t x = 0; x < w; x++)
        for (size_t i = 0; i < CLS_CHANNELS; i++) {
            const float v = d[x * CLS_CHANNELS + i] > 0.0f ? d[x * CLS_CHANNELS + i] : 0.0f;
            max[i] = v > max[i] ? v : max[i];
            sum[i] += v;
        }
}

/* The linear layer on [max, mean of the 128 channels, max, mean of the map]. */
static float score_of(const HeadRunner *r, const float *map) {
    const size_t h = r->g.h, n = r->g.h * r->g.w;
    double score = (double)r->fc[CLS_FEATURES], map_sum = 0;
    for (size_t i = 0; i < CLS_CHANNELS; i++) {
        float max = 0;
        double sum = 0;
        for (size_t y = 0; y < h; y++) {
            max = fmaxf(max, r->row_max[y * CLS_CHANNELS + i]);
            sum += (double)r->row_sum[y * CLS_CHANNELS + i];
        }
        score += (double)r->fc[i] * (double)max + (double)r->fc[CLS_CHANNELS + i] * sum / (double)n;
    }
    float map_max = map[0];
    for (size_t i = 0; i < n; i++) {
        map_max = fmaxf(map_max, map[i]);
        map_sum += (double)map[i];
    }
    score += (double)r->fc[2 * CLS_CHANNELS] * (double)map_max;
    return (float)(score + (double)r->fc[2 * CLS_CHANNELS + 1] * map_sum / (double)n);
}

BlemishStatus head_runner_run(HeadRunner *r, const float *f2, const float *f3, float *map, float *score, Error *e) {
    if (conv_run(r->seg2, f2, r->s2, r->scratch, e) || conv_run(r->seg3, f3, r->s3, r->scratch, e) ||
        conv_run(r->cls2, f2, r->z2, r->scratch, e) || conv_run(r->cls3, f3, r->z3, r->scratch, e))
        return e->status;
    engine_lap(r->engine, "head mixes");
    cls_lift_columns(r->k, &r->lift, r->z2, r->z3, r->t2, r->t3);
#pragma omp parallel
    {
        float *row = r->rows + (size_t)engine_thread_index() * r->row_floats;
#pragma omp for schedule(static)
        for (size_t y = 0; y < r->g.h; y++) seg_row(r, y, row, map);
#pragma omp for schedule(static)
        for (size_t y = 0; y < r->g.h; y++) cls_row(r, y, row, map);
    }
    *score = score_of(r, map);
    profile_work(engine_profile(r->engine), r->lift_work.gmac, r->lift_work.gb, BLEMISH_PRECISION_AUTO);
    engine_lap(r->engine, "lift and heads");
    return BLEMISH_OK;
}
