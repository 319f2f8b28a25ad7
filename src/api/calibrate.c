/* Thresholds, verdict and probabilities from labelled images that the model was not trained on. */
#include "api/api.h"
#include "image/image.h"
#include "metric/calibrate.h"
#include "metric/interval.h"

#include <math.h>
#include <string.h>

/* From where on steps are better known than Platt's curve (Niculescu-Mizil and Caruana 2005 find 1000 images). */
enum { ISOTONIC_IMAGES = 1000, ISOTONIC_OF_EACH = 100 };

/* What is asked for, names resolved. */
typedef struct Wanted {
    Rule rule, pixel_rule;
    int verdict, probability; /* -1: auto */
    RuleSettings rules;
} Wanted;

typedef struct Collected {
    size_t count, good, defects, masks;
    float *scores, *peaks; /* of the network, of the map */
    float *shown;          /* the lowest peak of a marked region; of other images the map's */
    uint8_t *labels;
    bool with_pixels;
    PixelRanking pixels;
    uint32_t *numbers; /* scratch: one mask's regions */
} Collected;

/* ---- settings -------------------------------------------------------------------------------------------- */

/* The index of a name; -1 for "auto", where that is allowed. */
static BlemishStatus index_of(const char *setting, const char *name, const char *const *names, int count,
                              bool automatic, int *index, Error *e) {
    Text known = {0};
    *index = -1;
    if (automatic && strcmp(name, "auto") == 0) return BLEMISH_OK;
    for (int i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) *index = i;
        text_format(&known, "%s%s", i || automatic ? ", " : "", names[i]);
    }
    if (*index < 0)
        error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found '%s', expected one of %s%s", setting, name,
                  automatic ? "auto" : "", known.data ? known.data : "");
    text_free(&known);
    return *index < 0 ? e->status : BLEMISH_OK;
}

static BlemishStatus between_0_and_1(const char *name, double value, Error *e) {
    if (value > 0 && value < 1) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found %g, expected a number between 0 and 1", name, value);
}

static BlemishStatus check(const BlemishCalibrateSettings *s, size_t good, size_t defects, Wanted *w, Error *e) {
    const char *rules[RULES], *verdicts[3], *probabilities[3];
    int rule, pixel_rule;
    for (int i = 0; i < RULES; i++) rules[i] = rule_name((Rule)i);
    for (int i = 0; i < 3; i++) {
        verdicts[i] = verdict_name((VerdictKind)i);
        probabilities[i] = probability_name((ProbabilityKind)i);
    }
    const char *const given[] = {s->rule, s->verdict, s->probability}, *const names[] = {"rule", "verdict",
                                                                                         "probability"};
    for (int i = 0; i < 3; i++)
        if (given[i] == NULL) return error_null(e, names[i]);
    if (index_of("rule", s->rule, rules, RULES, true, &rule, e) ||
        index_of("pixel_rule", s->pixel_rule ? s->pixel_rule : s->rule, rules, RULES, true, &pixel_rule, e) ||
        index_of("verdict", s->verdict, verdicts, 3, true, &w->verdict, e) ||
        index_of("probability", s->probability, probabilities, 3, true, &w->probability, e) ||
        between_0_and_1("budget", s->budget, e) || between_0_and_1("confidence", s->confidence, e) ||
        between_0_and_1("alpha", s->alpha, e))
        return e->status;
    if (!isnan(s->defect_rate) && between_0_and_1("defect_rate", s->defect_rate, e)) return e->status;
    const double costs[] = {s->escape_cost, s->alarm_cost};
    for (int i = 0; i < 2; i++)
        if (!(costs[i] > 0 && costs[i] <= 1e12))
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found %g, expected a number above 0",
                             i ? "alarm_cost" : "escape_cost", costs[i]);
    if (s->split < -1 || s->split > BLEMISH_SPLIT_TEST)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "split: found %d, expected -1 or one of BlemishSplit", s->split);
    const Rule automatic = good && defects ? RULE_F1 : RULE_CONFORMAL;
    w->rule = rule < 0 ? automatic : (Rule)rule;
    w->pixel_rule = pixel_rule < 0 ? automatic : (Rule)pixel_rule;
    w->rules = (RuleSettings){s->budget, s->confidence, s->alpha, s->escape_cost, s->alarm_cost, s->defect_rate};
    return BLEMISH_OK;
}

