#include "net/calibration.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdicts[] = {"score", "map", "combined"};
static const char *const probabilities[] = {"none", "platt", "isotonic"};

const char *verdict_name(VerdictKind verdict) {
    return verdicts[verdict];
}

const char *probability_name(ProbabilityKind probability) {
    return probabilities[probability];
}

/* ---- applying -------------------------------------------------------------------------------------------- */

double probability_logit(double p) {
    const double inside = fmin(fmax(p, 1e-7), 1 - 1e-7);
    return log(inside / (1 - inside));
}

double probability_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

float calibration_value(const Calibration *c, float score, float map_max) {
    if (c->verdict == VERDICT_SCORE) return score;
    if (c->verdict == VERDICT_MAP) return map_max;
    return (float)probability_sigmoid(c->weights[0] + c->weights[1] * probability_logit((double)score) +
                                      c->weights[2] * probability_logit((double)map_max));
}

static double interpolate(const Calibration *c, double at) {
    size_t low = 0, high = c->points - 1;
    if (at <= c->x[low]) return c->p[low];
    if (at >= c->x[high]) return c->p[high];
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        *(c->x[middle] <= at ? &low : &high) = middle;
    }
    return c->p[low] + (c->p[high] - c->p[low]) * (at - c->x[low]) / (c->x[high] - c->x[low]);
}

float calibration_probability(const Calibration *c, float value) {
    if (c->probability == PROBABILITY_NONE) return NAN;
    if (c->probability == PROBABILITY_ISOTONIC) return (float)interpolate(c, (double)value);
    return (float)probability_sigmoid(c->slope * probability_logit((double)value) + c->intercept);
}

void calibration_close(Calibration *c) {
    array_free(c->x);
    array_free(c->p);
    free(c->json);
    *c = (Calibration){0};
}

/* ---- reading --------------------------------------------------------------------------------------------- */

typedef struct Fields {
    json_t *object;
    const char *path;
    Error *e;
} Fields;

static BlemishStatus refuse(const Fields *f, const char *key, const char *expected) {
    return error_set(f->e, BLEMISH_ERROR_FORMAT, "%s: calibration: %s: expected %s", f->path, key, expected);
}

static size_t read_word(const Fields *f, const char *key, const char *const words[3]) {
    const char *text = json_string_value(json_object_get(f->object, key));
    for (size_t i = 0; text && i < 3; i++)
        if (strcmp(text, words[i]) == 0) return i;
    char expected[64];
    snprintf(expected, sizeof expected, "one of %s, %s, %s", words[0], words[1], words[2]);
    refuse(f, key, expected);
    return 0;
}

/* A finite number, within bounds that leave every product finite. */
static bool number_in(const json_t *value, double low, double high, double *out) {
    *out = json_number_value(value);
    return json_is_number(value) && *out >= low && *out <= high;
}

static const double largest = 1e9; /* of weights, slope and intercept */

static BlemishStatus read_points(const Fields *f, Calibration *c) {
    const json_t *list = json_object_get(f->object, "points");
    const size_t n = json_array_size(list);
    if (n < 1 || n > CALIBRATION_POINTS_MAX) return refuse(f, "points", "1 to 65536 pairs of value and probability");
    c->x = array_new(n, sizeof *c->x, f->e);
    c->p = array_new(n, sizeof *c->p, f->e);
    if (c->x == NULL || c->p == NULL) return f->e->status;
    c->points = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);
        if (json_array_size(pair) != 2 || !number_in(json_array_get(pair, 0), 0, 1, &c->x[i]) ||
            !number_in(json_array_get(pair, 1), 0, 1, &c->p[i]) ||
            (i && (c->x[i] <= c->x[i - 1] || c->p[i] < c->p[i - 1])))
            return refuse(f, "points", "pairs in [0, 1] with ascending values and probabilities");
    }
    return BLEMISH_OK;
}

static BlemishStatus read_fields(const Fields *f, Calibration *c) {
    c->verdict = (VerdictKind)read_word(f, "verdict", verdicts);
    if (f->e->status) return f->e->status;
    const json_t *weights = json_object_get(f->object, "weights");
    for (size_t i = 0; i < 3 && c->verdict == VERDICT_COMBINED; i++)
        if (json_array_size(weights) != 3 || !number_in(json_array_get(weights, i), -largest, largest, &c->weights[i]))
            return refuse(f, "weights", "three numbers from -1e9 to 1e9");
    c->probability = (ProbabilityKind)read_word(f, "probability", probabilities);
    if (f->e->status) return f->e->status;
    if (c->probability == PROBABILITY_PLATT &&
        (!number_in(json_object_get(f->object, "slope"), -largest, largest, &c->slope) ||
         !number_in(json_object_get(f->object, "intercept"), -largest, largest, &c->intercept)))
        return refuse(f, "slope, intercept", "two numbers from -1e9 to 1e9");
    return c->probability == PROBABILITY_ISOTONIC ? read_points(f, c) : BLEMISH_OK;
}

