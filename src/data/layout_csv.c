/* A CSV manifest (RFC 4180): a header line naming path and any of label, mask, split, then one image a line. */
#include "data/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PATH, LABEL, MASK, SPLIT, COLUMNS };
static const char *const column_names[COLUMNS] = {"path", "label", "mask", "split"};
enum { FIELD_MAX = 65536 }; /* bytes: no path is longer, so no line can ask for more memory */

typedef struct CsvReader {
    FILE *file;
    const char *path;
    size_t line, record_line; /* of the next byte; of the present record's start; from 1 */
    Text fields[COLUMNS];
    size_t count;
} CsvReader;

static BlemishStatus csv_error(const CsvReader *r, Error *e, const char *field, const char *found,
                               const char *expected) {
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: line %zu: %s: found %.200s, expected %s", r->path, r->record_line,
                     field, found, expected);
}

static int next_byte(CsvReader *r) {
    int c = getc(r->file);
    if (c == '\r') { /* CRLF and CR end a line as LF does */
        int next = getc(r->file);
        if (next != '\n') ungetc(next, r->file);
        c = '\n';
    }
    if (c == '\n') r->line++;
    return c;
}

/* Reads one field; *end is the separator after it: ',', '\n' or EOF. */
static BlemishStatus read_field(CsvReader *r, Text *field, int *end, Error *e) {
    field->length = 0;
    text_append(field, "", 0);
    int c = next_byte(r);
    bool quoted = c == '"', closed = false;
    if (quoted) c = next_byte(r);
    for (;; c = next_byte(r)) {
        if (quoted && !closed && c == '"') {
            c = next_byte(r);
            closed = c != '"';
        }
        if (c == EOF && quoted && !closed) return csv_error(r, e, "quotes", "the file's end", "a closing \"");
        if ((!quoted || closed) && (c == ',' || c == '\n' || c == EOF)) break;
        if (closed) return csv_error(r, e, "quotes", "text after a closing \"", "a comma or the line's end");
        if (c == 0) return csv_error(r, e, "text", "a zero byte", "text");
        if (field->length == FIELD_MAX) return csv_error(r, e, "field", "more than 65536 bytes", "a path or a word");
        text_append(field, &(char){(char)c}, 1);
    }
    *end = c;
    return field->failed ? error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", r->path) : BLEMISH_OK;
}

/* Reads one record, skipping blank lines; r->count is 0 at the file's end. */
static BlemishStatus read_record(CsvReader *r, Error *e) {
    int end = ',';
    do {
        r->record_line = r->line;
        r->count = 0;
        end = ',';
        while (end == ',') {
            if (r->count == COLUMNS) return csv_error(r, e, "columns", "more than 4", "path,label,mask,split");
            if (read_field(r, &r->fields[r->count], &end, e) != BLEMISH_OK) return e->status;
            r->count++;
        }
        if (ferror(r->file)) return error_errno(e, "%s", r->path);
    } while (end != EOF && r->count == 1 && r->fields[0].length == 0);
    if (end == EOF && r->count == 1 && r->fields[0].length == 0) r->count = 0;
    return BLEMISH_OK;
}

/* Which field of a record is which column, from the header line; -1 where the file has no such column. */
static BlemishStatus read_header(CsvReader *r, int column[COLUMNS], Error *e) {
    const unsigned char bom[3] = {0xef, 0xbb, 0xbf};
    unsigned char start[3];
    if (fread(start, 1, 3, r->file) != 3 || memcmp(start, bom, 3) != 0) rewind(r->file);
    if (read_record(r, e) != BLEMISH_OK) return e->status;
    for (size_t c = 0; c < COLUMNS; c++) column[c] = -1;
    for (size_t i = 0; i < r->count; i++) {
        size_t c = 0;
        while (c < COLUMNS && strcasecmp(r->fields[i].data, column_names[c]) != 0) c++;
        if (c == COLUMNS)
            return csv_error(r, e, "column", r->fields[i].length ? r->fields[i].data : "an empty name",
                             "path, label, mask or split");
        if (column[c] >= 0) return csv_error(r, e, "column", r->fields[i].data, "each column once");
        column[c] = (int)i;
    }
    return column[PATH] >= 0 ? BLEMISH_OK : csv_error(r, e, "column", "no \"path\"", "path,label,mask,split");
}