/* ---- judging --------------------------------------------------------------------------------------------- */

/* The lowest of the largest values in each region of the mask. */
static BlemishStatus lowest_peak(Collected *c, const Judged *j, float *lowest, Error *e) {
    uint32_t found;
    const size_t pixels = j->height * j->width;
    if (mask_components(j->map_mask, j->height, j->width, c->numbers, &found, e)) return e->status;
    float *peaks = array_new((size_t)found + 1, sizeof *peaks, e);
    if (peaks == NULL) return e->status;
    for (size_t i = 0; i < pixels; i++) peaks[c->numbers[i]] = fmaxf(peaks[c->numbers[i]], j->map[i]);
    *lowest = 1;
    for (uint32_t k = 1; k <= found; k++) *lowest = fminf(*lowest, peaks[k]);
    array_free(peaks);
    return BLEMISH_OK;
}

static BlemishStatus collect(void *user, const Judged *j, Error *e) {
    Collected *c = user;
    const BlemishLabel label = j->sample->label;
    if (label == BLEMISH_LABEL_UNKNOWN) return BLEMISH_OK;
    c->scores[c->count] = j->result.score;
    c->peaks[c->count] = j->result.map_max;
    c->shown[c->count] = j->result.map_max;
    c->labels[c->count] = label == BLEMISH_LABEL_DEFECT;
    *(label == BLEMISH_LABEL_DEFECT ? &c->defects : &c->good) += 1;
    c->masks += j->mask != NULL;
    if (j->mask && lowest_peak(c, j, &c->shown[c->count], e)) return e->status;
    c->count++;
    return c->with_pixels && (j->mask || label == BLEMISH_LABEL_GOOD)
               ? pixel_ranking_add(&c->pixels, j->map, j->map_mask, j->height, j->width, e)
               : BLEMISH_OK;
}

static size_t count_images(const Manifest *m, int split, BlemishLabel label) {
    return split < 0 ? count_labelled(m, BLEMISH_SPLIT_TRAIN, label) + count_labelled(m, BLEMISH_SPLIT_TEST, label)
                     : count_labelled(m, (BlemishSplit)split, label);
}

static BlemishStatus judge_all(Collected *c, const Model *model, const Manifest *m, const BlemishCalibrateSettings *s,
                               Error *e) {
    Session session;
    const BlemishSessionSettings settings = {.threads = s->threads, .batch = 1};
    Model bare = *model; /* by the network's own score */
    bare.calibration = (Calibration){0};
    if (session_open(&session, &bare, &settings, e)) return e->status;
    BlemishStatus status = BLEMISH_OK;
    for (int split = BLEMISH_SPLIT_TRAIN; split <= BLEMISH_SPLIT_TEST && status == BLEMISH_OK; split++) {
        size_t images = 0;
        for (size_t i = 0; i < m->count; i++) images += m->samples[i].split == (BlemishSplit)split;
        if (images && (s->split < 0 || s->split == split))
            status = judge_split(&session, m, (BlemishSplit)split, collect, c, s->progress, s->progress_user, e);
    }
    session_close(&session);
    return status;
}

