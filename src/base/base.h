/* base: what every folder needs and nothing of the field - errors, memory, text, random numbers, progress. */
#ifndef BLEMISH_BASE_H
#define BLEMISH_BASE_H

#include "blemish/blemish.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- errors ---------------------------------------------------------------------------------------------- */

/* The last failure of one handle. Every internal function that can fail takes an `Error *` (never NULL) and
 * returns its status; on BLEMISH_OK the text is left alone. */
typedef struct Error {
    BlemishStatus status;
    char text[BLEMISH_ERROR_SIZE];
} Error;

/* Writes one line "file: field: found ..., expected ..." into e and returns status, so that a caller can write
 * `return error_set(e, BLEMISH_ERROR_FORMAT, "%s: width: found %u, expected 1 to %u", path, w, max);`.
 * Control characters in the result are replaced by '?', so hostile names cannot forge lines. */
BlemishStatus error_set(Error *e, BlemishStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* error_set() with strerror(errno) appended; status BLEMISH_ERROR_IO. */
BlemishStatus error_errno(Error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* Zeroed, 64-byte aligned array of count elements; NULL when count * size overflows or memory is short, or
 * when count is 0 (then *e is untouched and the caller must not dereference). */
void *array_new(size_t count, size_t size, Error *e);
/* The same, not zeroed: for what is written as a whole. */
void *array_new_unset(size_t count, size_t size, Error *e);
void array_free(void *p);

/* a * b and a + b into *out; false on overflow. */
bool size_mul(size_t a, size_t b, size_t *out);
bool size_add(size_t a, size_t b, size_t *out);

/* malloc-owned copy of text, freed with free(); NULL with *e set when memory is short. */
char *text_copy(const char *text, Error *e);

/* ---- growing text ---------------------------------------------------------------------------------------- */

/* A malloc-grown string. After a failed allocation `failed` is set and further appends do nothing, so a writer
 * checks once, at the end. `data` is always terminated (or NULL while empty). Freed by text_free. */
typedef struct Text {
    char *data;
    size_t length, capacity;
    bool failed;
} Text;

void text_append(Text *t, const char *bytes, size_t length);
void text_format(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends `value` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void text_json_string(Text *t, const char *value);
/* Appends a JSON number that reads back to the same double; NaN and infinities become null. */
void text_json_number(Text *t, double value);
void text_free(Text *t);

/* ---- numbers from text ----------------------------------------------------------------------------------- */

/* The whole of `text` as one finite decimal number, whatever the program's locale; false, with *out untouched, for
 * anything else (empty, white space, trailing characters, hexadecimal, NaN, infinity, too large). */
bool number_parse(const char *text, double *out);
/* The same for a whole number of digits alone. */
bool count_parse(const char *text, uint64_t *out);

/* ---- counter-based random numbers ------------------------------------------------------------------------ */

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): 128 random bits for a
 * 64-bit key and a 128-bit counter. The same (key, counter) gives the same bits on every machine. */
void philox4x32(uint64_t key, uint64_t counter_high, uint64_t counter_low, uint32_t out[4]);

/* A stream of random numbers over philox4x32: all state is (key, stream, position), so it can be saved. */
typedef struct Random {
    uint64_t key, stream, position;
} Random;

Random random_new(uint64_t key, uint64_t stream);
uint32_t random_u32(Random *r);
/* Uniform in [0, 1) with 24 bits. */
float random_float(Random *r);
/* Uniform integer in [0, n), n > 0, without modulo bias. */
uint32_t random_below(Random *r, uint32_t n);
/* Standard normal (Box-Muller). */
float random_normal(Random *r);
/* Fisher-Yates shuffle of n indices. */
void random_shuffle(Random *r, size_t *items, size_t n);

/* splitmix64's mixing function and 64-bit FNV-1a, for seeds made out of names. */
uint64_t mix64(uint64_t x);
uint64_t fnv1a64(const void *bytes, size_t length, uint64_t basis);
#define FNV1A64_BASIS 0xcbf29ce484222325ull

/* ---- files written whole ----------------------------------------------------------------------------------- */

/* A file that appears whole or not at all: written under a temporary name in the folder of `path`, then fsync and
 * rename. A symbolic link is followed, one to nothing refused, and so is anything but a regular file at `path`.
 * Permissions follow the umask. After any failure of open or commit the struct is zeroed and no temporary file is left.
 */
typedef struct AtomicFile {
    FILE *file;
    char *path, *temporary;
} AtomicFile;
BlemishStatus atomic_open(AtomicFile *f, const char *path, Error *e);
/* Writes bytes; a failure (disk full) is reported here or by commit. */
BlemishStatus atomic_write(AtomicFile *f, const void *bytes, size_t length, Error *e);
/* Flush, fsync, close, rename, fsync of the folder. Refused, too, when anything written before had failed. */
BlemishStatus atomic_commit(AtomicFile *f, Error *e);
/* Closes and removes the temporary file; harmless after commit. */
void atomic_abandon(AtomicFile *f);
/* All at once. */
BlemishStatus atomic_write_file(const char *path, const void *bytes, size_t length, Error *e);

/* ---- files read whole ------------------------------------------------------------------------------------ */

/* The content of a regular file of at most `most` bytes and a terminating zero after it: *bytes is freed by
 * array_free. `expected` says in messages what it should be ("an image file"). */
BlemishStatus file_load(const char *path, const char *expected, size_t most, uint8_t **bytes, size_t *size, Error *e);

/* ---- cores ----------------------------------------------------------------------------------------------- */

/* `cores`, or the container's CPU quota (control groups 1 and 2) rounded up to whole cores where that is less. */
int cores_limit(int cores);
/* The rounded quota of "QUOTA PERIOD", both in microseconds; 0 where there is none ("max 100000", "-1 100000") or the
 * text is another. */
int cores_of_quota(const char *text);

/* ---- time ------------------------------------------------------------------------------------------------ */

/* Seconds of the monotonic clock. */
double now_seconds(void);

/* ---- profiles -------------------------------------------------------------------------------------------- */

/* Sums time and work by stage. What happens between two laps belongs to the stage that the second one names. A NULL
 * profile is one that is switched off: every function returns at once. Used by one thread. */
enum { PROFILE_STAGES = 32 }; /* further ones are left out */
typedef struct Profile {
    BlemishStage stages[PROFILE_STAGES];
    size_t count;
    double mark;        /* seconds, of the last lap */
    BlemishStage since; /* work that was counted after it */
} Profile;
/* What went on until now belongs to no stage. */
void profile_start(Profile *p);
void profile_work(Profile *p, double gmac, double gb, BlemishPrecision precision);
/* stage: a string literal, or as good as one. */
void profile_lap(Profile *p, const char *stage);

#endif
