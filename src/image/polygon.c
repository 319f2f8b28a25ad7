#include "image/image.h"

#include <math.h>

/* The first pixel whose centre is at or after v, within 0 to limit. */
static size_t first_centre(double v, size_t limit) {
    const double pixel = ceil(v - 0.5);
    return pixel <= 0 ? 0 : pixel >= (double)limit ? limit : (size_t)pixel;
}

/* Every row that an edge crosses changes sides at one pixel: those changes are marked, and a pixel lies inside when the
 * number of marks up to it is odd. Half-open rows count a corner that two edges share once. */
BlemishStatus polygon_fill(const double *points, size_t count, uint8_t *mask, size_t height, size_t width, Error *e) {
    double top = INFINITY, bottom = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        top = fmin(top, points[2 * i + 1]);
        bottom = fmax(bottom, points[2 * i + 1]);
    }
    const size_t first = first_centre(top, height), last = first_centre(bottom, height);
    if (count < 3 || first >= last) return BLEMISH_OK;
    const size_t stride = width + 1;
    uint8_t *marks = array_new(last - first, stride, e);
    if (marks == NULL) return e->status;
    for (size_t i = 0; i < count; i++) {
        const double *a = points + 2 * i, *b = points + 2 * ((i + 1) % count);
        const double slope = (b[0] - a[0]) / (b[1] - a[1]); /* of a level edge, which crosses no row: not used */
        const size_t end = first_centre(fmax(a[1], b[1]), height);
        for (size_t y = first_centre(fmin(a[1], b[1]), height); y < end; y++)
            marks[(y - first) * stride + first_centre(a[0] + ((double)y + 0.5 - a[1]) * slope, width)] ^= 1;
    }
    for (size_t y = first; y < last; y++) {
        uint8_t inside = 0;
        for (size_t x = 0; x < width; x++) {
            inside ^= marks[(y - first) * stride + x];
            mask[y * width + x] |= inside;
        }
    }
    array_free(marks);
    return BLEMISH_OK;
}