static BlemishStatus collected_open(Collected *c, const Model *model, const Manifest *m, int split, bool pixels,
                                    Error *e) {
    const size_t n = count_images(m, split, BLEMISH_LABEL_GOOD) + count_images(m, split, BLEMISH_LABEL_DEFECT);
    Extent extent = {0};
    for (size_t i = 0; i < m->count && pixels; i++)
        c->with_pixels |= m->samples[i].mask_path != NULL && (split < 0 || m->samples[i].split == (BlemishSplit)split);
    if (n == 0) return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found no image with a label to calibrate on");
    c->scores = array_new(n, sizeof *c->scores, e);
    c->peaks = array_new(n, sizeof *c->peaks, e);
    c->shown = array_new(n, sizeof *c->shown, e);
    c->labels = array_new(n, sizeof *c->labels, e);
    if (!c->scores || !c->peaks || !c->shown || !c->labels) return e->status;
    for (int i = BLEMISH_SPLIT_TRAIN; i <= BLEMISH_SPLIT_TEST; i++)
        if ((split < 0 || split == i) && judge_extent(&model->geometry, model->tiles, m, (BlemishSplit)i, &extent, e))
            return e->status;
    if ((c->numbers = array_new(extent.most, sizeof *c->numbers, e)) == NULL) return e->status;
    return c->with_pixels ? pixel_ranking_open(&c->pixels, n, extent.total, extent.most, e) : BLEMISH_OK;
}

static void collected_close(Collected *c) {
    array_free(c->scores), array_free(c->peaks), array_free(c->shown), array_free(c->labels), array_free(c->numbers);
    pixel_ranking_close(&c->pixels);
}

/* ---- choosing -------------------------------------------------------------------------------------------- */

/* The images that a promise about new good images may rest on. Where the verdict is chosen or fitted on good images
 * too, every second one, drawn by the seed, is kept apart for the threshold; what is left is for the verdict. */
static BlemishStatus keep_apart(const Collected *c, const Wanted *w, uint64_t seed, uint8_t *apart, Error *e) {
    const bool promise = w->rule == RULE_BUDGET || w->rule == RULE_CONFORMAL;
    const bool fitted = (w->verdict < 0 || w->verdict == VERDICT_COMBINED) && c->defects > 0;
    if (!promise || !fitted) return BLEMISH_OK;
    size_t *order = array_new(c->count, sizeof *order, e), kept = 0;
    if (order == NULL) return e->status;
    Random r = random_new(seed, UINT64_MAX);
    for (size_t i = 0; i < c->count; i++) order[i] = i;
    random_shuffle(&r, order, c->count);
    for (size_t i = 0; i < c->count; i++)
        if (!c->labels[order[i]] && kept < (c->good + 1) / 2) apart[order[i]] = 1, kept++;
    array_free(order);
    return BLEMISH_OK;
}

/* The rows of `from` whose flag is (not) set, to the front of `to`; returns how many. */
static size_t rows_where(const float *from, const uint8_t *flags, uint8_t flag, size_t n, float *to) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (flags[i] == flag) to[count++] = from[i];
    return count;
}

static BlemishStatus fit_combination(const float *scores, const float *peaks, const uint8_t *labels, size_t n,
                                     double weights[3], Error *e) {
    double *x = array_new(n, 2 * sizeof *x, e);
    if (n && x == NULL) return e->status;
    for (size_t i = 0; i < n; i++) {
        x[i] = probability_logit((double)scores[i]);
        x[n + i] = probability_logit((double)peaks[i]);
    }
    BlemishStatus status = combination_fit(x, x + n, labels, n, weights, e);
    array_free(x);
    return status;
}

static BlemishStatus choose_verdict(const Collected *c, const Wanted *w, uint64_t seed, const uint8_t *apart,
                                    Calibration *calibration, double auroc[3], Error *e) {
    float *scores = array_new(c->count, sizeof *scores, e), *peaks = array_new(c->count, sizeof *peaks, e);
    uint8_t *labels = array_new(c->count, sizeof *labels, e);
    BlemishStatus status = scores && peaks && labels ? BLEMISH_OK : e->status;
    size_t n = 0, defects = 0;
    if (status == BLEMISH_OK) {
        rows_where(c->scores, apart, 0, c->count, scores);
        rows_where(c->peaks, apart, 0, c->count, peaks);
        for (size_t i = 0; i < c->count; i++)
            if (!apart[i]) defects += labels[n++] = c->labels[i];
        status = verdict_auroc(scores, peaks, labels, n, seed, auroc, e);
    }
    int best = w->verdict;
    if (best < 0) {
        best = VERDICT_SCORE;
        for (int k = VERDICT_MAP; k <= VERDICT_COMBINED; k++)
            if (auroc[k] > auroc[best] + 1e-9) best = k;
    }
    calibration->verdict = (VerdictKind)best;
    if (status == BLEMISH_OK && best == VERDICT_COMBINED) {
        if (defects == 0 || defects == n)
            status =
                error_set(e, BLEMISH_ERROR_ARGUMENT,
                          "verdict: found %zu good and %zu defective images, expected both to combine score and map",
                          n - defects, defects);
        else
            status = fit_combination(scores, peaks, labels, n, calibration->weights, e);
    }
    array_free(scores), array_free(peaks), array_free(labels);
    return status;
}

