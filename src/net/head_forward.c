/* Inference: the folded heads applied at low resolution and lifted last; docs/architecture.md derives it. */
#include "net/head_runner.h"

#include <math.h>
#include <string.h>

/* ---- levels ---------------------------------------------------------------------------------------------- */

static const uint8_t *features_at(const HeadRunner *r, const Level *l, const uint8_t *f, size_t row) {
    return f + row * l->x->in * l->channels * element_size(r->type);
}

/* The convolution writes a strip at once, behind what is still needed, which moves to the front. */
static BlemishStatus seg_strip(HeadRunner *r, Level *l, const uint8_t *f, size_t first, size_t keep, Error *e) {
    if (keep < first) memmove(l->rows, l->rows + (keep - l->held) * l->row, (l->made - keep) * l->row * sizeof(float));
    l->held = keep;
    conv_run(l->mix[0], features_at(r, l, f, first), l->rows + (first - keep) * l->row, r->scratch, e);
    engine_lap(r->engine, "head mixes");
    return e->status;
}

/* Each thread mixes its part for one row of the kernel after the other and lifts that along x. */
static BlemishStatus cls_strip(HeadRunner *r, const Level *l, const uint8_t *f, size_t first, Error *e) {
    const size_t cols = l->x->in, lifted = l->x->out * CLS_CHANNELS;
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < l->strip / l->part; part++) {
        const size_t top = first + part * l->part;
        float *mixes = r->mixes + part * l->part * cols * CLS_ROW_MIXES;
        Error mine = {0};
        for (size_t u = 0; u < CLS_SIDE && mine.status == BLEMISH_OK; u++) {
            conv_run_part(l->mix[u], part, features_at(r, l, f, top), mixes, r->scratch, &mine);
            if (part == 0) engine_lap(r->engine, "head mixes");
            for (size_t i = 0; i < l->part; i++)
                r->k->cls_lift_x(mixes + i * cols * CLS_ROW_MIXES, CLS_ROW_MIXES, l->x,
                                 l->rows + ((top + i) % l->capacity * CLS_SIDE + u) * lifted);
            if (part == 0) engine_lap(r->engine, "lift and heads");
        }
        if (mine.status)
#pragma omp critical
            *e = mine;
    }
    return e->status;
}

/* The level's next strip, from the map's features f; where fewer rows are left than a strip has, from so far above that
 * it fits, which makes some rows again. Rows above what output row y reads may go. */
static BlemishStatus level_advance(HeadRunner *r, Level *l, const uint8_t *f, size_t y, Error *e) {
    const size_t left = l->y->in - l->strip, first = l->made < left ? l->made : left, used = level_first(l, y);
    const bool classification = l->reach > 0;
    e->status = BLEMISH_OK;
    if (first || classification) engine_lap(r->engine, "lift and heads"); /* of the strips before */
    if (classification)
        cls_strip(r, l, f, first, e);
    else
        seg_strip(r, l, f, first, used < first ? used : first, e);
    l->made = first + l->strip;
    return e->status;
}

