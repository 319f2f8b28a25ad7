#include "image/image.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- components: two passes over a forest whose roots are the smallest provisional labels ------------------ */

static uint32_t find_root(uint32_t *parent, uint32_t label) {
    while (parent[label] != label) label = parent[label] = parent[parent[label]];
    return label;
}

/* The label of one pixel of the mask from its four neighbours above and to the left; 0: it starts a component. */
static uint32_t join_neighbours(const uint32_t *above, const uint32_t *row, size_t x, size_t width, uint32_t *parent) {
    uint32_t neighbours[4] = {x > 0 ? row[x - 1] : 0, 0, 0, 0}, root = 0;
    if (above != NULL) {
        neighbours[1] = x > 0 ? above[x - 1] : 0;
        neighbours[2] = above[x];
        neighbours[3] = x + 1 < width ? above[x + 1] : 0;
    }
    for (int i = 0; i < 4; i++) {
        if (neighbours[i] == 0) continue;
        uint32_t other = find_root(parent, neighbours[i]);
        if (root == 0) root = other;
        uint32_t small = root < other ? root : other, large = root < other ? other : root;
        parent[large] = small;
        root = small;
    }
    return root;
}

BlemishStatus mask_components(const uint8_t *mask, size_t height, size_t width, uint32_t *labels, uint32_t *count,
                              Error *e) {
    *count = 0;
    /* No two pixels of a 2 x 2 square both start a component. */
    size_t most;
    if (!size_mul((height + 1) / 2, (width + 1) / 2, &most) || most >= UINT32_MAX)
        return error_set(e, BLEMISH_ERROR_MEMORY, "mask: %zu x %zu pixels are too many to label", width, height);
    uint32_t *parent = array_new(most + 1, sizeof *parent, e);
    if (parent == NULL) return e->status;
    uint32_t used = 0;
    for (size_t y = 0; y < height; y++) {
        uint32_t *row = labels + y * width, *above = y > 0 ? row - width : NULL;
        for (size_t x = 0; x < width; x++) {
            row[x] = 0;
            if (!mask[y * width + x]) continue;
            row[x] = join_neighbours(above, row, x, width, parent);
            if (row[x] == 0) {
                row[x] = ++used;
                parent[used] = used;
            }
        }
    }
    /* A root is its component's first label in raster order and comes before all labels that lead to it. */
    for (uint32_t label = 1; label <= used; label++)
        parent[label] = parent[label] == label ? ++*count : parent[parent[label]];
    for (size_t i = 0; i < height * width; i++) labels[i] = parent[labels[i]];
    array_free(parent);
    return BLEMISH_OK;
}

/* ---- dilation: a running count of the window's mask pixels, along rows and then along columns --------------- */

BlemishStatus mask_dilate_square(const uint8_t *mask, size_t height, size_t width, size_t size, uint8_t *out,
                                 Error *e) {
    if (size % 2 == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "mask dilation: found a square of %zu, expected an odd size", size);
    size_t radius = size / 2;
    if (height == 0 || width == 0) return BLEMISH_OK;
    uint8_t *along_x = array_new(height, width, e);
    size_t *inside = along_x == NULL ? NULL : array_new(width, sizeof *inside, e);
    if (inside == NULL) {
        array_free(along_x);
        return e->status;
    }
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = mask + y * width;
        size_t n = 0;
        for (size_t x = 0; x < width && x < radius; x++) n += row[x];
        for (size_t x = 0; x < width; x++) {
            if (radius < width - x) n += row[x + radius];
            if (x > radius) n -= row[x - radius - 1];
            along_x[y * width + x] = n > 0;
        }
    }
    for (size_t y = 0; y < height && y < radius; y++)
        for (size_t x = 0; x < width; x++) inside[x] += along_x[y * width + x];
    for (size_t y = 0; y < height; y++) {
        const uint8_t *enters = radius < height - y ? along_x + (y + radius) * width : NULL;
        const uint8_t *leaves = y > radius ? along_x + (y - radius - 1) * width : NULL;
        for (size_t x = 0; x < width; x++) {
            if (enters != NULL) inside[x] += enters[x];
            if (leaves != NULL) inside[x] -= leaves[x];
            out[y * width + x] = inside[x] > 0;
        }
    }
    array_free(inside);
    array_free(along_x);
    return BLEMISH_OK;
}

/* ---- distance: Meijster, Roerdink, Hesselink, "A general algorithm for computing distance transforms in linear
 * time" (2000); whole numbers throughout, so the squares are exact ------------------------------------------- */

