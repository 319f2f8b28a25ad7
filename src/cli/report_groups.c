/* Results of parts of the test set: by defect type, by defect size; and what the whole is too small for. */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rates --------------------------------------------------------------------------------------------------- */

json_t *report_rate(size_t hits, size_t of) {
    if (of == 0) return json_pack("{s:n, s:n, s:n}", "value", "low", "high");
    BlemishInterval sure;
    blemish_rate_interval(hits, of, REPORT_CONFIDENCE, &sure);
    return json_pack("{s:o, s:o, s:o}", "value", json_number((double)hits / (double)of), //
                     "low", json_number(sure.low), "high", json_number(sure.high));
}

/* ---- groups of defects --------------------------------------------------------------------------------------- */

static int compare_scores(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Scores of the good images, ascending: what every group of defects is compared with. */
static float *good_scores(const Report *r, size_t *count) {
    float *scores = malloc((r->count + 1) * sizeof *scores);
    *count = 0;
    for (size_t i = 0; i < r->count && scores; i++) {
        if (r->rows[i].label == BLEMISH_LABEL_GOOD) scores[(*count)++] = r->rows[i].score;
    }
    if (scores) qsort(scores, *count, sizeof *scores, compare_scores);
    return scores;
}

/* Twice the number of good images below `score`, plus those that tie with it. */
static size_t beaten(const float *scores, size_t count, float score) {
    size_t below = 0, up_to = count;
    for (size_t high = count; below < high;) {
        size_t middle = below + (high - below) / 2;
        if (scores[middle] < score)
            below = middle + 1;
        else
            high = middle;
    }
    for (size_t low = below; low < up_to;) {
        size_t middle = low + (up_to - low) / 2;
        if (scores[middle] <= score)
            low = middle + 1;
        else
            up_to = middle;
    }
    return below + up_to;
}

static json_t *ratio(double sum, double of) {
    return json_number(of > 0 ? sum / of : NAN);
}

typedef bool (*Member)(const ReportRow *row, const void *which);

/* The defects of one group. I-AUROC is of them against all good images. */
static json_t *group(const Report *r, const float *good, size_t good_count, json_t *name, Member member,
                     const void *which) {
    size_t images = 0, found = 0, marked = 0;
    double pairs = 0, part = 0, scores = 0;
    for (size_t i = 0; i < r->count; i++) {
        const ReportRow *row = &r->rows[i];
        if (row->label != BLEMISH_LABEL_DEFECT || !member(row, which)) continue;
        images++;
        found += row->defect != 0;
        scores += row->score;
        pairs += (double)beaten(good, good_count, row->score) / 2;
        if (isnan(row->part_found)) continue;
        marked++;
        part += row->part_found;
    }
    return json_pack("{s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "name", name, "images", (json_int_t)images, //
                     "found", (json_int_t)found, "missed", (json_int_t)(images - found),                     //
                     "found_rate", report_rate(found, images), "mean_score", ratio(scores, (double)images),  //
                     "i_auroc", ratio(pairs, (double)images * (double)good_count),                           //
                     "marked_part_found", ratio(part, (double)marked));
}

static bool of_type(const ReportRow *row, const void *type) {
    return !strcmp(row->type, type);
}

/* A row that is the first of its type among the defects. */
static bool first_of_type(const Report *r, size_t index) {
    for (size_t i = 0; i < index; i++) {
        if (r->rows[i].label == BLEMISH_LABEL_DEFECT && of_type(&r->rows[i], r->rows[index].type)) return false;
    }
    return true;
}

json_t *report_by_type(const Report *r) {
    size_t good_count;
    float *good = good_scores(r, &good_count);
    json_t *list = good ? json_array() : NULL;
    for (size_t i = 0; i < r->count && list; i++) {
        if (r->rows[i].label != BLEMISH_LABEL_DEFECT || !first_of_type(r, i)) continue;
        const char *type = r->rows[i].type;
        if (json_array_append_new(list, group(r, good, good_count, json_text(type), of_type, type))) {
            json_decref(list);
            list = NULL;
        }
    }
    free(good);
    return list;
}

typedef struct SizeClass {
    const char *name;
    double from, below; /* part of the image */
} SizeClass;

static const SizeClass sizes[] = {{"below 0.1 %", 0, 0.001},
                                  {"0.1 to 1 %", 0.001, 0.01},
                                  {"1 to 5 %", 0.01, 0.05},
                                  {"5 % and more", 0.05, 2},
                                  {"not marked", NAN, NAN}};

static bool of_size(const ReportRow *row, const void *which) {
    const SizeClass *size = which;
    if (isnan(size->from)) return isnan(row->area);
    return row->area >= size->from && row->area < size->below;
}

json_t *report_by_size(const Report *r) {
    size_t good_count;
    float *good = good_scores(r, &good_count);
    json_t *list = good ? json_array() : NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && list; i++) {
        if (json_array_append_new(list, group(r, good, good_count, json_string(sizes[i].name), of_size, &sizes[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    free(good);
    return list;
}

/* ---- warnings ------------------------------------------------------------------------------------------------ */

static void warn(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(json_t *list, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(list, json_text(text));
}

/* The largest rate of errors that n images without one leave open. */
static double still_possible(size_t n) {
    return 1 - pow(1 - REPORT_CONFIDENCE, 1 / (double)n);
}

json_t *report_warnings(const Report *r, const BlemishMetrics *m) {
    const double claim = 0.05; // fewer images than can show 5 % are a small set: 59
    const size_t good = m->images - m->defects;
    size_t tiny = 0, unknown = r->count - m->images;
    json_t *list = json_array();
    for (size_t i = 0; i < r->count; i++) tiny += !isnan(r->rows[i].area) && isnan(r->rows[i].part_found);
    if (!list) return NULL;
    if (strcmp(r->settings.split, "test"))
        warn(list, "These are training images: the model has seen them, and will do worse on others.");
    if (m->defects == 0)
        warn(list, "No defective image: nothing can be said about defects, only about false alarms.");
    else if (still_possible(m->defects) > claim)
        warn(list,
             "Small test set: with %zu defective image%s, even if all were found, up to %.1f %% of defects could still "
             "escape (at %g %% confidence).",
             m->defects, m->defects == 1 ? "" : "s", 100 * still_possible(m->defects), 100 * REPORT_CONFIDENCE);
    if (good == 0)
        warn(list, "No good image: nothing can be said about false alarms.");
    else if (still_possible(good) > claim)
        warn(list,
             "Small test set: with %zu good image%s, even if none were rejected, up to %.1f %% of good parts could "
             "still "
             "be false alarms (at %g %% confidence).",
             good, good == 1 ? "" : "s", 100 * still_possible(good), 100 * REPORT_CONFIDENCE);
    if (m->defects && m->masks == 0)
        warn(list, "No defect is marked by a mask: nothing can be said about where defects are found.");
    if (tiny)
        warn(list, "%zu marked defect%s too small to show at the network's input size; no pixel figure counts %s.",
             tiny, tiny == 1 ? " is" : "s are", tiny == 1 ? "it" : "them");
    if (unknown)
        warn(list, "%zu image%s no label; predictions.csv lists %s, no figure counts %s.", unknown,
             unknown == 1 ? " has" : "s have", unknown == 1 ? "it" : "them", unknown == 1 ? "it" : "them");
    return list;
}
