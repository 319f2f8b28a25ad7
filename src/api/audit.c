/* Label audit: k models, each trained on all folds but one, judge the fold they never saw. */
#include "api/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDS_MIN = 2, FOLDS_MAX = 32 };

/* Least distance in logits between a fold's threshold and its medians: a judge that hardly tells the labels apart
 * disputes little, whichever way its noise points. */
static const double least_spread = 0.5;

typedef struct Verdict {
    size_t sample, fold;
    float score, peak; /* the map's maximum */
    double dispute;
} Verdict;

typedef struct Fold {
    BlemishModel model; /* its trunk is the audit's */
    float threshold;
} Fold;

typedef struct Audit {
    BlemishAuditSettings settings;
    const Manifest *given;
    Manifest manifest; /* the given samples, with their splits set for each fold */
    Trunk own;         /* where no model lends its trunk */
    const Trunk *trunk;
    size_t fold; /* being trained */
    Fold *folds;
    size_t *fold_of;
    Verdict *verdicts; /* in order of folds, at last of disputes */
    size_t count;
    double *logits; /* scratch */
    BlemishSession *session;
    size_t session_fold;
} Audit;

/* ---- judging --------------------------------------------------------------------------------------------- */

static int fold_progress(void *user, const BlemishProgress *progress) {
    const Audit *a = user;
    char stage[64];
    BlemishProgress p = *progress;
    snprintf(stage, sizeof stage, "fold %zu/%zu %s", a->fold + 1, a->settings.folds, progress->stage);
    p.stage = stage;
    return a->settings.train.progress(a->settings.train.progress_user, &p);
}

static BlemishStatus keep_verdict(void *user, const Judged *judged, Error *e) {
    (void)e;
    Audit *a = user;
    const size_t sample = (size_t)(judged->sample - a->manifest.samples);
    a->verdicts[a->count++] = (Verdict){sample, a->fold, judged->result.score, judged->result.map_max, 0};
    return BLEMISH_OK;
}

/* Images without a label stay in the training split, where training passes over them. */
static BlemishStatus run_fold(Audit *a, Recipe recipe, Error *e) {
    BlemishTrainSettings train = a->settings.train;
    train.checkpoint = train.log_csv = NULL;
    train.resume = 0;
    if (train.progress) train.progress = fold_progress;
    train.progress_user = a;
    for (size_t i = 0; i < a->manifest.count; i++)
        a->manifest.samples[i].split = a->fold_of[i] == a->fold ? BLEMISH_SPLIT_TEST : BLEMISH_SPLIT_TRAIN;
    Model *model = &a->folds[a->fold].model.model;
    model_start(model);
    model->trunk = *a->trunk;
    if (train_settle(&recipe, &a->manifest, e) || train_heads(model, &a->manifest, &recipe, &train, e))
        return e->status;
    a->folds[a->fold].model.open = true;
    Session session;
    const BlemishSessionSettings settings = {.threads = train.threads, .batch = 1};
    if (session_open(&session, model, &settings, e)) return e->status;
    BlemishStatus status = judge_split(&session, &a->manifest, BLEMISH_SPLIT_TEST, keep_verdict, a, train.progress,
                                       train.progress_user, e);
    session_close(&session);
    return status;
}

/* ---- comparing folds ------------------------------------------------------------------------------------- */

static double logit(float probability) {
    const double p = fmin(fmax((double)probability, 1e-6), 1 - 1e-6);
    return log(p / (1 - p));
}

static BlemishLabel label_of(const Audit *a, const Verdict *v) {
    return a->manifest.samples[v->sample].label;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median logit of the scores, or of the maps' maxima, of one label's images in n verdicts; there is one. */
static double median(const Audit *a, const Verdict *v, size_t n, BlemishLabel label, bool peaks) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (label_of(a, &v[i]) == label) a->logits[k++] = logit(peaks ? v[i].peak : v[i].score);
    qsort(a->logits, k, sizeof *a->logits, ascending);
    return 0.5 * (a->logits[(k - 1) / 2] + a->logits[k / 2]);
}

static float probability(double x) {
    return (float)(1 / (1 + exp(-x)));
}

/* Medians, because wrong labels are among the images that the scale is taken from. */
static void rate_fold(Audit *a, Fold *fold, Verdict *v, size_t n) {
    const double good = median(a, v, n, BLEMISH_LABEL_GOOD, false);
    const double defect = median(a, v, n, BLEMISH_LABEL_DEFECT, false);
    const double middle = 0.5 * (good + defect), spread = fmax(0.5 * (defect - good), least_spread);
    for (size_t i = 0; i < n; i++) {
        const double beyond = (logit(v[i].score) - middle) / spread;
        v[i].dispute = label_of(a, &v[i]) == BLEMISH_LABEL_GOOD ? beyond : -beyond;
    }
    fold->threshold = probability(middle);
    fold->model.model.threshold = fold->threshold;
    fold->model.model.pixel_threshold =
        probability(0.5 * (median(a, v, n, BLEMISH_LABEL_GOOD, true) + median(a, v, n, BLEMISH_LABEL_DEFECT, true)));
}

