#include "data/data.h"

#include <stdlib.h>

BlemishStatus problems_add(Problems *p, BlemishProblemKind kind, Error *e, const char *format, ...) {
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 16;
        BlemishProblem *items = reallocarray(p->items, capacity, sizeof *items);
        if (items == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory for %zu problems", capacity);
        p->items = items;
        p->capacity = capacity;
    }
    char line[BLEMISH_ERROR_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; /* a hostile file name cannot forge a line */
    char *text = text_copy(line, e);
    if (text == NULL) return e->status;
    p->items[p->count++] = (BlemishProblem){kind, text};
    return BLEMISH_OK;
}

void problems_close(Problems *p) {
    for (size_t i = 0; i < p->count; i++) free((char *)(uintptr_t)p->items[i].text);
    free(p->items);
    *p = (Problems){0};
}
