#include "api/api.h"
#include "metric/interval.h"

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
    const uint8_t *roi; /* the model's */
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
            pixel_ranking_add(&c->pixels, j->map, j->map_mask, j->height, j->width, e))
            return e->status;
    }
    BlemishEvaluated evaluated = {
        .sample = {.path = s->path, .mask_path = s->mask_path, .type = s->type, .label = s->label, .split = s->split},
        .image = j->image,
        .mask = j->mask,
        .defect_area = j->defect_area,
        .roi = c->roi,
        .result = j->result};
    if (c->each && c->each(c->each_user, &evaluated))
        return error_set(e, BLEMISH_ERROR_INTERRUPTED, "evaluation: stopped by the caller at %s", s->path);
    return BLEMISH_OK;
}

static BlemishStatus compute_scores(const Collected *c, BlemishMetrics *m, BlemishIntervals *v, Error *e) {
    if (metric_auroc(c->scores, c->labels, c->count, &m->i_auroc, e) ||
        metric_average_precision(c->scores, c->labels, c->count, &m->ap_det, e) ||
        metric_auroc(c->peaks, c->labels, c->count, &m->seg_i_auroc, e) ||
        metric_average_precision(c->peaks, c->labels, c->count, &m->seg_ap_det, e) ||
        metric_best_f1(c->scores, c->labels, c->count, &m->best_f1, &m->best_f1_threshold, e))
        return e->status;
    if (v == NULL) return BLEMISH_OK;
    const Bootstrap b = {v->confidence, v->resamples, v->seed};
    ScoreIntervals scores, peaks;
    if (bootstrap_scores(&b, c->scores, c->labels, c->count, &scores, e) ||
        bootstrap_scores(&b, c->peaks, c->labels, c->count, &peaks, e))
        return e->status;
    v->i_auroc = scores.auroc;
    v->ap_det = scores.ap;
    v->best_f1 = scores.f1;
    v->seg_i_auroc = peaks.auroc;
    v->seg_ap_det = peaks.ap;
    return BLEMISH_OK;
}

/* The histograms are made before the metrics sort the pixels. */
static BlemishStatus compute_pixels(Collected *c, BlemishMetrics *m, BlemishIntervals *v, double *resampled, Error *e) {
    PixelHistograms h;
    if (v && pixel_histograms_open(&h, &c->pixels, e)) return e->status;
    PixelMetrics p = pixel_ranking_metrics(&c->pixels);
    m->p_auroc = p.p_auroc;
    m->ap_loc = p.ap_loc;
    m->aupro = p.aupro;
    m->pixel_best_f1 = p.best_f1;
    m->pixel_best_f1_threshold = p.best_f1_threshold;
    if (v == NULL) return BLEMISH_OK;
    const Bootstrap b = {v->confidence, v->resamples, v->seed};
    PixelIntervals i;
    BlemishStatus status = bootstrap_pixel_values(&b, &h, &p, resampled, e);
    pixel_histograms_close(&h);
    if (status == BLEMISH_OK) status = bootstrap_pixels(&b, resampled, &i, e);
    if (status != BLEMISH_OK) return status;
    v->p_auroc = i.p_auroc;
    v->ap_loc = i.ap_loc;
    v->aupro = i.aupro;
    v->pixel_best_f1 = i.best_f1;
    return BLEMISH_OK;
}

static void no_metrics(BlemishMetrics *m, BlemishIntervals *v) {
    const BlemishInterval none = {NAN, NAN};
    *m = (BlemishMetrics){.i_auroc = NAN,
                          .ap_det = NAN,
                          .seg_i_auroc = NAN,
                          .seg_ap_det = NAN,
                          .p_auroc = NAN,
                          .ap_loc = NAN,
                          .aupro = NAN,
                          .best_f1 = NAN,
                          .best_f1_threshold = NAN,
                          .pixel_best_f1 = NAN,
                          .pixel_best_f1_threshold = NAN,
                          .seconds_per_image = NAN};
    if (v)
        *v = (BlemishIntervals){.confidence = v->confidence,
                                .resamples = v->resamples,
                                .seed = v->seed,
                                .i_auroc = none,
                                .ap_det = none,
                                .seg_i_auroc = none,
                                .seg_ap_det = none,
                                .best_f1 = none,
                                .p_auroc = none,
                                .ap_loc = none,
                                .aupro = none,
                                .pixel_best_f1 = none};
}