BlemishStatus calibration_parse(Calibration *c, char *json, const char *path, Error *e) {
    *c = (Calibration){.json = json};
    const Fields f = {json_loads(json, JSON_REJECT_DUPLICATES, NULL), path, e};
    e->status = BLEMISH_OK;
    if (json_is_object(f.object))
        read_fields(&f, c);
    else
        error_set(e, BLEMISH_ERROR_FORMAT, "%s: calibration: expected a JSON object", path);
    json_decref(f.object);
    if (e->status) calibration_close(c);
    return e->status;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static void write_number(Text *out, const char *before, double value) {
    text_append(out, before, strlen(before));
    text_json_number(out, value);
}

void calibration_write(const Calibration *c, Text *out) {
    text_format(out, "\"verdict\":\"%s\"", verdict_name(c->verdict));
    if (c->verdict == VERDICT_COMBINED) {
        write_number(out, ",\"weights\":[", c->weights[0]);
        write_number(out, ",", c->weights[1]);
        write_number(out, ",", c->weights[2]);
        text_append(out, "]", 1);
    }
    text_format(out, ",\"probability\":\"%s\"", probability_name(c->probability));
    if (c->probability == PROBABILITY_PLATT) {
        write_number(out, ",\"slope\":", c->slope);
        write_number(out, ",\"intercept\":", c->intercept);
    }
    for (size_t i = 0; i < c->points; i++) {
        write_number(out, i ? ",[" : ",\"points\":[[", c->x[i]);
        write_number(out, ",", c->p[i]);
        text_append(out, i + 1 < c->points ? "]" : "]]", i + 1 < c->points ? 1 : 2);
    }
}

/* What remains true of a calibration. */
enum { KEEP_RULE = 1, KEEP_PROBABILITY = 2 };

/* Replaces json by itself without what is true no more. */
static BlemishStatus forget(Calibration *c, const char *const *keys, size_t count, unsigned keep, Error *e) {
    if (c->json == NULL) return BLEMISH_OK;
    json_t *object = json_loads(c->json, 0, NULL);
    for (size_t i = 0; i < count; i++) json_object_del(object, keys[i]);
    char *json = NULL;
    if (!json_object_set_new(object, "pixel_rule", json_string("given")) &&
        (keep & KEEP_RULE || !json_object_set_new(object, "rule", json_string("given"))) &&
        (keep & KEEP_PROBABILITY || !json_object_set_new(object, "probability", json_string("none"))))
        json = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    if (json == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "calibration: out of memory");
    free(c->json);
    c->json = json;
    return BLEMISH_OK;
}

/* Of the thresholds, then of the scores. */
static const char *const stale[] = {"false_alarms",    "escapes",    "false_alarm_rate", "escape_rate",
                                    "rate_confidence", "budget",     "confidence",       "alpha",
                                    "escape_cost",     "alarm_cost", "margin",           "auroc",
                                    "slope",           "intercept",  "points",           "defect_rate"};
enum { STALE_THRESHOLDS = 11, STALE = sizeof stale / sizeof *stale };

BlemishStatus calibration_set_by_hand(Calibration *c, Error *e) {
    return forget(c, stale, STALE_THRESHOLDS, KEEP_PROBABILITY, e);
}

BlemishStatus calibration_set_stale(Calibration *c, Error *e) {
    if (forget(c, stale, STALE, 0, e)) return e->status;
    array_free(c->x), array_free(c->p);
    c->x = c->p = NULL;
    c->points = 0;
    c->probability = PROBABILITY_NONE;
    return BLEMISH_OK;
}

BlemishStatus calibration_set_maps_stale(Calibration *c, bool map_score, Error *e) {
    static const char *const of_maps[] = {"auroc"};
    if (map_score || c->verdict != VERDICT_SCORE) return calibration_set_stale(c, e);
    return forget(c, of_maps, 1, KEEP_RULE | KEEP_PROBABILITY, e);
}
