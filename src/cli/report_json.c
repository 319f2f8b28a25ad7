#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *label_name(BlemishLabel label) {
    return label == BLEMISH_LABEL_GOOD ? "good" : label == BLEMISH_LABEL_DEFECT ? "defect" : "";
}

typedef struct Verdicts {
    size_t found, missed, false_alarms, passed;
} Verdicts;

static Verdicts count_verdicts(const Report *r) {
    size_t v[2][2] = {{0}};
    for (size_t i = 0; i < r->count; i++) {
        if (r->rows[i].label != BLEMISH_LABEL_UNKNOWN) v[r->rows[i].label][r->rows[i].defect != 0]++;
    }
    return (Verdicts){.found = v[1][1], .missed = v[1][0], .false_alarms = v[0][1], .passed = v[0][0]};
}

/* The page says the same of every threshold: page.js, headline(). */
static json_t *headline(const Verdicts *v) {
    char text[256];
    const size_t defects = v->found + v->missed, good = v->false_alarms + v->passed;
    if (defects && good) {
        snprintf(text, sizeof text,
                 "%zu of %zu defective images are found, at %zu false alarm%s among %zu good image%s.", v->found,
                 defects, v->false_alarms, v->false_alarms == 1 ? "" : "s", good, good == 1 ? "" : "s");
    } else if (defects) {
        snprintf(text, sizeof text,
                 "%zu of %zu defective images are found; there is no good image to tell false alarms by.", v->found,
                 defects);
    } else {
        snprintf(text, sizeof text, "%zu false alarm%s among %zu good image%s; there is no defective image.",
                 v->false_alarms, v->false_alarms == 1 ? "" : "s", good, good == 1 ? "" : "s");
    }
    return json_string(text);
}

static json_t *verdicts_json(const Report *r) {
    const ReportSettings *s = &r->settings;
    const Verdicts v = count_verdicts(r);
    const double cost = s->cost_escape * (double)v.missed + s->cost_false_alarm * (double)v.false_alarms;
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "headline", headline(&v),  //
                     "threshold", json_number(r->info.threshold), "found", (json_int_t)v.found,  //
                     "missed", (json_int_t)v.missed, "false_alarms", (json_int_t)v.false_alarms, //
                     "good_passed", (json_int_t)v.passed,                                        //
                     "found_rate", report_rate(v.found, v.found + v.missed),                     //
                     "false_alarm_rate", report_rate(v.false_alarms, v.false_alarms + v.passed), //
                     "cost", json_number(cost));
}

static json_t *model_json(const Report *r) {
    const BlemishModelInfo *i = &r->info;
    json_t *header = json_loads(i->header_json, 0, NULL);
    return json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "path", json_text(r->settings.model_path), //
                     "backbone", i->backbone, "variant", i->variant, "regime", i->regime,                        //
                     "height", (json_int_t)i->height, "width", (json_int_t)i->width,                             //
                     "threshold", json_number(i->threshold), "pixel_threshold", json_number(i->pixel_threshold), //
                     "header", header ? header : json_null());
}

static json_t *data_json(const Report *r, const BlemishMetrics *m, const BlemishDataset *dataset,
                         const char *fingerprint) {
    const ReportSettings *s = &r->settings;
    return json_pack("{s:o, s:o, s:o, s:s, s:o, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I}",                           //
                     "path", json_text(s->data->path), "layout", json_text(blemish_dataset_layout(dataset)),        //
                     "category", s->data->category ? json_text(s->data->category) : json_null(), "split", s->split, //
                     "test_fraction", json_number(s->data->test_fraction),                                          //
                     "split_seed", (json_int_t)s->data->seed, "fold", (json_int_t)s->data->fold,                    //
                     "fingerprint", fingerprint, "images", (json_int_t)r->count,                                    //
                     "good", (json_int_t)(m->images - m->defects), "defects", (json_int_t)m->defects,               //
                     "unknown", (json_int_t)(r->count - m->images), "masks", (json_int_t)m->masks);
}

/* One array for each quantity: a curve of a thousand points stays readable by eye and by any program. */
static json_t *curve_json(const BlemishSession *session, BlemishCurveKind kind) {
    const BlemishCurvePoint *points;
    const size_t count = blemish_session_curve(session, kind, &points);
    enum { QUANTITIES = 5 };
    json_t *columns[QUANTITIES];
    bool failed = false;
    if (count == 0) return json_null();
    for (int q = 0; q < QUANTITIES; q++) columns[q] = json_array();
    for (size_t i = 0; i < count; i++) {
        const BlemishCurvePoint *p = &points[i];
        const double values[QUANTITIES] = {p->threshold, p->fpr, p->recall, p->precision, p->overlap};
        for (int q = 0; q < QUANTITIES; q++) failed |= json_array_append_new(columns[q], json_real(values[q])) != 0;
    }
    json_t *curve = json_pack("{s:o, s:o, s:o, s:o}", "threshold", columns[0], "fpr", columns[1], "recall", columns[2],
                              "precision", columns[3]);
    if (kind == BLEMISH_CURVE_IMAGES)
        json_decref(columns[4]);
    else
        failed |= !curve || json_object_set_new(curve, "overlap", columns[4]);
    if (!failed) return curve;
    json_decref(curve);
    return NULL;
}