static BlemishStatus choose_probability(const Collected *c, const Wanted *w, const float *values,
                                        Calibration *calibration, Error *e) {
    const bool both = c->good && c->defects;
    const bool many = c->count >= ISOTONIC_IMAGES && c->good >= ISOTONIC_OF_EACH && c->defects >= ISOTONIC_OF_EACH;
    int kind = w->probability;
    if (kind < 0) kind = !both ? PROBABILITY_NONE : many ? PROBABILITY_ISOTONIC : PROBABILITY_PLATT;
    calibration->probability = (ProbabilityKind)kind;
    if (kind == PROBABILITY_NONE) return BLEMISH_OK;
    if (!both)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "probability: found %zu good and %zu defective images, expected both for %s", c->good,
                         c->defects, probability_name(calibration->probability));
    /* Odds of the line in place of the data's: the same factor for every value (Elkan 2001). */
    const double shift = isnan(w->rules.defect_rate)
                             ? 0
                             : probability_logit(w->rules.defect_rate) - log((double)c->defects / (double)c->good);
    if (kind == PROBABILITY_ISOTONIC) {
        if (isotonic_fit(values, c->labels, c->count, calibration, e)) return e->status;
        for (size_t i = 0; i < calibration->points && shift != 0; i++) {
            const double p = calibration->p[i], odds = exp(shift);
            calibration->p[i] = p * odds / (p * odds + 1 - p);
        }
        return BLEMISH_OK;
    }
    double *x = array_new(c->count, sizeof *x, e);
    if (x == NULL) return e->status;
    for (size_t i = 0; i < c->count; i++) x[i] = probability_logit((double)values[i]);
    BlemishStatus status = platt_fit(x, c->labels, c->count, &calibration->slope, &calibration->intercept, e);
    calibration->intercept += shift;
    array_free(x);
    return status;
}

static BlemishStatus choose_pixel_threshold(Collected *c, const Wanted *w, float *threshold, Error *e) {
    if (w->pixel_rule == RULE_F1 && c->masks) {
        const PixelMetrics m = pixel_ranking_metrics(&c->pixels);
        *threshold = threshold_float(m.best_f1_threshold);
        return BLEMISH_OK;
    }
    return threshold_choose(w->pixel_rule, &w->rules, "map maximum",
                            w->pixel_rule == RULE_ZERO_ESCAPES ? c->shown : c->peaks, c->labels, c->count, threshold,
                            e);
}

/* The score's threshold, on the images kept apart where there are some. */
static BlemishStatus choose_threshold(const Collected *c, const Wanted *w, const float *values, const uint8_t *apart,
                                      float *threshold, Error *e) {
    float *kept = array_new(c->count, sizeof *kept, e);
    uint8_t *good = array_new(c->count, sizeof *good, e);
    BlemishStatus status = kept && good ? BLEMISH_OK : e->status;
    const size_t n = status == BLEMISH_OK ? rows_where(values, apart, 1, c->count, kept) : 0;
    if (status == BLEMISH_OK)
        status = n ? threshold_choose(w->rule, &w->rules, "score", kept, good, n, threshold, e)
                   : threshold_choose(w->rule, &w->rules, "score", values, c->labels, c->count, threshold, e);
    array_free(kept), array_free(good);
    return status;
}