/* Makes what output row y needs of both maps; *end becomes one past the last row that needs no more. */
static BlemishStatus levels_reach(HeadRunner *r, Level levels[2], const void *const f[2], size_t y, size_t *end,
                                  Error *e) {
    for (int i = 0; i < 2; i++) {
        if (y == 0) levels[i].held = levels[i].made = 0;
        while (levels[i].made < level_end(&levels[i], y))
            if (level_advance(r, &levels[i], f[i], y, e)) return e->status;
    }
    *end = y + 1;
    while (*end < r->g.h && level_end(&levels[0], *end) <= levels[0].made &&
           level_end(&levels[1], *end) <= levels[1].made)
        ++*end;
    return BLEMISH_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------------ */

static float *scratch_of_thread(const HeadRunner *r) {
    return r->scratch_rows + (size_t)engine_thread_index() * r->scratch_floats;
}

static void seg_row(const HeadRunner *r, size_t y, float *map) {
    LiftMap maps[2];
    for (int i = 0; i < 2; i++) {
        const Level *l = &r->seg[i];
        maps[i] = (LiftMap){.data = l->rows, .stride = r->hidden + SEG_PAD, .y = l->y, .x = l->x, .top = l->held};
    }
    r->k->seg_map_row(maps, y, r->hidden, r->seg_shift, r->seg_out, scratch_of_thread(r), map + y * r->g.w);
}

/* Up to CLS_ROWS rows of the classification head's 128 channels, each reduced to its maximum and sum after the ReLU. */
static void cls_rows(const HeadRunner *r, size_t y, size_t rows, const float *map) {
    const size_t w = r->g.w, row = w * CLS_CHANNELS;
    float *d = scratch_of_thread(r), ties[CLS_CHANNELS] = {0};
    ClsMap maps[2];
    for (int i = 0; i < 2; i++) maps[i] = (ClsMap){r->cls[i].rows, r->cls[i].capacity, r->cls[i].y};
    r->k->cls_lift_y(maps, y, rows, w, r->cls_base ? r->cls_base + y * row : NULL, d);
    for (size_t k = 0; k < rows; k++) {
        float *max = r->row_max + (y + k) * CLS_CHANNELS, *sum = r->row_sum + (y + k) * CLS_CHANNELS;
        memset(max, 0, CLS_CHANNELS * sizeof *max); /* the ReLU's floor */
        memset(sum, 0, CLS_CHANNELS * sizeof *sum);
        r->k->cls_map_row(map, r->g.h, w, y + k, r->cls_map, d + k * row);
        r->k->cls_pool(d + k * row, w, r->cls_scale, r->cls_shift, max, sum, ties);
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

/* The linear layer on [max, mean of the 128 channels, max, mean of the map]. */
static float score_of(const HeadRunner *r, const float *map) {
    const size_t h = r->g.h, n = r->g.h * r->g.w;
    double score = (double)r->fc[CLS_FEATURES], map_sum = 0;
    for (size_t i = 0; i < CLS_CHANNELS; i++) {
        float max = 0;
        double sum = 0;
        for (size_t y = 0; y < h; y++) {
            const float row = r->row_max[y * CLS_CHANNELS + i];
            max = max > row ? max : row;
            sum += (double)r->row_sum[y * CLS_CHANNELS + i];
        }
        score += (double)r->fc[i] * (double)max + (double)r->fc[CLS_CHANNELS + i] * sum / (double)n;
    }
    float map_max = map[0];
    for (size_t i = 0; i < n; i++) {
        map_max = map_max > map[i] ? map_max : map[i];
        map_sum += (double)map[i];
    }
    score += (double)r->fc[2 * CLS_CHANNELS] * (double)map_max;
    return (float)(score + (double)r->fc[2 * CLS_CHANNELS + 1] * map_sum / (double)n);
}

BlemishStatus head_runner_run(HeadRunner *r, const void *f2, const void *f3, float *map, float *score, Error *e) {
    const void *const f[2] = {f2, f3};
    for (size_t y = 0, end; y < r->g.h; y = end) {
        if (levels_reach(r, r->seg, f, y, &end, e)) return e->status;
#pragma omp parallel for schedule(static)
        for (size_t row = y; row < end; row++) seg_row(r, row, map);
    }
    engine_lap(r->engine, "lift and heads");
    *score = 0;
    for (size_t y = 0, end; y < r->g.h && !r->map_score; y = end) {
        if (levels_reach(r, r->cls, f, y, &end, e)) return e->status;
#pragma omp parallel for schedule(static)
        for (size_t row = y; row < end; row += CLS_ROWS)
            cls_rows(r, row, end - row < CLS_ROWS ? end - row : CLS_ROWS, map);
    }
    if (!r->map_score) *score = score_of(r, map);
    profile_work(engine_profile(r->engine), r->lift_work.gmac, r->lift_work.gb, BLEMISH_PRECISION_AUTO);
    engine_lap(r->engine, "lift and heads");
    return BLEMISH_OK;
}
