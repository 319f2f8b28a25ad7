/* The contact sheet: what the families look like. */
#include "data/surfaces.h"
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

enum { SHEET_SIDE_MAX = 1024, TILES = 6, GAP = 3, BLOCKS = 2, LETTER = 2, LABEL = 11 * 4 * LETTER };

/* Letters of 3 x 5 pixels, a row three bits, the top row the highest. */
static const uint16_t letters[26] = {
    025757, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227, 011152, 055655, 044447, 057755,
    065555, 025552, 065644, 025563, 065655, 034216, 072222, 055557, 055522, 055775, 055255, 055222, 071247,
};

static void draw_label(BlemishImage *sheet, size_t x, size_t y, const char *text) {
    static const uint8_t black[3] = {0, 0, 0};
    for (; *text; text++, x += 4 * LETTER)
        for (size_t bit = 0; bit < 15 && *text >= 'a' && *text <= 'z'; bit++)
            if (letters[*text - 'a'] >> (14 - bit) & 1)
                draw_rectangle(sheet, x + bit % 3 * LETTER, y + bit / 3 * LETTER, LETTER, LETTER, LETTER, black);
}

/* One family's tiles into the sheet at (x, y). */
static BlemishStatus draw_family(BlemishImage *sheet, size_t x, size_t y, const BlemishSurfaceSettings *settings,
                                 size_t family, size_t row, uint8_t *rgb, uint8_t *masks, Error *e) {
    static const uint8_t red[3] = {255, 0, 40};
    BlemishSurfaceSettings s = *settings;
    s.families = (uint64_t)1 << family;
    const uint64_t programs[TILES] = {0, 0, 1, 2, 1, 2}, samples[TILES] = {0, 1, 0, 0, 1, 1};
    const int32_t defects[TILES] = {
        -1, -1, -1, -1, (int32_t)(2 * row % FLAW_FAMILIES), (int32_t)((2 * row + 1) % FLAW_FAMILIES)};
    if (surface_images(&s, TILES, programs, samples, defects, rgb, masks, e) != BLEMISH_OK) return e->status;
    draw_label(sheet, x, y + s.height / 2 - 3 * LETTER, surface_families[family].name);
    for (size_t i = 0; i < TILES; i++) {
        BlemishImage tile = {.width = s.width, .height = s.height, .stride = 3 * s.width, .channels = 3};
        const uint8_t *mask = masks + i * s.width * s.height;
        tile.data = rgb + i * s.height * tile.stride;
        const size_t left = x + LABEL + i * (s.width + GAP);
        draw_image(sheet, &tile, left, y);
        for (size_t v = 0; v < s.height; v++)
            for (size_t u = 0; u < s.width; u++)
                if (mask_on_contour(mask, s.height, s.width, u, v))
                    memcpy(image_pixels(sheet) + (y + v) * sheet->stride + 3 * (left + u), red, 3);
    }
    return BLEMISH_OK;
}

static BlemishStatus write_sheet(const BlemishImage *sheet, const char *path, Error *e) {
    const size_t length = strlen(path);
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (length < 4 || strcmp(path + length - 4, ".jpg") != 0) return image_write_png(sheet, path, e);
    if (image_encode_jpeg(sheet, 80, &bytes, &size, e) == BLEMISH_OK) atomic_write_file(path, bytes, size, e);
    free(bytes);
    return e->status;
}

BlemishStatus surface_sheet(const BlemishSurfaceSettings *s, const char *path, Error *e) {
    const size_t families = (size_t)__builtin_popcountll(s->families), rows = (families + BLOCKS - 1) / BLOCKS;
    const size_t block = LABEL + TILES * (s->width + GAP), blocks = families < BLOCKS ? families : BLOCKS;
    if (s->width > SHEET_SIDE_MAX || s->height > SHEET_SIDE_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "size: found %zu x %zu, expected tiles of at most %d pixels a side",
                         s->width, s->height, SHEET_SIDE_MAX);
    BlemishImage sheet;
    if (image_new(&sheet, GAP + blocks * block, GAP + rows * (s->height + GAP), 3, e) != BLEMISH_OK) return e->status;
    memset(image_pixels(&sheet), 255, sheet.stride * sheet.height);
    uint8_t *rgb = array_new(s->width * s->height, 3 * TILES, e), *masks = array_new(s->width * s->height, TILES, e);
    for (size_t family = 0, i = 0; e->status == BLEMISH_OK && family < SURFACE_FAMILIES; family++)
        if (s->families >> family & 1) {
            draw_family(&sheet, GAP + i / rows * block, GAP + i % rows * (s->height + GAP), s, family, i, rgb, masks,
                        e);
            i++;
        }
    if (e->status == BLEMISH_OK) write_sheet(&sheet, path, e);
    array_free(rgb);
    array_free(masks);
    image_free(&sheet);
    return e->status;
}