/* Distances along each column to the nearest pixel outside the mask; `none` where the column has no such pixel. All
 * are below 2^24 and thus exact in float. */
static void distance_along_columns(const uint8_t *mask, size_t height, size_t width, float none, float *distance) {
    for (size_t i = 0; i < height * width; i++)
        distance[i] = !mask[i] ? 0 : i < width || distance[i - width] == none ? none : distance[i - width] + 1;
    for (size_t i = (height - 1) * width; i-- > 0;)
        if (distance[i + width] + 1 < distance[i]) distance[i] = distance[i + width] + 1;
}

typedef struct Parabola {
    int64_t column, from; /* its column, and the first column where it is the lowest */
} Parabola;

/* sqrt of the smallest (x - u)^2 + along[u]^2 over the columns u, by the lower envelope of those parabolas. */
static void distance_along_row(const int64_t *along, int64_t width, Parabola *envelope, float *distance) {
    int64_t top = 0;
    envelope[0] = (Parabola){0, 0};
    for (int64_t u = 1; u < width; u++) {
        for (; top >= 0; top--) {
            int64_t at = envelope[top].from - envelope[top].column, from_u = envelope[top].from - u;
            int64_t old = along[envelope[top].column];
            if (at * at + old * old <= from_u * from_u + along[u] * along[u]) break;
        }
        int64_t from = 0;
        if (top >= 0) { /* the first column where u is lower; the division rounds down, so its sign must not be minus */
            int64_t i = envelope[top].column;
            from = 1 + (u * u - i * i + along[u] * along[u] - along[i] * along[i]) / (2 * (u - i));
        }
        if (from < width) envelope[++top] = (Parabola){u, from};
    }
    for (int64_t x = width - 1; x >= 0; x--) {
        int64_t dx = x - envelope[top].column, dy = along[envelope[top].column];
        distance[x] = (float)sqrt((double)(dx * dx + dy * dy));
        if (x == envelope[top].from) top--;
    }
}

BlemishStatus mask_distance(const uint8_t *mask, size_t height, size_t width, float *distance, Error *e) {
    if (height == 0 || width == 0) return BLEMISH_OK;
    if (memchr(mask, 0, height * width) == NULL) {
        for (size_t i = 0; i < height * width; i++) distance[i] = FLT_MAX;
        return BLEMISH_OK;
    }
    if (height > IMAGE_SIDE_MAX || width > IMAGE_SIDE_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "mask distance: found %zu x %zu pixels, expected sides up to %d",
                         width, height, IMAGE_SIDE_MAX);
    int64_t *along = array_new(width, sizeof *along, e);
    Parabola *envelope = along == NULL ? NULL : array_new(width, sizeof *envelope, e);
    if (envelope != NULL) {
        /* More than any distance within the picture, so a column without background never wins. */
        distance_along_columns(mask, height, width, (float)(height + width), distance);
        for (size_t y = 0; y < height; y++) {
            float *row = distance + y * width;
            for (size_t x = 0; x < width; x++) along[x] = (int64_t)row[x];
            distance_along_row(along, (int64_t)width, envelope, row);
        }
    }
    array_free(along);
    BlemishStatus status = envelope == NULL ? e->status : BLEMISH_OK;
    array_free(envelope);
    return status;
}

BlemishStatus mask_distance_weights(const uint8_t *mask, size_t height, size_t width, float *weights, Error *e) {
    if (height == 0 || width == 0) return BLEMISH_OK;
    uint32_t count;
    float *largest = NULL;
    uint32_t *labels = array_new(height * width, sizeof *labels, e);
    BlemishStatus status = labels == NULL ? e->status : mask_components(mask, height, width, labels, &count, e);
    if (status == BLEMISH_OK) status = mask_distance(mask, height, width, weights, e);
    if (status == BLEMISH_OK && (largest = array_new((size_t)count + 1, sizeof *largest, e)) == NULL)
        status = e->status;
    if (status == BLEMISH_OK) {
        for (size_t i = 0; i < height * width; i++)
            if (weights[i] > largest[labels[i]]) largest[labels[i]] = weights[i];
        for (size_t i = 0; i < height * width; i++) {
            float share = labels[i] ? weights[i] / largest[labels[i]] : 0;
            weights[i] = labels[i] ? 3 * share * share : 1;
        }
    }
    array_free(largest);
    array_free(labels);
    return status;
}
