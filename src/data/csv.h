/* csv: records of an RFC 4180 file whose header line names its columns. Only src/data includes it. */
#ifndef BLEMISH_CSV_H
#define BLEMISH_CSV_H

#include "base/base.h"

enum { CSV_COLUMNS_MAX = 8 };

typedef struct Csv {
    FILE *file;
    const char *path;
    const char *const *names;    /* NULL-terminated; the columns the file may have, in any order and case */
    char expected[128];          /* the same for messages: "path,label,mask,split" */
    int column[CSV_COLUMNS_MAX]; /* of each name: its place in a record, -1 where the file lacks it */
    size_t line, record_line;    /* of the next byte; of the present record's start; from 1 */
    Text fields[CSV_COLUMNS_MAX];
    size_t count, header_count; /* fields of the present record; of the header line */
} Csv;

/* Reads the header line, in which the first `required` names must stand. path and names must outlive it. Close it in
 * either case. */
BlemishStatus csv_open(Csv *csv, const char *path, const char *const *names, size_t required, Error *e);
/* Reads the next record; *more is false at the file's end. */
BlemishStatus csv_next(Csv *csv, bool *more, Error *e);
/* The present record's value in the column of that index in names; "" where there is none. */
const char *csv_value(const Csv *csv, size_t name);
/* "path: line N: field: found ..., expected ...", FORMAT. */
BlemishStatus csv_error(const Csv *csv, Error *e, const char *field, const char *found, const char *expected);
void csv_close(Csv *csv);

/* The index of word in `words` (NULL-terminated, in any case), SIZE_MAX where it is none of them. */
size_t word_index(const char *word, const char *const *words);

#endif
