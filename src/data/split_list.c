#include "data/layout.h"
#include "store/pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)16 << 20)

typedef struct Source {
    const Pickle *pickle;
    const char *path;
    Error *e;
} Source;

static BlemishStatus bad(const Source *s, size_t list, size_t entry, const char *found, const char *expected) {
    return error_set(s->e, BLEMISH_ERROR_FORMAT, "%s: list %zu, entry %zu: found %s, expected %s", s->path, list, entry,
                     found, expected);
}

/* The number behind Python's int and bool and NumPy's integers (scalar(dtype, bytes), little-endian). */
static bool number_of(const Pickle *p, const PickleValue *v, int64_t *out) {
    if (v->kind == PICKLE_INT || v->kind == PICKLE_BOOL) {
        *out = v->integer;
        return true;
    }
    if (v->kind != PICKLE_CALL || pickle_item(p, v, 0)->integer != PICKLE_NUMPY_SCALAR) return false;
    const PickleValue *arguments = pickle_item(p, v, 1), *type = pickle_item(p, arguments, 0);
    const PickleValue *bytes = pickle_item(p, arguments, 1), *names = NULL;
    if (type && type->kind == PICKLE_CALL && pickle_item(p, type, 0)->integer == PICKLE_NUMPY_DTYPE)
        names = pickle_item(p, type, 1);
    const PickleValue *name = names ? pickle_item(p, names, 0) : NULL;
    if (name == NULL || name->kind != PICKLE_TEXT || name->length != 2 || bytes == NULL || bytes->kind != PICKLE_TEXT ||
        !memchr("iub", name->text[0], 3) || bytes->length != (size_t)(name->text[1] - '0') || bytes->length > 8)
        return false;
    uint64_t bits = 0;
    for (size_t i = bytes->length; i-- > 0;) bits = bits << 8 | (uint8_t)bytes->text[i];
    *out = (int64_t)bits;
    return true;
}

/* An id names a file, so it may hold no folder. */
static char *id_of(const Source *s, const PickleValue *v, int digits, size_t list, size_t entry) {
    int64_t number;
    if (number_of(s->pickle, v, &number) && number >= 0) return path_format(s->e, "%0*" PRId64, digits, number);
    if (v->kind == PICKLE_TEXT && v->length > 0 && v->length < 256 && !memchr(v->text, '/', v->length) &&
        !memchr(v->text, 0, v->length))
        return path_format(s->e, "%.*s", (int)v->length, v->text);
    bad(s, list, entry, "another id", "a number or a file's name without its extension");
    return NULL;
}

static BlemishStatus read_list(const Source *s, SplitList *out, size_t list, const PickleValue *v, int digits) {
    if (v == NULL || v->kind != PICKLE_LIST)
        return error_set(s->e, BLEMISH_ERROR_FORMAT, "%s: list %zu: found none, expected a list of (id, is_segmented)",
                         s->path, list);
    out->entries = array_new(v->count, sizeof *out->entries, s->e);
    if (v->count && out->entries == NULL) return s->e->status;
    for (size_t i = 0; i < v->count; i++) {
        const PickleValue *pair = pickle_item(s->pickle, v, i);
        int64_t segmented;
        if ((pair->kind != PICKLE_TUPLE && pair->kind != PICKLE_LIST) || pair->count != 2)
            return bad(s, list, i, "no pair", "(id, is_segmented)");
        if (!number_of(s->pickle, pickle_item(s->pickle, pair, 1), &segmented) || (segmented != 0 && segmented != 1))
            return bad(s, list, i, "another second part", "True or False");
        char *id = id_of(s, pickle_item(s->pickle, pair, 0), digits, list, i);
        if (id == NULL) return s->e->status;
        out->entries[out->count++] = (SplitEntry){id, segmented == 1};
    }
    return BLEMISH_OK;
}

static BlemishStatus read_lists(const Source *s, SplitList *lists, size_t count, int digits) {
    const PickleValue *root = &s->pickle->values[s->pickle->root];
    if (count == 1) return read_list(s, lists, 0, root, digits);
    if ((root->kind != PICKLE_TUPLE && root->kind != PICKLE_LIST) || root->count != count)
        return error_set(s->e, BLEMISH_ERROR_FORMAT, "%s: found no tuple of %zu lists, expected (train, test)", s->path,
                         count);
    for (size_t i = 0; i < count; i++)
        if (read_list(s, &lists[i], i, pickle_item(s->pickle, root, i), digits)) return s->e->status;
    return BLEMISH_OK;
}

BlemishStatus split_lists_read(SplitList *lists, size_t count, int digits, const char *path, Error *e) {
    Pickle pickle;
    uint8_t *bytes;
    size_t size;
    memset(lists, 0, count * sizeof *lists);
    if (file_load(path, "a pickle of a split", FILE_MAX, &bytes, &size, e)) return e->status;
    BlemishStatus status = pickle_read(&pickle, path, bytes, size, e);
    if (status == BLEMISH_OK) status = read_lists(&(Source){&pickle, path, e}, lists, count, digits);
    pickle_close(&pickle);
    array_free(bytes);
    if (status != BLEMISH_OK) split_lists_close(lists, count);
    return status;
}

void split_lists_close(SplitList *lists, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < lists[i].count; k++) free(lists[i].entries[k].id);
        array_free(lists[i].entries);
        lists[i] = (SplitList){0};
    }
}