static BlemishStatus compute(Collected *c, BlemishMetrics *m, BlemishIntervals *v, BlemishSession *session, Error *e) {
    no_metrics(m, v);
    m->images = c->count;
    m->defects = c->defects;
    m->masks = c->masks;
    m->seconds_per_image = c->seconds / (double)c->seen;
    if (compute_scores(c, m, v, e)) return e->status;
    if (c->masks == 0) return BLEMISH_OK;
    if (v) {
        session->pixels_resampled = array_new(4, v->resamples * sizeof *session->pixels_resampled, e);
        if (session->pixels_resampled == NULL) return e->status;
        session->pixel_resamples = v->resamples;
    }
    return compute_pixels(c, m, v, session->pixels_resampled, e);
}

/* After compute: the pixels are sorted then. */
static BlemishStatus draw_curves(const Collected *c, Curve curves[BLEMISH_CURVES], Error *e) {
    if (curve_scores(&curves[BLEMISH_CURVE_IMAGES], c->scores, c->labels, c->count, e)) return e->status;
    return c->masks ? curve_pixels(&curves[BLEMISH_CURVE_PIXELS], &c->pixels, e) : BLEMISH_OK;
}

static BlemishStatus collected_open(Collected *c, const Manifest *manifest, BlemishSplit split, const Session *session,
                                    Error *e) {
    Extent extent = {0};
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
    if (!c->with_pixels) return BLEMISH_OK;
    if (judge_extent(&session->model->geometry, session->tiling.on, manifest, split, &extent, e)) return e->status;
    return pixel_ranking_open(&c->pixels, known, extent.total, extent.most, e);
}

static void collected_close(Collected *c) {
    pixel_ranking_close(&c->pixels);
    array_free(c->scores);
    array_free(c->peaks);
    array_free(c->labels);
}

BlemishStatus check_resampling(double confidence, size_t resamples, Error *e) {
    enum { LEAST = 100, MOST = 100000 };
    if (!(confidence > 0 && confidence < 1))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "confidence: found %g, expected a number between 0 and 1",
                         confidence);
    if (resamples < LEAST || resamples > MOST)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "resamples: found %zu, expected %d to %d", resamples, LEAST, MOST);
    return BLEMISH_OK;
}

static BlemishStatus evaluate(BlemishSession *session, const BlemishDataset *dataset, BlemishSplit split,
                              BlemishMetrics *metrics, BlemishIntervals *intervals, Collected *c,
                              BlemishProgressFn progress, void *progress_user) {
    if (session == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&session->error);
    if (!session->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "session: found one that failed to open");
    if (metrics == NULL) return error_null(e, "metrics");
    if (dataset == NULL || !dataset->open)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    if (intervals && check_resampling(intervals->confidence, intervals->resamples, e)) return e->status;
    for (int i = 0; i < BLEMISH_CURVES; i++) curve_close(&session->curves[i]);
    array_free(session->pixels_resampled);
    session->pixels_resampled = NULL;
    session->pixel_resamples = 0;
    c->roi = session->session.model->roi;
    BlemishStatus status = collected_open(c, &dataset->manifest, split, &session->session, e);
    if (status == BLEMISH_OK)
        status = judge_split(&session->session, &dataset->manifest, split, collect, c, progress, progress_user, e);
    if (status == BLEMISH_OK) status = compute(c, metrics, intervals, session, e);
    if (status == BLEMISH_OK) status = draw_curves(c, session->curves, e);
    collected_close(c);
    return status;
}

BLEMISH_API BlemishStatus blemish_evaluate(BlemishSession *session, const BlemishDataset *dataset, BlemishSplit split,
                                           BlemishMetrics *metrics, BlemishEvaluatedFn each, void *each_user,
                                           BlemishProgressFn progress, void *progress_user) {
    Collected c = {.each = each, .each_user = each_user};
    return evaluate(session, dataset, split, metrics, NULL, &c, progress, progress_user);
}

BLEMISH_API void blemish_intervals_defaults(BlemishIntervals *intervals) {
    if (intervals) *intervals = (BlemishIntervals){.confidence = 0.95, .resamples = 1000};
}

