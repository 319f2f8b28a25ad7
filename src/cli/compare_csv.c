/* A predictions.csv: RFC 4180, as csv_text writes it, columns in any order. */
#include "compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 64 };

typedef struct Csv {
    const char *file;
    char *text, *at, *end;
    size_t line; /* of the present record, from 1 */
    size_t next; /* line of the next */
    char *fields[COLUMNS_MAX];
    size_t count;
} Csv;

enum { PATH, LABEL, SCORE, DEFECT, MAP_MAX, MARKED, NAMES };
static const char *const names[NAMES] = {"path", "label", "score", "defect", "map_max", "marked_part_found"};

/* One field from csv->at, unquoted in place; csv->at is then behind the separator, and *last is set at a record's end.
 * False for a quote that is not closed or followed by text. */
static bool take_field(Csv *csv, char **field, bool *last) {
    char *from = csv->at, *to = csv->at;
    const bool quoted = from < csv->end && *from == '"';
    *field = to;
    if (quoted) from++;
    for (;; from++) {
        if (from == csv->end) {
            if (quoted) return false;
            break;
        }
        if (*from == '\n') csv->next++;
        if (quoted && *from == '"') {
            if (from + 1 == csv->end || from[1] != '"') break;
            from++;
        } else if (!quoted && (*from == ',' || *from == '\n')) {
            break;
        }
        *to++ = *from;
    }
    if (quoted) from++;
    if (from < csv->end && *from == '\r' && from + 1 < csv->end && from[1] == '\n') from++;
    if (from < csv->end && *from != ',' && *from != '\n') return false;
    if (quoted && from < csv->end && *from == '\n') csv->next++;
    if (!quoted && to > *field && to[-1] == '\r' && (from == csv->end || *from == '\n')) to--;
    *last = from == csv->end || *from == '\n';
    csv->at = from < csv->end ? from + 1 : from;
    *to = 0;
    return true;
}

/* False at the end, and with *wrong set where a record cannot be read. */
static bool take_record(Csv *csv, bool *wrong) {
    bool last = false;
    csv->line = csv->next;
    csv->count = 0;
    if (csv->at == csv->end) return false;
    while (!last) {
        if (csv->count == COLUMNS_MAX || !take_field(csv, &csv->fields[csv->count++], &last)) {
            *wrong = true;
            fail("%s: line %zu: found %s", csv->file, csv->line,
                 csv->count == COLUMNS_MAX ? "too many fields" : "a quote that is not closed, expected fields of CSV");
            return false;
        }
    }
    return true;
}

static char *read_all(const char *path, size_t *length) {
    FILE *in = fopen(path, "rbe"), *out = NULL;
    char *text = NULL, block[1 << 14];
    if (in && (out = open_memstream(&text, length))) {
        for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;) fwrite(block, 1, n, out);
    }
    const int problem = errno;
    const bool failed = !in || !out || ferror(in);
    if (in) fclose(in);
    if (out && fclose(out)) text = NULL;
    if (!failed && text) return text;
    fail("%s: %s", path, failed ? strerror(problem) : "memory is short");
    free(text);
    return NULL;
}

static bool wrong_field(const Csv *csv, const char *name, const char *found, const char *expected) {
    fail("%s: line %zu: %s: found '%.60s', expected %s", csv->file, csv->line, name, found, expected);
    return false;
}

static bool take_number(const Csv *csv, int name, const char *text, float *out) {
    char *end;
    const float value = strtof(text, &end);
    *out = value;
    return *text && !*end && isfinite(value) ? true : wrong_field(csv, names[name], text, "a finite number");
}

static bool take_row(EvaluatedRun *run, const Csv *csv, const size_t column[NAMES]) {
    const char *value[NAMES];
    for (int i = 0; i < NAMES; i++) value[i] = column[i] == SIZE_MAX ? "" : csv->fields[column[i]];
    RunRow row = {.label = BLEMISH_LABEL_UNKNOWN, .marked = *value[MARKED] != 0};
    if (!strcmp(value[LABEL], "good"))
        row.label = BLEMISH_LABEL_GOOD;
    else if (!strcmp(value[LABEL], "defect"))
        row.label = BLEMISH_LABEL_DEFECT;
    else if (*value[LABEL])
        return wrong_field(csv, "label", value[LABEL], "good, defect or nothing");
    if (!*value[PATH]) return wrong_field(csv, "path", "", "an image's path");
    if (!take_number(csv, SCORE, value[SCORE], &row.score) || !take_number(csv, MAP_MAX, value[MAP_MAX], &row.map_max))
        return false;
    if (strcmp(value[DEFECT], "0") && strcmp(value[DEFECT], "1"))
        return wrong_field(csv, "defect", value[DEFECT], "0 or 1");
    row.defect = *value[DEFECT] == '1';
    if (!(row.path = strdup(value[PATH]))) return fail("memory is short"), false;
    return run_add(run, csv->file, &row);
}

static bool take_rows(EvaluatedRun *run, Csv *csv) {
    size_t column[NAMES];
    bool wrong = false;
    if (!take_record(csv, &wrong) && !wrong) return fail("%s: found nothing, expected a header line", csv->file), false;
    for (int i = 0; i < NAMES && !wrong; i++) {
        column[i] = SIZE_MAX;
        for (size_t k = 0; k < csv->count; k++)
            if (!strcmp(csv->fields[k], names[i])) column[i] = k;
        if (column[i] == SIZE_MAX && i != MARKED)
            return fail("%s: column %s: found none, expected the columns path, label, score, defect and map_max",
                        csv->file, names[i]),
                   false;
    }
    const size_t columns = csv->count;
    while (!wrong && take_record(csv, &wrong)) {
        if (csv->count == columns
                ? !take_row(run, csv, column)
                : (fail("%s: line %zu: found %zu fields, expected %zu", csv->file, csv->line, csv->count, columns),
                   true))
            return false;
    }
    return !wrong;
}

int run_read_csv(EvaluatedRun *run, const char *file) {
    size_t length;
    char *text = read_all(file, &length);
    if (!text) return EXIT_FAILED;
    Csv csv = {.file = file, .text = text, .at = text, .end = text + length, .next = 1};
    bool fine = !memchr(text, 0, length);
    if (!fine)
        fail("%s: found a zero byte, expected CSV", file);
    else
        fine = take_rows(run, &csv);
    free(text);
    return fine ? EXIT_OK : EXIT_FAILED;
}
