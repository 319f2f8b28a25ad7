#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Length of the UTF-8 character at text, 0 when it is none (RFC 3629: no surrogates, nothing overlong). */
static size_t utf8_length(const unsigned char *text) {
    unsigned char c = text[0];
    size_t length = c < 0x80                ? 1
                    : c >= 0xc2 && c < 0xe0 ? 2
                    : c >= 0xe0 && c < 0xf0 ? 3
                    : c >= 0xf0 && c < 0xf5 ? 4
                                            : 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
    }
    bool bad = (c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] >= 0xa0) || (c == 0xf0 && text[1] < 0x90) ||
               (c == 0xf4 && text[1] >= 0x90);
    return bad ? 0 : length;
}

json_t *json_text(const char *text) {
    size_t length = 0;
    char *copy = malloc(3 * strlen(text) + 1);
    if (!copy) return NULL;
    while (*text) {
        size_t n = utf8_length((const unsigned char *)text);
        memcpy(copy + length, n ? text : "\xef\xbf\xbd", n ? n : 3);
        length += n ? n : 3;
        text += n ? n : 1;
    }
    json_t *value = json_stringn(copy, length);
    free(copy);
    return value;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_metrics(const BlemishMetrics *m) {
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", //
                     "images", (json_int_t)m->images, "defects", (json_int_t)m->defects, "masks", (json_int_t)m->masks,
                     "i_auroc", json_number(m->i_auroc), "ap_det", json_number(m->ap_det), //
                     "seg_i_auroc", json_number(m->seg_i_auroc), "seg_ap_det", json_number(m->seg_ap_det), "p_auroc",
                     json_number(m->p_auroc), "ap_loc", json_number(m->ap_loc), //
                     "aupro", json_number(m->aupro), "best_f1", json_number(m->best_f1), "best_f1_threshold",
                     json_number(m->best_f1_threshold), //
                     "pixel_best_f1", json_number(m->pixel_best_f1), "pixel_best_f1_threshold",
                     json_number(m->pixel_best_f1_threshold), "seconds_per_image", json_number(m->seconds_per_image));
}

json_t *json_interval(BlemishInterval v) {
    return isnan(v.low) ? json_null() : json_pack("[f, f]", v.low, v.high);
}

json_t *json_intervals(const BlemishIntervals *v) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",                                          //
                     "i_auroc", json_interval(v->i_auroc), "ap_det", json_interval(v->ap_det),                 //
                     "seg_i_auroc", json_interval(v->seg_i_auroc), "seg_ap_det", json_interval(v->seg_ap_det), //
                     "best_f1", json_interval(v->best_f1), "p_auroc", json_interval(v->p_auroc),               //
                     "ap_loc", json_interval(v->ap_loc), "aupro", json_interval(v->aupro),                     //
                     "pixel_best_f1", json_interval(v->pixel_best_f1));
}

bool json_write_pretty(FILE *out, const json_t *value) {
    return !json_dumpf(value, out, JSON_INDENT(2) | JSON_REAL_PRECISION(JSON_DIGITS)) && fputc('\n', out) != EOF;
}

bool json_write_line(FILE *out, json_t *value) {
    bool written = value && !json_dumpf(value, out, JSON_COMPACT | JSON_REAL_PRECISION(JSON_DIGITS));
    json_decref(value);
    return written && fputc('\n', out) != EOF;
}

int json_print(json_t *value) {
    if (!value) return fail("memory is short");
    bool written = json_write_pretty(stdout, value);
    json_decref(value);
    return written || ferror(stdout) ? EXIT_OK : fail("memory is short"); // main reports a failed stdout
}

