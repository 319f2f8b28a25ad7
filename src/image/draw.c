#include "image/image.h"

#include <string.h>

static float clamp01(float v) {
    return v > 0 ? (v < 1 ? v : 1) : 0; /* NaN gives 0 */
}

/* The fifth-degree polynomials published beside the map ("Turbo, An Improved Rainbow Colormap for Visualization"). */
void colour_turbo(float v, uint8_t rgb[3]) {
    static const float terms[3][6] = {
        {0.13572138f, 4.61539260f, -42.66032258f, 132.13108234f, -152.94239396f, 59.28637943f},
        {0.09140261f, 2.19418839f, 4.84296658f, -14.18503333f, 4.27729857f, 2.82956604f},
        {0.10667330f, 12.64194608f, -60.58204836f, 110.36276771f, -89.90310912f, 27.34824973f}};
    v = clamp01(v);
    for (int c = 0; c < 3; c++) {
        float sum = 0;
        for (int i = 5; i >= 0; i--) sum = sum * v + terms[c][i];
        rgb[c] = (uint8_t)(255 * clamp01(sum) + 0.5f);
    }
}

static uint8_t *pixel(BlemishImage *image, size_t x, size_t y) {
    return image_pixels(image) + y * image->stride + 3 * x;
}

void draw_heatmap(BlemishImage *image, const float *map) {
    const float strongest = 0.8f; /* the surface shows even under the hottest colour */
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++) {
            float v = clamp01(map[y * image->width + x]), alpha = strongest * v;
            uint8_t colour[3], *to = pixel(image, x, y);
            colour_turbo(v, colour);
            for (int c = 0; c < 3; c++) to[c] = (uint8_t)((1 - alpha) * to[c] + alpha * colour[c] + 0.5f);
        }
}

static void fill(BlemishImage *image, size_t x0, size_t y0, size_t x1, size_t y1, const uint8_t rgb[3]) {
    for (size_t y = y0; y < y1 && y < image->height; y++)
        for (size_t x = x0; x < x1 && x < image->width; x++) memcpy(pixel(image, x, y), rgb, 3);
}

void draw_rectangle(BlemishImage *image, size_t x, size_t y, size_t width, size_t height, size_t thickness,
                    const uint8_t rgb[3]) {
    size_t right, bottom;
    if (!size_add(x, width, &right)) right = SIZE_MAX;
    if (!size_add(y, height, &bottom)) bottom = SIZE_MAX;
    if (thickness > width) thickness = width;
    if (thickness > height) thickness = height;
    fill(image, x, y, right, y + thickness, rgb);
    fill(image, x, bottom - thickness, right, bottom, rgb);
    fill(image, x, y, x + thickness, bottom, rgb);
    fill(image, right - thickness, y, right, bottom, rgb);
}

bool mask_on_contour(const uint8_t *mask, size_t height, size_t width, size_t x, size_t y) {
    const uint8_t *m = mask + y * width + x;
    bool inner = x > 0 && x + 1 < width && y > 0 && y + 1 < height && m[-1] && m[1] && *(m - width) && m[width];
    return *m && !inner;
}

void draw_contour(BlemishImage *image, const uint8_t *mask, const uint8_t rgb[3]) {
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            if (mask_on_contour(mask, image->height, image->width, x, y)) memcpy(pixel(image, x, y), rgb, 3);
}

void draw_image(BlemishImage *image, const BlemishImage *source, size_t x, size_t y) {
    for (size_t sy = 0; sy < source->height && y < image->height && sy < image->height - y; sy++)
        for (size_t sx = 0; sx < source->width && x < image->width && sx < image->width - x; sx++) {
            const uint8_t *from = source->data + sy * source->stride + sx * (size_t)source->channels;
            uint8_t *to = pixel(image, x + sx, y + sy);
            for (int c = 0; c < 3; c++) to[c] = from[source->channels == 3 ? c : 0];
        }
}
