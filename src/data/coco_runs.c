/* COCO's run lengths: counts of 0s and 1s in turn, beginning with 0s, down the columns. */
#include "data/annotation.h"

#include <string.h>

/* Reads counts one after another, from a JSON array or from COCO's text: 5 bits a character from '0' on, the lowest
 * first, bit 5 says that more follow, the last one's bit 4 is the sign; from the third count on the difference to the
 * count two before. */
typedef struct Runs {
    const json_t *array;
    const char *text;
    size_t index;
    int64_t before[2]; /* the last two counts */
} Runs;

enum { BITS_MAX = 40 }; /* no run is longer than IMAGE_PIXELS_MAX */

/* The next count; -1 for what is none. *more is false, and the count 0, at the end. */
static int64_t next_count(Runs *r, bool *more) {
    if (r->array) {
        const json_t *value = json_array_get(r->array, r->index);
        *more = value != NULL;
        r->index++;
        return value == NULL ? 0 : json_is_integer(value) ? json_integer_value(value) : -1;
    }
    *more = *r->text != 0;
    if (!*more) return 0;
    int64_t count = 0;
    int bits = 0, part = 0x20;
    for (; part & 0x20; bits += 5) {
        part = *r->text - '0';
        if (part < 0 || part > 0x3f || bits > BITS_MAX) return -1;
        count |= (int64_t)(part & 0x1f) << bits;
        r->text++;
    }
    if (part & 0x10) count -= (int64_t)1 << bits;
    if (r->index++ > 2) count += r->before[0];
    r->before[0] = r->before[1];
    r->before[1] = count;
    return count;
}

BlemishStatus coco_runs(MaskCanvas *c, const json_t *runs, const char *where, Error *e) {
    const json_t *size = json_object_get(runs, "size"), *counts = json_object_get(runs, "counts");
    const size_t height = c->height, pixels = height * c->width;
    if ((size_t)json_integer_value(json_array_get(size, 0)) != height ||
        (size_t)json_integer_value(json_array_get(size, 1)) != c->width)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: size: found another one, expected [%zu, %zu] as the image",
                         c->path, where, height, c->width);
    Runs r = {.array = json_is_array(counts) ? counts : NULL, .text = json_string_value(counts)};
    if (r.array == NULL && r.text == NULL)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: counts: found none, expected numbers or text", c->path,
                         where);
    size_t at = 0;
    bool more = true;
    for (uint8_t value = 0; more; value ^= 1) {
        const int64_t count = next_count(&r, &more);
        if (count < 0 || (uint64_t)count > pixels - at)
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: counts: found one that is no length or too long",
                             c->path, where);
        for (const size_t end = at + (size_t)count; at < end; at++)
            c->mask[at % height * c->width + at / height] |= value;
    }
    if (at == pixels) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: counts: found %zu pixels, expected %zu", c->path, where, at,
                     pixels);
}