/* The index of word in `words` (NULL-terminated), SIZE_MAX where it is none of them. */
static size_t word_index(const char *word, const char *const *words) {
    for (size_t i = 0; words[i]; i++)
        if (strcasecmp(word, words[i]) == 0) return i;
    return SIZE_MAX;
}

static BlemishStatus read_words(const CsvReader *r, const char *label, const char *split, Sample *sample, Error *e) {
    static const char *const labels[] = {"good", "defect", "0", "1", "normal", "anomalous", NULL};
    static const char *const splits[] = {"train", "test", NULL};
    size_t l = word_index(label, labels), s = word_index(split, splits);
    if (*label && l == SIZE_MAX)
        return csv_error(r, e, "label", label, "good, defect, normal, anomalous, 0, 1 or nothing");
    if (*split && s == SIZE_MAX) return csv_error(r, e, "split", split, "train, test or nothing");
    sample->split = !*split ? SPLIT_UNSET : s == 0 ? BLEMISH_SPLIT_TRAIN : BLEMISH_SPLIT_TEST;
    /* An image that somebody drew a mask for is a defect; a good one's mask says nothing more. */
    sample->label = *label ? (BlemishLabel)(l & 1) : sample->mask_path ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_UNKNOWN;
    sample->type = (char *)(sample->label == BLEMISH_LABEL_GOOD     ? "good"
                            : sample->label == BLEMISH_LABEL_DEFECT ? "defect"
                                                                    : "unknown");
    if (sample->label == BLEMISH_LABEL_GOOD) {
        free(sample->mask_path);
        sample->mask_path = NULL;
    }
    return BLEMISH_OK;
}

/* A file named in the manifest, relative to the manifest's folder: malloc-owned, NULL with *e set. */
static char *named_file(const CsvReader *r, const char *column, const char *name, Error *e) {
    const char *slash = strrchr(r->path, '/');
    int folder = slash && name[0] != '/' ? (int)(slash - r->path + 1) : 0;
    char *path = path_format(e, "%.*s%s", folder, r->path, name);
    if (path && !is_file(path)) {
        csv_error(r, e, column, path, "a file that exists");
        free(path);
        return NULL;
    }
    return path;
}

static BlemishStatus read_sample(Manifest *m, const CsvReader *r, const int column[COLUMNS], Error *e) {
    const char *value[COLUMNS];
    for (size_t c = 0; c < COLUMNS; c++) value[c] = column[c] < 0 ? "" : r->fields[column[c]].data;
    if (!*value[PATH]) return csv_error(r, e, "path", "nothing", "an image file");
    Sample sample = {0};
    BlemishStatus status = BLEMISH_OK;
    sample.path = named_file(r, "path", value[PATH], e);
    if (sample.path == NULL) status = e->status;
    if (status == BLEMISH_OK && *value[MASK]) {
        sample.mask_path = named_file(r, "mask", value[MASK], e);
        if (sample.mask_path == NULL) status = e->status;
    }
    if (status == BLEMISH_OK) status = read_words(r, value[LABEL], value[SPLIT], &sample, e);
    if (status == BLEMISH_OK) status = manifest_add(m, &sample, e);
    free(sample.path);
    free(sample.mask_path);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, Error *e) {
    CsvReader r = {.file = fopen(path, "rb"), .path = path, .line = 1};
    if (r.file == NULL) return error_errno(e, "%s", path);
    int column[COLUMNS];
    BlemishStatus status = read_header(&r, column, e);
    size_t columns = r.count;
    while (status == BLEMISH_OK) {
        status = read_record(&r, e);
        if (status != BLEMISH_OK || r.count == 0) break;
        if (r.count != columns) {
            char found[64], expected[64];
            snprintf(found, sizeof found, "%zu", r.count);
            snprintf(expected, sizeof expected, "%zu as in the header line", columns);
            status = csv_error(&r, e, "columns", found, expected);
        } else {
            status = read_sample(m, &r, column, e);
        }
    }
    for (size_t i = 0; i < COLUMNS; i++) text_free(&r.fields[i]);
    fclose(r.file);
    return status;
}

static bool matches(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && strcasecmp(dot, ".csv") == 0 && is_file(path);
}

const Layout layout_csv = {"csv", "a .csv file", matches, read_all};