static int worst_first(const void *a, const void *b) {
    const Verdict *x = a, *y = b;
    if (x->dispute != y->dispute) return x->dispute > y->dispute ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* ---- handing over ---------------------------------------------------------------------------------------- */

static BlemishStatus show(Audit *a, size_t fold, const char *path, BlemishAudited *audited, Error *e) {
    if (a->session == NULL || a->session_fold != fold) {
        blemish_session_close(a->session);
        const BlemishSessionSettings settings = {.threads = a->settings.train.threads, .batch = 1};
        a->session_fold = fold;
        if (blemish_session_open(&a->session, &a->folds[fold].model, &settings))
            return error_set(e, a->session ? a->session->error.status : BLEMISH_ERROR_MEMORY, "%s",
                             blemish_session_error(a->session));
    }
    audited->session = a->session;
    if (image_decode(&audited->image, path, e)) return e->status;
    return session_run(&a->session->session, &audited->image, 1, &audited->result, e);
}

static BlemishStatus hand_over(Audit *a, BlemishAuditedFn each, void *user, Error *e) {
    for (size_t i = 0; i < a->count; i++) {
        const Verdict *v = &a->verdicts[i];
        const Sample *s = &a->given->samples[v->sample];
        BlemishAudited audited = {.sample = {s->path, s->mask_path, s->type, s->label, s->split},
                                  .fold = v->fold,
                                  .score = v->score,
                                  .threshold = a->folds[v->fold].threshold,
                                  .dispute = v->dispute};
        BlemishStatus status = BLEMISH_OK;
        if (i < a->settings.pictures && v->dispute > 0) status = show(a, v->fold, s->path, &audited, e);
        if (status == BLEMISH_OK && each(user, &audited))
            status = error_set(e, BLEMISH_ERROR_INTERRUPTED, "audit: stopped by the caller at %s", s->path);
        image_free(&audited.image);
        if (status != BLEMISH_OK) return status;
    }
    return BLEMISH_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static BlemishStatus audit_open(Audit *a, const BlemishDataset *dataset, Error *e) {
    const size_t n = dataset->manifest.count, folds = a->settings.folds;
    if (folds < FOLDS_MIN || folds > FOLDS_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "folds: found %zu, expected %d to %d", folds, FOLDS_MIN, FOLDS_MAX);
    if (a->settings.model && !a->settings.model->open)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "model: found one that failed to open");
    if (a->settings.model && a->settings.model->model.quantised)
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED, "model: found a quantised one, expected fp32 to train from");
    if (a->settings.model == NULL && a->settings.train.backbone == NULL) return error_null(e, "backbone");
    a->given = &dataset->manifest;
    a->manifest = dataset->manifest;
    a->manifest.samples = array_new(n, sizeof *a->manifest.samples, e);
    a->fold_of = array_new(n, sizeof *a->fold_of, e);
    a->verdicts = array_new(n, sizeof *a->verdicts, e);
    a->logits = array_new(n, sizeof *a->logits, e);
    a->folds = array_new(folds, sizeof *a->folds, e);
    if (!a->folds || (n && !(a->manifest.samples && a->fold_of && a->verdicts && a->logits))) return e->status;
    if (n) memcpy(a->manifest.samples, dataset->manifest.samples, n * sizeof *a->manifest.samples);
    return BLEMISH_OK;
}

static void audit_close(Audit *a) {
    blemish_session_close(a->session);
    for (size_t i = 0; a->folds && i < a->settings.folds; i++) {
        a->folds[i].model.model.trunk = (Trunk){0};
        model_close(&a->folds[i].model.model);
    }
    trunk_close(&a->own);
    array_free(a->manifest.samples), array_free(a->fold_of), array_free(a->verdicts), array_free(a->logits);
    array_free(a->folds);
}

static BlemishStatus audit(Audit *a, Recipe recipe, BlemishAuditedFn each, void *user, Error *e) {
    const BlemishTrainSettings *train = &a->settings.train;
    char sha256[65];
    if (folds_deal(&a->manifest, a->settings.folds, recipe.seed, a->fold_of, train->progress, train->progress_user, e))
        return e->status;
    a->trunk = &a->own;
    if (a->settings.model)
        a->trunk = &a->settings.model->model.trunk;
    else if (train_trunk(&a->own, sha256, train, &recipe, e))
        return e->status;
    for (a->fold = 0; a->fold < a->settings.folds; a->fold++) {
        const size_t first = a->count;
        if (run_fold(a, recipe, e)) return e->status;
        rate_fold(a, &a->folds[a->fold], a->verdicts + first, a->count - first);
    }
    qsort(a->verdicts, a->count, sizeof *a->verdicts, worst_first);
    return hand_over(a, each, user, e);
}

BLEMISH_API void blemish_audit_defaults(BlemishAuditSettings *settings) {
    if (settings == NULL) return;
    *settings = (BlemishAuditSettings){.folds = 4};
    blemish_train_defaults(&settings->train);
}

BLEMISH_API BlemishStatus blemish_audit(const BlemishDataset *dataset, const BlemishRecipe *recipe,
                                        const BlemishAuditSettings *settings, BlemishAuditedFn each, void *each_user,
                                        char *error) {
    Error e = {0};
    Audit a = {0};
    blemish_audit_defaults(&a.settings);
    if (settings) a.settings = *settings;
    if (dataset == NULL || !dataset->open)
        error_set(&e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    else if (recipe == NULL || each == NULL)
        error_null(&e, recipe ? "each" : "recipe");
    else if (audit_open(&a, dataset, &e) == BLEMISH_OK)
        audit(&a, recipe->recipe, each, each_user, &e);
    audit_close(&a);
    return error_report(&e, error);
}