static json_t *curves_json(const BlemishSession *session) {
    return json_pack("{s:o, s:o}", "images", curve_json(session, BLEMISH_CURVE_IMAGES), "pixels",
                     curve_json(session, BLEMISH_CURVE_PIXELS));
}

static json_t *row_json(const ReportRow *row) {
    return json_pack("{s:o, s:o, s:I, s:I, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "path", json_text(row->path), //
                     "type", json_text(row->type), "width", (json_int_t)row->width,                           //
                     "height", (json_int_t)row->height,                                                       //
                     "label",
                     row->label == BLEMISH_LABEL_UNKNOWN ? json_null() : json_string(label_name(row->label)), //
                     "score", json_number(row->score), "defect", row->defect != 0,                            //
                     "map_max", json_number(row->map_max), "defect_area", json_number(row->area),             //
                     "marked_part_found", json_number(row->part_found),                                       //
                     "picture", row->picture == SIZE_MAX ? json_null() : json_integer((json_int_t)row->picture));
}

static json_t *predictions_json(const Report *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->count && list; i++) {
        if (json_array_append_new(list, row_json(&r->rows[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *prices_json(const ReportSettings *s) {
    return json_pack("{s:o, s:o}", "escape", json_number(s->cost_escape), "false_alarm",
                     json_number(s->cost_false_alarm));
}

/* What intervals of pixel metrics are percentiles of: pairs, where another run resamples the same images. */
static json_t *resampled_json(const BlemishSession *session, const BlemishIntervals *intervals) {
    const double *values;
    const size_t count = blemish_session_pixel_resamples(session, &values);
    if (count == 0) return json_null();
    json_t *object = json_pack("{s:I, s:I}", "seed", (json_int_t)intervals->seed, "resamples", (json_int_t)count);
    bool failed = !object;
    for (size_t m = 0; m < 4 && !failed; m++) {
        json_t *row = json_array();
        for (size_t i = 0; i < count; i++)
            failed |= json_array_append_new(row, json_number(values[m * count + i])) != 0;
        failed |= json_object_set_new(
                      object, blemish_compared_name((BlemishComparedMetric)(BLEMISH_COMPARED_P_AUROC + m)), row) != 0;
    }
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

json_t *report_json(const Report *r, const BlemishMetrics *metrics, const BlemishIntervals *intervals,
                    const BlemishSession *session, BlemishDataset *dataset) {
    char fingerprint[65], now[32];
    const time_t seconds = time(NULL);
    struct tm utc;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    if (blemish_dataset_fingerprint(dataset, fingerprint)) return fail("%s", blemish_dataset_error(dataset)), NULL;
    json_t *data =
        json_pack("{s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "format",
                  "blemish-report",                                                            //
                  "format_version", 1, "program_version", blemish_version(), "time", now,      //
                  "model", model_json(r), "data", data_json(r, metrics, dataset, fingerprint), //
                  "warnings", report_warnings(r, metrics), "at_threshold", verdicts_json(r),   //
                  "prices", prices_json(&r->settings), "confidence", REPORT_CONFIDENCE, "metrics",
                  json_metrics(metrics), "intervals", json_intervals(intervals),                              //
                  "by_type", report_by_type(r), "by_size", report_by_size(r), "curves", curves_json(session), //
                  "predictions", predictions_json(r), "resampled", resampled_json(session, intervals));
    if (!data) fail("memory is short");
    return data;
}

bool report_csv(FILE *out, const Report *r) {
    fputs("path,type,label,score,defect,map_max,defect_area,marked_part_found\n", out);
    for (size_t i = 0; i < r->count; i++) {
        const ReportRow *row = &r->rows[i];
        csv_text(out, row->path);
        fputc(',', out);
        csv_text(out, row->type);
        fprintf(out, ",%s,%.9g,%d,%.9g,", label_name(row->label), (double)row->score, row->defect,
                (double)row->map_max);
        if (!isnan(row->area)) fprintf(out, "%.9g", row->area);
        fputc(',', out);
        if (!isnan(row->part_found)) fprintf(out, "%.9g", row->part_found);
        fputc('\n', out);
    }
    return !ferror(out);
}
