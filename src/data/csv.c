#include "data/csv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FIELD_MAX = 65536 }; /* bytes: no path is longer, so no line can ask for more memory */

BlemishStatus csv_error(const Csv *csv, Error *e, const char *field, const char *found, const char *expected) {
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: line %zu: %s: found %.200s, expected %s", csv->path,
                     csv->record_line, field, found, expected);
}

static size_t name_count(const Csv *csv) {
    size_t n = 0;
    while (csv->names[n]) n++;
    return n;
}

static int next_byte(Csv *csv) {
    int c = getc(csv->file);
    if (c == '\r') { /* CRLF and CR end a line as LF does */
        int next = getc(csv->file);
        if (next != '\n') ungetc(next, csv->file);
        c = '\n';
    }
    if (c == '\n') csv->line++;
    return c;
}

/* Reads one field; *end is the separator after it: ',', '\n' or EOF. */
static BlemishStatus read_field(Csv *csv, Text *field, int *end, Error *e) {
    field->length = 0;
    text_append(field, "", 0);
    int c = next_byte(csv);
    bool quoted = c == '"', closed = false;
    if (quoted) c = next_byte(csv);
    for (;; c = next_byte(csv)) {
        if (quoted && !closed && c == '"') {
            c = next_byte(csv);
            closed = c != '"';
        }
        if (c == EOF && quoted && !closed) return csv_error(csv, e, "quotes", "the file's end", "a closing \"");
        if ((!quoted || closed) && (c == ',' || c == '\n' || c == EOF)) break;
        if (closed) return csv_error(csv, e, "quotes", "text after a closing \"", "a comma or the line's end");
        if (c == 0) return csv_error(csv, e, "text", "a zero byte", "text");
        if (field->length == FIELD_MAX) return csv_error(csv, e, "field", "more than 65536 bytes", "a path or a word");
        text_append(field, &(char){(char)c}, 1);
    }
    *end = c;
    return field->failed ? error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", csv->path) : BLEMISH_OK;
}

/* Reads one record, skipping blank lines; csv->count is 0 at the file's end. */
static BlemishStatus read_record(Csv *csv, Error *e) {
    size_t most = name_count(csv);
    int end = ',';
    do {
        csv->record_line = csv->line;
        csv->count = 0;
        end = ',';
        while (end == ',') {
            if (csv->count == most) {
                char found[32];
                snprintf(found, sizeof found, "more than %zu", most);
                return csv_error(csv, e, "columns", found, csv->expected);
            }
            if (read_field(csv, &csv->fields[csv->count], &end, e) != BLEMISH_OK) return e->status;
            csv->count++;
        }
        if (ferror(csv->file)) return error_errno(e, "%s", csv->path);
    } while (end != EOF && csv->count == 1 && csv->fields[0].length == 0);
    if (end == EOF && csv->count == 1 && csv->fields[0].length == 0) csv->count = 0;
    return BLEMISH_OK;
}

size_t word_index(const char *word, const char *const *words) {
    for (size_t i = 0; words[i]; i++)
        if (strcasecmp(word, words[i]) == 0) return i;
    return SIZE_MAX;
}

static BlemishStatus read_header(Csv *csv, size_t required, Error *e) {
    const unsigned char bom[3] = {0xef, 0xbb, 0xbf};
    unsigned char start[3];
    if (fread(start, 1, 3, csv->file) != 3 || memcmp(start, bom, 3) != 0) rewind(csv->file);
    if (read_record(csv, e) != BLEMISH_OK) return e->status;
    csv->header_count = csv->count;
    for (size_t c = 0; c < CSV_COLUMNS_MAX; c++) csv->column[c] = -1;
    for (size_t i = 0; i < csv->count; i++) {
        const char *found = csv->fields[i].length ? csv->fields[i].data : "an empty name";
        size_t c = word_index(csv->fields[i].data, csv->names);
        if (c == SIZE_MAX) return csv_error(csv, e, "column", found, csv->expected);
        if (csv->column[c] >= 0) return csv_error(csv, e, "column", found, "each column once");
        csv->column[c] = (int)i;
    }
    for (size_t c = 0; c < required; c++)
        if (csv->column[c] < 0) {
            char found[64];
            snprintf(found, sizeof found, "no \"%s\"", csv->names[c]);
            return csv_error(csv, e, "column", found, csv->expected);
        }
    return BLEMISH_OK;
}

BlemishStatus csv_open(Csv *csv, const char *path, const char *const *names, size_t required, Error *e) {
    *csv = (Csv){.file = fopen(path, "rb"), .path = path, .names = names, .line = 1};
    if (csv->file == NULL) return error_errno(e, "%s", path);
    for (size_t i = 0, used = 0; names[i] && used < sizeof csv->expected; i++)
        used += (size_t)snprintf(csv->expected + used, sizeof csv->expected - used, "%s%s", i ? "," : "", names[i]);
    return read_header(csv, required, e);
}

BlemishStatus csv_next(Csv *csv, bool *more, Error *e) {
    if (read_record(csv, e) != BLEMISH_OK) return e->status;
    *more = csv->count > 0;
    if (csv->count == 0 || csv->count == csv->header_count) return BLEMISH_OK;
    char found[32], expected[64];
    snprintf(found, sizeof found, "%zu", csv->count);
    snprintf(expected, sizeof expected, "%zu as in the header line", csv->header_count);
    return csv_error(csv, e, "columns", found, expected);
}

const char *csv_value(const Csv *csv, size_t name) {
    return csv->column[name] < 0 ? "" : csv->fields[csv->column[name]].data;
}

void csv_close(Csv *csv) {
    for (size_t i = 0; i < CSV_COLUMNS_MAX; i++) text_free(&csv->fields[i]);
    if (csv->file) fclose(csv->file);
    *csv = (Csv){0};
}
