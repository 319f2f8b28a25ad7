/* Thresholds from the training images: best F1 where both classes were learned from, else just above everything
 * normal. */
#include "api/api.h"
#include "metric/calibrate.h"

#include <math.h>
#include <string.h>

#define PIXELS_MAX ((size_t)1 << 22) /* pixels that the map's threshold is chosen on */
#define MARGIN 0.05f                 /* of the way from the largest normal value to 1 */

typedef struct Sampled {
    size_t stride; /* every stride-th pixel of all maps is kept */
    size_t next;   /* the first one to keep in the next map */
    size_t count, defects, masks, pixel_count, pixel_capacity;
    float *scores, *pixels;
    uint8_t *labels, *pixel_labels;
    float normal_score, normal_pixel; /* the largest of normal images */
    bool supervised;                  /* else defective images say nothing, here as in training */
    bool defective_pixel;
} Sampled;

static BlemishStatus sample(void *user, const Judged *j, Error *e) {
    (void)e;
    Sampled *s = user;
    const BlemishLabel label = j->sample->label;
    if (label == BLEMISH_LABEL_UNKNOWN || (label == BLEMISH_LABEL_DEFECT && !s->supervised)) return BLEMISH_OK;
    s->scores[s->count] = j->result.score;
    s->labels[s->count++] = label == BLEMISH_LABEL_DEFECT;
    s->defects += label == BLEMISH_LABEL_DEFECT;
    s->masks += j->mask != NULL;
    if (label == BLEMISH_LABEL_GOOD) {
        s->normal_score = fmaxf(s->normal_score, j->result.score);
        s->normal_pixel = fmaxf(s->normal_pixel, j->result.map_max);
    } else if (j->mask == NULL) {
        return BLEMISH_OK;
    }
    const size_t pixels = j->height * j->width;
    size_t i = s->next;
    for (; i < pixels && s->pixel_count < s->pixel_capacity; i += s->stride) {
        uint8_t defective = j->mask ? j->map_mask[i] : 0;
        s->pixels[s->pixel_count] = j->map[i];
        s->pixel_labels[s->pixel_count++] = defective;
        s->defective_pixel |= defective != 0;
    }
    s->next = i >= pixels ? i - pixels : 0;
    return BLEMISH_OK;
}

static float above(float normal) {
    const float threshold = normal + MARGIN * (1.0f - normal);
    return threshold > normal ? threshold : fminf(nextafterf(normal, 2), 1);
}

static BlemishStatus choose(const Sampled *s, bool both, Model *model, Error *e) {
    const RuleSettings none = {0}; /* f1 has none */
    model->threshold = above(s->normal_score);
    model->pixel_threshold = above(s->normal_pixel);
    if (both && threshold_choose(RULE_F1, &none, "score", s->scores, s->labels, s->count, &model->threshold, e))
        return e->status;
    return s->defective_pixel ? threshold_choose(RULE_F1, &none, "map", s->pixels, s->pixel_labels, s->pixel_count,
                                                 &model->pixel_threshold, e)
                              : BLEMISH_OK;
}

/* What the file keeps of it: calibration's fields, as blemish_calibrate writes them. */
static BlemishStatus describe(const Sampled *s, bool both, Model *model, Error *e) {
    const Mistakes m = count_mistakes(s->scores, s->labels, s->count, model->threshold);
    Text t = {0};
    text_format(&t, "{\"rule\":\"%s\",\"pixel_rule\":\"%s\",", both ? "f1" : "above-good",
                s->defective_pixel ? "f1" : "above-good");
    calibration_write(&model->calibration, &t);
    if (!both || !s->defective_pixel) text_format(&t, ",\"margin\":%g", (double)MARGIN);
    text_format(&t,
                ",\"good\":%zu,\"defects\":%zu,\"masks\":%zu,\"false_alarms\":%zu,\"escapes\":%zu,"
                "\"trained_on\":true,\"data_fingerprint\":\"%s\"}",
                s->count - s->defects, s->defects, s->masks, m.false_alarms, m.escapes, model->fingerprint);
    if (t.failed) {
        text_free(&t);
        return error_set(e, BLEMISH_ERROR_MEMORY, "calibration: out of memory");
    }
    model->calibration.json = t.data;
    return BLEMISH_OK;
}

static BlemishStatus sampled_open(Sampled *s, size_t images, const Model *model, const Manifest *manifest, Error *e) {
    Extent all = {0};
    *s = (Sampled){0};
    if (judge_extent(&model->geometry, model->tiles, manifest, BLEMISH_SPLIT_TRAIN, &all, e)) return e->status;
    s->stride = (all.total + PIXELS_MAX - 1) / PIXELS_MAX | 1; /* odd: no column of an even width is preferred */
    s->pixel_capacity = all.total / s->stride + images;
    s->scores = array_new(images, sizeof *s->scores, e);
    s->labels = array_new(images, sizeof *s->labels, e);
    s->pixels = array_new(s->pixel_capacity, sizeof *s->pixels, e);
    s->pixel_labels = array_new(s->pixel_capacity, sizeof *s->pixel_labels, e);
    return s->scores && s->labels && s->pixels && s->pixel_labels ? BLEMISH_OK : e->status;
}

BlemishStatus train_thresholds(Model *model, const Manifest *manifest, const BlemishTrainSettings *settings, Error *e) {
    size_t good = count_labelled(manifest, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_GOOD);
    size_t defects = count_labelled(manifest, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT);
    BlemishSessionSettings session_settings = {.threads = settings->threads, .batch = 1};
    Session session;
    Sampled s;
    if (session_open(&session, model, &session_settings, e)) return e->status;
    BlemishStatus status = sampled_open(&s, good + defects, model, manifest, e);
    s.supervised = strcmp(model->regime, "supervised") == 0;
    if (status == BLEMISH_OK)
        status = judge_split(&session, manifest, BLEMISH_SPLIT_TRAIN, sample, &s, settings->progress,
                             settings->progress_user, e);
    const bool both = s.supervised && good && defects;
    if (status == BLEMISH_OK) status = choose(&s, both, model, e);
    if (status == BLEMISH_OK) status = describe(&s, both, model, e);
    array_free(s.scores);
    array_free(s.labels);
    array_free(s.pixels);
    array_free(s.pixel_labels);
    session_close(&session);
    return status;
}
