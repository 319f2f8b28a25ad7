#include "image/image.h"

#include <string.h>

TileAxis tile_axis(size_t length, size_t tile, size_t overlap) {
    const size_t step = tile - overlap;
    return (TileAxis){length, tile, length <= tile ? 1 : 1 + (length - tile + step - 1) / step};
}

size_t tile_first(const TileAxis *a, size_t i) {
    return a->count == 1 ? 0 : i * (a->length - a->tile) / (a->count - 1);
}

/* What a tile counts at its pixel k before the sum is made 1: rising and falling over what it shares with its
 * neighbours, and full towards the image's border. */
static float height_at(const TileAxis *a, size_t i, size_t k) {
    const size_t first = tile_first(a, i), before = i ? tile_first(a, i - 1) + a->tile - first : 0;
    const size_t after = i + 1 < a->count ? first + a->tile - tile_first(a, i + 1) : 0;
    const float rise = k < before ? ((float)k + 0.5f) / (float)before : 1;
    const float fall = a->tile - 1 - k < after ? ((float)(a->tile - 1 - k) + 0.5f) / (float)after : 1;
    return rise < fall ? rise : fall;
}

void tile_weights(const TileAxis *a, size_t i, float *weight) {
    const size_t first = tile_first(a, i);
    for (size_t k = 0; k < a->tile; k++) {
        float sum = 0;
        size_t low = i, high = i;
        while (low > 0 && tile_first(a, low - 1) + a->tile > first + k) low--;
        while (high + 1 < a->count && tile_first(a, high + 1) <= first + k) high++;
        for (size_t j = low; j <= high; j++) sum += height_at(a, j, first + k - tile_first(a, j));
        weight[k] = height_at(a, i, k) / sum;
    }
}

static size_t shared_pixels(size_t side, float overlap) {
    return (size_t)((double)side * (double)overlap + 0.5);
}

TileGrid tile_grid(size_t height, size_t width, size_t tile_height, size_t tile_width, float overlap) {
    TileGrid grid = {.overlap_y = shared_pixels(tile_height, overlap), .overlap_x = shared_pixels(tile_width, overlap)};
    grid.y = tile_axis(height, tile_height, grid.overlap_y);
    grid.x = tile_axis(width, tile_width, grid.overlap_x);
    grid.count = grid.y.count * grid.x.count;
    return grid;
}

void tile_place(const TileGrid *grid, size_t tile, size_t *y, size_t *x) {
    *y = tile_first(&grid->y, tile / grid->x.count);
    *x = tile_first(&grid->x, tile % grid->x.count);
}

/* The picture is continued by its mirror image, edge included, as often as it takes. */
static size_t mirrored(size_t i, size_t n) {
    i %= 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

BlemishImage image_window(const BlemishImage *image, size_t y, size_t x, size_t height, size_t width,
                          uint8_t *scratch) {
    const size_t pixel = (size_t)image->channels;
    BlemishImage window = {image->data + y * image->stride + x * pixel, width, height, image->stride, image->channels};
    if (y + height <= image->height && x + width <= image->width) return window;
    for (size_t v = 0; v < height; v++) {
        const uint8_t *row = image->data + mirrored(y + v, image->height) * image->stride;
        for (size_t u = 0; u < width; u++)
            memcpy(scratch + (v * width + u) * pixel, row + mirrored(x + u, image->width) * pixel, pixel);
    }
    window.data = scratch;
    window.stride = width * pixel;
    return window;
}

BlemishImage tile_window(const TileGrid *grid, size_t tile, const BlemishImage *image, uint8_t *scratch) {
    size_t y, x;
    tile_place(grid, tile, &y, &x);
    return image_window(image, y, x, grid->y.tile, grid->x.tile, scratch);
}
