#include "base/base.h"

#include <stdlib.h>
#include <string.h>

bool size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

bool size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

void *array_new_unset(size_t count, size_t size, Error *e) {
    size_t bytes, padded;
    if (count == 0 || size == 0) return NULL;
    if (!size_mul(count, size, &bytes) || !size_add(bytes, 63, &padded)) {
        error_set(e, BLEMISH_ERROR_MEMORY, "an array of %zu x %zu bytes is larger than memory", count, size);
        return NULL;
    }
    void *p = aligned_alloc(64, padded & ~(size_t)63);
    if (p == NULL) {
        error_set(e, BLEMISH_ERROR_MEMORY, "out of memory (asked for %zu bytes)", bytes);
        return NULL;
    }
    return p;
}

void *array_new(size_t count, size_t size, Error *e) {
    void *p = array_new_unset(count, size, e);
    if (p) memset(p, 0, count * size);
    return p;
}

void array_free(void *p) {
    free(p);
}

char *text_copy(const char *text, Error *e) {
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    if (copy == NULL) {
        error_set(e, BLEMISH_ERROR_MEMORY, "out of memory (asked for %zu bytes)", n);
        return NULL;
    }
    memcpy(copy, text, n);
    return copy;
}