Mistakes count_mistakes(const float *values, const uint8_t *labels, size_t n, float threshold) {
    Mistakes m = {0};
    for (size_t i = 0; i < n; i++) {
        const bool defect = values[i] >= threshold;
        m.false_alarms += defect && !labels[i];
        m.escapes += !defect && labels[i];
    }
    return m;
}

static void count_errors(const Collected *c, const float *values, double confidence, BlemishCalibration *out) {
    const Mistakes m = count_mistakes(values, c->labels, c->count, out->threshold);
    out->false_alarms = m.false_alarms;
    out->escapes = m.escapes;
    out->false_alarm_rate = binomial_interval(out->false_alarms, c->good, confidence);
    out->escape_rate = binomial_interval(out->escapes, c->defects, confidence);
}

/* ---- what the file keeps ----------------------------------------------------------------------------------- */

static void write_number(Text *t, const char *key, double value) {
    text_format(t, ",\"%s\":", key);
    text_json_number(t, value);
}

static void write_rule_settings(Text *t, const Wanted *w) {
    const bool used[RULES] = {[RULE_BUDGET] = w->rule == RULE_BUDGET || w->pixel_rule == RULE_BUDGET,
                              [RULE_COSTS] = w->rule == RULE_COSTS || w->pixel_rule == RULE_COSTS,
                              [RULE_CONFORMAL] = w->rule == RULE_CONFORMAL || w->pixel_rule == RULE_CONFORMAL};
    if (used[RULE_BUDGET]) write_number(t, "budget", w->rules.budget);
    if (used[RULE_BUDGET]) write_number(t, "confidence", w->rules.confidence);
    if (used[RULE_CONFORMAL]) write_number(t, "alpha", w->rules.alpha);
    if (used[RULE_COSTS]) write_number(t, "escape_cost", w->rules.escape_cost);
    if (used[RULE_COSTS]) write_number(t, "alarm_cost", w->rules.alarm_cost);
    if (!isnan(w->rules.defect_rate)) write_number(t, "defect_rate", w->rules.defect_rate);
}