BLEMISH_API BlemishStatus blemish_evaluate_intervals(BlemishSession *session, const BlemishDataset *dataset,
                                                     BlemishSplit split, BlemishMetrics *metrics,
                                                     BlemishIntervals *intervals, BlemishEvaluatedFn each,
                                                     void *each_user, BlemishProgressFn progress, void *progress_user) {
    if (session && intervals == NULL) return error_null(error_begin(&session->error), "intervals");
    Collected c = {.each = each, .each_user = each_user};
    return evaluate(session, dataset, split, metrics, intervals, &c, progress, progress_user);
}

BLEMISH_API BlemishStatus blemish_score_intervals(const float *scores, const uint8_t *labels, size_t n,
                                                  BlemishMetrics *metrics, BlemishIntervals *intervals, char *error) {
    Error e = {0};
    ScoreIntervals i;
    if (scores == NULL || labels == NULL || metrics == NULL || intervals == NULL)
        error_null(&e, scores == NULL ? "scores" : labels == NULL ? "labels" : metrics ? "intervals" : "metrics");
    else if (check_resampling(intervals->confidence, intervals->resamples, &e) == BLEMISH_OK) {
        const Bootstrap b = {intervals->confidence, intervals->resamples, intervals->seed};
        no_metrics(metrics, intervals);
        metrics->images = n;
        for (size_t k = 0; k < n; k++) metrics->defects += labels[k] != 0;
        if (metric_auroc(scores, labels, n, &metrics->i_auroc, &e) == BLEMISH_OK &&
            metric_average_precision(scores, labels, n, &metrics->ap_det, &e) == BLEMISH_OK &&
            metric_best_f1(scores, labels, n, &metrics->best_f1, &metrics->best_f1_threshold, &e) == BLEMISH_OK &&
            bootstrap_scores(&b, scores, labels, n, &i, &e) == BLEMISH_OK) {
            intervals->i_auroc = i.auroc;
            intervals->ap_det = i.ap;
            intervals->best_f1 = i.f1;
        }
    }
    return error_report(&e, error);
}

BLEMISH_API BlemishStatus blemish_rate_interval(size_t count, size_t trials, double confidence, BlemishInterval *out) {
    if (out == NULL || count > trials || !(confidence > 0 && confidence < 1)) return BLEMISH_ERROR_ARGUMENT;
    *out = binomial_interval(count, trials, confidence);
    return BLEMISH_OK;
}

BLEMISH_API size_t blemish_images_needed(double rate, double confidence) {
    const bool within = rate > 0 && rate < 1 && confidence > 0 && confidence < 1;
    return within ? binomial_needed(rate, confidence) : 0;
}

BLEMISH_API int blemish_too_few(size_t good, size_t defects, double rate, double confidence,
                                char text[BLEMISH_ERROR_SIZE]) {
    const size_t needed = blemish_images_needed(rate, confidence);
    const bool few_good = good && good < needed, few_defects = defects && defects < needed;
    if (text == NULL || !(few_good || few_defects)) return 0;
    const double missed = 100 * binomial_upper(0, defects, 1 - confidence);
    const double rejected = 100 * binomial_upper(0, good, 1 - confidence);
    char first[128] = "", second[128] = "";
    if (few_defects) snprintf(first, sizeof first, "up to %.3g %% of defects missed", missed);
    if (few_good) snprintf(second, sizeof second, "up to %.3g %% of good images rejected", rejected);
    snprintf(text, BLEMISH_ERROR_SIZE,
             "%zu defective and %zu good images are too few: without one error they still leave room for %s%s%s "
             "(%g %% confidence); %g %% takes %zu of each",
             defects, good, first, few_defects && few_good ? " and " : "", second, 100 * confidence, 100 * rate,
             needed);
    return 1;
}

BLEMISH_API size_t blemish_session_curve(const BlemishSession *session, BlemishCurveKind kind,
                                         const BlemishCurvePoint **points) {
    const bool known = session && (unsigned)kind < BLEMISH_CURVES;
    if (points) *points = known ? session->curves[kind].points : NULL;
    return known && points ? session->curves[kind].count : 0;
}

BLEMISH_API size_t blemish_session_pixel_resamples(const BlemishSession *session, const double **values) {
    if (values) *values = session ? session->pixels_resampled : NULL;
    return session && values ? session->pixel_resamples : 0;
}