void csv_text(FILE *out, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

bool file_write(const char *path, const char *text, size_t length) {
    char target[PATH_SIZE], temporary[PATH_SIZE + 8];
    struct stat status;
    if (!realpath(path, target)) snprintf(target, sizeof target, "%s", path); // a link stays one
    const bool direct = !stat(path, &status) && !S_ISREG(status.st_mode);
    snprintf(temporary, sizeof temporary, "%s%s", direct ? path : target, direct ? "" : ".new");
    FILE *file = fopen(temporary, "we");
    bool written = file && fwrite(text, 1, length, file) == length && !fflush(file);
    if (written && !direct && fsync(fileno(file))) written = false;
    int problem = errno;
    if (file && fclose(file) && written) written = false, problem = errno;
    if (written && !direct && rename(temporary, target)) written = false, problem = errno;
    if (!written) {
        if (file && !direct) unlink(temporary);
        fail("%s: %s", path, strerror(problem));
    }
    return written;
}

static void metric_row(FILE *out, const char *name, double value, const BlemishInterval *interval) {
    fprintf(out, "  %-28s ", name);
    if (isnan(value))
        fputs("   -", out);
    else
        fprintf(out, "%.4f", value);
    if (interval && !isnan(interval->low)) fprintf(out, "  [%.4f, %.4f]", interval->low, interval->high);
    fputc('\n', out);
}

void metrics_print(const BlemishMetrics *m, const BlemishIntervals *v, FILE *out) {
    fprintf(out, "%zu images, %zu with a defect, %zu with a mask", m->images, m->defects, m->masks);
    if (v) fprintf(out, "; [low, high] with %g %% confidence", 100 * v->confidence);
    fputc('\n', out);
    metric_row(out, "I-AUROC", m->i_auroc, v ? &v->i_auroc : NULL);
    metric_row(out, "AP-det", m->ap_det, v ? &v->ap_det : NULL);
    metric_row(out, "seg-I-AUROC (map maximum)", m->seg_i_auroc, v ? &v->seg_i_auroc : NULL);
    metric_row(out, "seg-AP-det (map maximum)", m->seg_ap_det, v ? &v->seg_ap_det : NULL);
    metric_row(out, "best F1", m->best_f1, v ? &v->best_f1 : NULL);
    metric_row(out, "  at score threshold", m->best_f1_threshold, NULL);
    metric_row(out, "P-AUROC", m->p_auroc, v ? &v->p_auroc : NULL);
    metric_row(out, "AP-loc", m->ap_loc, v ? &v->ap_loc : NULL);
    metric_row(out, "AUPRO", m->aupro, v ? &v->aupro : NULL);
    metric_row(out, "best pixel F1", m->pixel_best_f1, v ? &v->pixel_best_f1 : NULL);
    metric_row(out, "  at map threshold", m->pixel_best_f1_threshold, NULL);
    metric_row(out, "seconds per image", m->seconds_per_image, NULL);
}

BlemishModel *model_open(const char *path) {
    BlemishModel *model;
    if (blemish_model_open(&model, path)) {
        fail("%s", model ? blemish_model_error(model) : "memory is short");
        blemish_model_close(model);
        return NULL;
    }
    return model;
}

BlemishPrecision precision_of(const char *word) {
    static const char *const words[] = {"auto", "fp32", "bf16", "int8"}; // in the order of BlemishPrecision
    unsigned i = 0;
    while (strcmp(words[i], word)) i++;
    return (BlemishPrecision)i;
}

BlemishTiles tiles_of(bool tiles, bool no_tiles) {
    return no_tiles ? BLEMISH_TILES_OFF : tiles ? BLEMISH_TILES_ON : BLEMISH_TILES_AUTO;
}

BlemishSession *session_open(const BlemishModel *model, uint64_t threads, const char *precision, BlemishTiles tiles) {
    BlemishSessionSettings settings;
    BlemishSession *session;
    blemish_session_defaults(&settings);
    settings.threads = (int)threads;
    settings.precision = precision_of(precision);
    settings.tiles = tiles;
    if (blemish_session_open(&session, model, &settings)) {
        fail("%s", session ? blemish_session_error(session) : "memory is short");
        blemish_session_close(session);
        return NULL;
    }
    return session;
}

int evaluate_tests(const BlemishModel *model, const BlemishDataset *dataset, uint64_t threads, BlemishMetrics *metrics,
                   ProgressBar *bar, bool *stopped) {
    BlemishSession *session = session_open(model, threads, "auto", BLEMISH_TILES_AUTO);
    if (!session) return EXIT_FAILED;
    BlemishStatus status =
        blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, metrics, NULL, NULL, progress_show, bar);
    progress_end(bar);
    *stopped = status == BLEMISH_ERROR_INTERRUPTED;
    if (status && !*stopped) fail("%s", blemish_session_error(session));
    blemish_session_close(session);
    return status ? EXIT_FAILED : EXIT_OK;
}
