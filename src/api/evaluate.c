#include "api/api.h"
#include "metric/pixels.h"

#include <math.h>
#include <string.h>

/* What is kept of every image with a known label until the metrics are computed. */
typedef struct Collected {
    bool with_pixels; /* some image has a mask */
    size_t count, masks, defects, seen;
    float *scores, *peaks;
    uint8_t *labels;
    PixelRanking pixels;
    double seconds;
    BlemishEvaluatedFn each;
    void *each_user;
} Collected;

static BlemishStatus collect(void *user, const Judged *j, Error *e) {
    Collected *c = user;
    const Sample *s = j->sample;
    c->seen++;
    c->seconds += j->seconds;
    if (s->label != BLEMISH_LABEL_UNKNOWN) {
        c->scores[c->count] = j->result.score;
        c->peaks[c->count] = j->result.map_max;
        c->labels[c->count++] = s->label == BLEMISH_LABEL_DEFECT;
        c->defects += s->label == BLEMISH_LABEL_DEFECT;
        c->masks += j->mask != NULL;
        /* A defect that nobody marked says nothing of single pixels. */
        if (c->with_pixels && (j->mask || s->label == BLEMISH_LABEL_GOOD) &&
            pixel_ranking_add(&c->pixels, j->result.map, j->mask, e))
            return e->status;
    }
    BlemishEvaluated evaluated = {
        .sample = {.path = s->path, .mask_path = s->mask_path, .type = s->type, .label = s->label, .split = s->split},
        .image = j->image,
        .mask = j->mask,
        .defect_area = j->defect_area,
        .result = j->result};
    if (c->each && c->each(c->each_user, &evaluated))
        return error_set(e, BLEMISH_ERROR_INTERRUPTED, "evaluation: stopped by the caller at %s", s->path);
    return BLEMISH_OK;
}

static BlemishStatus compute(Collected *c, BlemishMetrics *m, Error *e) {
    *m = (BlemishMetrics){.images = c->count,
                          .defects = c->defects,
                          .masks = c->masks,
                          .p_auroc = NAN,
                          .ap_loc = NAN,
                          .aupro = NAN,
                          .pixel_best_f1 = NAN,
                          .pixel_best_f1_threshold = NAN,
                          .seconds_per_image = c->seconds / (double)c->seen};
    if (metric_auroc(c->scores, c->labels, c->count, &m->i_auroc, e) ||
        metric_average_precision(c->scores, c->labels, c->count, &m->ap_det, e) ||
        metric_auroc(c->peaks, c->labels, c->count, &m->seg_i_auroc, e) ||
        metric_average_precision(c->peaks, c->labels, c->count, &m->seg_ap_det, e) ||
        metric_best_f1(c->scores, c->labels, c->count, &m->best_f1, &m->best_f1_threshold, e))
        return e->status;
    if (c->masks == 0) return BLEMISH_OK;
    PixelMetrics p = pixel_ranking_metrics(&c->pixels);
    m->p_auroc = p.p_auroc;
    m->ap_loc = p.ap_loc;
    m->aupro = p.aupro;
    m->pixel_best_f1 = p.best_f1;
    m->pixel_best_f1_threshold = p.best_f1_threshold;
    return BLEMISH_OK;
}

/* After compute: the pixels are sorted then. */
static BlemishStatus draw_curves(const Collected *c, Curve curves[BLEMISH_CURVES], Error *e) {
    if (curve_scores(&curves[BLEMISH_CURVE_IMAGES], c->scores, c->labels, c->count, e)) return e->status;
    return c->masks ? curve_pixels(&curves[BLEMISH_CURVE_PIXELS], &c->pixels, e) : BLEMISH_OK;
}

static BlemishStatus collected_open(Collected *c, const Manifest *manifest, BlemishSplit split, const Geometry *g,
                                    Error *e) {
    size_t known =
        count_labelled(manifest, split, BLEMISH_LABEL_GOOD) + count_labelled(manifest, split, BLEMISH_LABEL_DEFECT);
    if (known == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found no %s image with a label",
                         split == BLEMISH_SPLIT_TEST ? "test" : "training");
    for (size_t i = 0; i < manifest->count; i++) {
        const Sample *s = &manifest->samples[i];
        c->with_pixels |= s->split == split && s->mask_path && s->label != BLEMISH_LABEL_UNKNOWN;
    }
    c->scores = array_new(known, sizeof *c->scores, e);
    c->peaks = array_new(known, sizeof *c->peaks, e);
    c->labels = array_new(known, sizeof *c->labels, e);
    if (!c->scores || !c->peaks || !c->labels) return e->status;
    return c->with_pixels ? pixel_ranking_open(&c->pixels, known, g->height, g->width, e) : BLEMISH_OK;
}

static void collected_close(Collected *c) {
    pixel_ranking_close(&c->pixels);
    array_free(c->scores);
    array_free(c->peaks);
    array_free(c->labels);
}

BLEMISH_API BlemishStatus blemish_evaluate(BlemishSession *session, const BlemishDataset *dataset, BlemishSplit split,
                                           BlemishMetrics *metrics, BlemishEvaluatedFn each, void *each_user,
                                           BlemishProgressFn progress, void *progress_user) {
    if (session == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&session->error);
    if (!session->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "session: found one that failed to open");
    if (metrics == NULL) return error_null(e, "metrics");
    if (dataset == NULL || !dataset->open)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    const Geometry *g = &session->session.model->geometry;
    Collected c = {.each = each, .each_user = each_user};
    for (int i = 0; i < BLEMISH_CURVES; i++) curve_close(&session->curves[i]);
    BlemishStatus status = collected_open(&c, &dataset->manifest, split, g, e);
    if (status == BLEMISH_OK)
        status = judge_split(&session->session, &dataset->manifest, split, collect, &c, progress, progress_user, e);
    if (status == BLEMISH_OK) status = compute(&c, metrics, e);
    if (status == BLEMISH_OK) status = draw_curves(&c, session->curves, e);
    collected_close(&c);
    return status;
}

BLEMISH_API size_t blemish_session_curve(const BlemishSession *session, BlemishCurveKind kind,
                                         const BlemishCurvePoint **points) {
    const bool known = session && (unsigned)kind < BLEMISH_CURVES;
    if (points) *points = known ? session->curves[kind].points : NULL;
    return known && points ? session->curves[kind].count : 0;
}