static char *describe(const Calibration *c, const Wanted *w, const BlemishCalibration *o, const char *fingerprint,
                      Error *e) {
    static const char *const verdicts[] = {"{\"score\":", ",\"map\":", ",\"combined\":"};
    Text t = {0};
    text_format(&t, "{\"rule\":\"%s\",\"pixel_rule\":\"%s\",", o->rule, o->pixel_rule);
    calibration_write(c, &t);
    write_rule_settings(&t, w);
    text_format(&t, ",\"good\":%zu,\"defects\":%zu,\"masks\":%zu,\"false_alarms\":%zu,\"escapes\":%zu", o->good,
                o->defects, o->masks, o->false_alarms, o->escapes);
    const struct {
        const char *key;
        BlemishInterval value;
    } rates[] = {{"false_alarm_rate", o->false_alarm_rate}, {"escape_rate", o->escape_rate}};
    for (int i = 0; i < 2; i++) {
        text_format(&t, ",\"%s\":[", rates[i].key);
        text_json_number(&t, rates[i].value.low);
        text_append(&t, ",", 1);
        text_json_number(&t, rates[i].value.high);
        text_append(&t, "]", 1);
    }
    write_number(&t, "rate_confidence", w->rules.confidence);
    text_format(&t, ",\"auroc\":");
    for (int i = 0; i < 3; i++) {
        text_append(&t, verdicts[i], strlen(verdicts[i]));
        text_json_number(&t, o->auroc[i]);
    }
    text_format(&t, "},\"trained_on\":%s,\"data_fingerprint\":\"%s\"}", o->trained_on ? "true" : "false", fingerprint);
    if (!t.failed) return t.data;
    text_free(&t);
    error_set(e, BLEMISH_ERROR_MEMORY, "calibration: out of memory");
    return NULL;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static BlemishStatus choose(Collected *c, const Wanted *w, uint64_t seed, Calibration *calibration,
                            BlemishCalibration *o, Error *e) {
    float *values = array_new(c->count, sizeof *values, e);
    uint8_t *apart = array_new(c->count, sizeof *apart, e);
    BlemishStatus status = values && apart ? keep_apart(c, w, seed, apart, e) : e->status;
    if (status == BLEMISH_OK) status = choose_verdict(c, w, seed, apart, calibration, o->auroc, e);
    for (size_t i = 0; i < c->count && status == BLEMISH_OK; i++)
        values[i] = calibration_value(calibration, c->scores[i], c->peaks[i]);
    if (status == BLEMISH_OK) status = choose_threshold(c, w, values, apart, &o->threshold, e);
    if (status == BLEMISH_OK) status = choose_pixel_threshold(c, w, &o->pixel_threshold, e);
    if (status == BLEMISH_OK) status = choose_probability(c, w, values, calibration, e);
    if (status == BLEMISH_OK) count_errors(c, values, w->rules.confidence, o);
    o->rule = rule_name(w->rule);
    o->pixel_rule = rule_name(w->pixel_rule);
    o->verdict = verdict_name(calibration->verdict);
    o->probability = probability_name(calibration->probability);
    o->good = c->good;
    o->defects = c->defects;
    o->masks = c->masks;
    array_free(values), array_free(apart);
    return status;
}

static BlemishStatus calibrate(Model *model, const Manifest *m, const BlemishCalibrateSettings *s,
                               BlemishCalibration *o, Error *e) {
    Wanted w;
    Collected c = {0};
    Calibration calibration = {0};
    char fingerprint[65];
    if (check(s, count_images(m, s->split, BLEMISH_LABEL_GOOD), count_images(m, s->split, BLEMISH_LABEL_DEFECT), &w, e))
        return e->status;
    BlemishStatus status = collected_open(&c, model, m, s->split, w.pixel_rule == RULE_F1, e);
    if (status == BLEMISH_OK) status = manifest_fingerprint(m, fingerprint, e);
    if (status == BLEMISH_OK) status = judge_all(&c, model, m, s, e);
    if (status == BLEMISH_OK) status = choose(&c, &w, s->seed, &calibration, o, e);
    if (status == BLEMISH_OK) {
        o->trained_on = s->split != BLEMISH_SPLIT_TEST && strcmp(fingerprint, model->fingerprint) == 0;
        calibration.json = describe(&calibration, &w, o, fingerprint, e);
        status = calibration.json ? BLEMISH_OK : e->status;
    }
    collected_close(&c);
    if (status != BLEMISH_OK) {
        calibration_close(&calibration);
        return status;
    }
    calibration_close(&model->calibration);
    model->calibration = calibration;
    model->threshold = o->threshold;
    model->pixel_threshold = o->pixel_threshold;
    return model_header(model, e);
}

BLEMISH_API void blemish_calibrate_defaults(BlemishCalibrateSettings *settings) {
    if (settings)
        *settings = (BlemishCalibrateSettings){.rule = "auto",
                                               .verdict = "auto",
                                               .probability = "auto",
                                               .budget = 0.05,
                                               .confidence = 0.95,
                                               .alpha = 0.05,
                                               .escape_cost = 1,
                                               .alarm_cost = 1,
                                               .defect_rate = NAN,
                                               .split = BLEMISH_SPLIT_TEST};
}

BLEMISH_API BlemishStatus blemish_calibrate(BlemishModel *model, const BlemishDataset *dataset,
                                            const BlemishCalibrateSettings *settings, BlemishCalibration *out) {
    if (model == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&model->error);
    if (!model->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "model: found one that failed to open");
    if (dataset == NULL || !dataset->open)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    BlemishCalibrateSettings defaults;
    BlemishCalibration result = {0};
    blemish_calibrate_defaults(&defaults);
    BlemishStatus status = calibrate(&model->model, &dataset->manifest, settings ? settings : &defaults, &result, e);
    if (status == BLEMISH_OK && out) *out = result;
    return status;
}
