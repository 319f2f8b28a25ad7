#include "metric/calibrate.h"
#include "metric/metric.h"

#include <math.h>

enum { PARTS = 5, DRAWS = 10 };

typedef struct Folds {
    size_t n, parts;
    const uint8_t *labels;
    size_t *order, *part_of;
    double *logits[2], *fitted[2]; /* of score and map maximum; of the images not held out */
    float *held;
    uint8_t *held_labels, *fitted_labels;
} Folds;

static bool folds_open(Folds *f, const float *scores, const float *peaks, const uint8_t *labels, size_t n, Error *e) {
    *f = (Folds){.n = n, .labels = labels};
    f->order = array_new(n, sizeof *f->order, e);
    f->part_of = array_new(n, sizeof *f->part_of, e);
    for (int k = 0; k < 2; k++) {
        f->logits[k] = array_new(n, sizeof **f->logits, e);
        f->fitted[k] = array_new(n, sizeof **f->fitted, e);
        for (size_t i = 0; i < n && f->logits[k]; i++)
            f->logits[k][i] = probability_logit((double)(k ? peaks[i] : scores[i]));
    }
    f->held = array_new(n, sizeof *f->held, e);
    f->held_labels = array_new(n, 1, e);
    f->fitted_labels = array_new(n, 1, e);
    return f->order && f->part_of && f->logits[0] && f->logits[1] && f->fitted[0] && f->fitted[1] && f->held &&
           f->held_labels && f->fitted_labels;
}

static void folds_close(Folds *f) {
    array_free(f->order), array_free(f->part_of), array_free(f->held);
    array_free(f->held_labels), array_free(f->fitted_labels);
    for (int k = 0; k < 2; k++) array_free(f->logits[k]), array_free(f->fitted[k]);
}

/* Deals the images out, each label evenly. */
static void deal(Folds *f, Random *r) {
    for (size_t i = 0; i < f->n; i++) f->order[i] = i;
    random_shuffle(r, f->order, f->n);
    for (int label = 0; label < 2; label++)
        for (size_t i = 0, k = 0; i < f->n; i++)
            if ((f->labels[f->order[i]] != 0) == label) f->part_of[f->order[i]] = k++ % f->parts;
}

/* Adds the AUROC of what part `part` holds out, by each verdict. */
static BlemishStatus judge_part(Folds *f, size_t part, double auroc[3], Error *e) {
    size_t fitted = 0;
    double w[3], area;
    for (size_t i = 0; i < f->n; i++) {
        if (f->part_of[i] == part) continue;
        for (int k = 0; k < 2; k++) f->fitted[k][fitted] = f->logits[k][i];
        f->fitted_labels[fitted++] = f->labels[i];
    }
    if (combination_fit(f->fitted[0], f->fitted[1], f->fitted_labels, fitted, w, e)) return e->status;
    for (int verdict = 0; verdict < 3; verdict++) {
        size_t held = 0;
        for (size_t i = 0; i < f->n; i++) {
            if (f->part_of[i] != part) continue;
            f->held_labels[held] = f->labels[i];
            f->held[held++] =
                (float)(verdict == VERDICT_COMBINED ? w[0] + w[1] * f->logits[0][i] + w[2] * f->logits[1][i]
                                                    : f->logits[verdict][i]);
        }
        if (metric_auroc(f->held, f->held_labels, held, &area, e)) return e->status;
        auroc[verdict] += area / (double)(DRAWS * f->parts);
    }
    return BLEMISH_OK;
}

BlemishStatus verdict_auroc(const float *scores, const float *peaks, const uint8_t *labels, size_t n, uint64_t seed,
                            double auroc[3], Error *e) {
    size_t defects = 0;
    for (size_t i = 0; i < n; i++) defects += labels[i] != 0;
    const size_t fewest = defects < n - defects ? defects : n - defects;
    for (int k = 0; k < 3; k++) auroc[k] = fewest < 2 ? (double)NAN : 0;
    if (fewest < 2) return BLEMISH_OK;
    Folds f;
    const bool ready = folds_open(&f, scores, peaks, labels, n, e);
    BlemishStatus status = ready ? BLEMISH_OK : e->status;
    f.parts = fewest < PARTS ? fewest : PARTS;
    for (size_t draw = 0; draw < DRAWS && status == BLEMISH_OK; draw++) {
        Random r = random_new(seed, draw);
        deal(&f, &r);
        for (size_t part = 0; part < f.parts && status == BLEMISH_OK; part++) status = judge_part(&f, part, auroc, e);
    }
    folds_close(&f);
    return status;
}
