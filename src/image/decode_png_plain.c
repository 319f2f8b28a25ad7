#include "image/decode_png.h"

#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>

/* ---- chunks ---------------------------------------------------------------------------------------------- */

enum { SIGNATURE = 8, CHUNK_HEAD = 8, CHUNK_CRC = 4 };

static size_t number_at(const uint8_t *p) {
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* The image data's chunks put together in `data`, which holds as much as the file; 0 unless every chunk up to the end's
 * is whole, and the data's follow one another. */
static size_t gather(const Encoded *file, uint8_t *data) {
    size_t used = 0, last = 0;
    for (size_t at = SIGNATURE; file->size - at >= CHUNK_HEAD + CHUNK_CRC;) {
        const uint8_t *chunk = file->bytes + at;
        const size_t length = number_at(chunk);
        if (length > file->size - at - CHUNK_HEAD - CHUNK_CRC) return 0;
        const uint8_t *body = chunk + CHUNK_HEAD;
        if (libdeflate_crc32(0, chunk + 4, length + 4) != number_at(body + length)) return 0;
        at += CHUNK_HEAD + length + CHUNK_CRC;
        if (memcmp(chunk + 4, "IEND", 4) == 0) return used;
        if (memcmp(chunk + 4, "IDAT", 4) != 0) continue;
        if (used && last != (size_t)(chunk - file->bytes)) return 0;
        memcpy(data + used, body, length);
        used += length;
        last = at;
    }
    return 0;
}

/* ---- filters --------------------------------------------------------------------------------------------- */

static uint8_t nearest(int left, int up, int corner) {
    const int to_left = abs(up - corner), to_up = abs(left - corner), to_corner = abs(left + up - 2 * corner);
    const int other = to_up <= to_corner ? up : corner, least = to_up <= to_corner ? to_up : to_corner;
    return (uint8_t)(to_left <= least ? left : other);
}

/* Takes a row's filter back; n bytes, a pixel's being `pixel`; `up` is the row above as it was. */
static inline bool unfilter(int filter, const uint8_t *restrict in, const uint8_t *restrict up, size_t n, size_t pixel,
                            uint8_t *restrict out) {
    switch (filter) {
    case 0:
        memcpy(out, in, n);
        return true;
    case 1:
        memcpy(out, in, pixel);
        for (size_t i = pixel; i < n; i++) out[i] = (uint8_t)(in[i] + out[i - pixel]);
        return true;
    case 2:
        for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(in[i] + up[i]);
        return true;
    case 3:
        for (size_t i = 0; i < pixel; i++) out[i] = (uint8_t)(in[i] + up[i] / 2);
        for (size_t i = pixel; i < n; i++) out[i] = (uint8_t)(in[i] + (out[i - pixel] + up[i]) / 2);
        return true;
    case 4:
        for (size_t i = 0; i < pixel; i++) out[i] = (uint8_t)(in[i] + up[i]);
        for (size_t i = pixel; i < n; i++) out[i] = (uint8_t)(in[i] + nearest(out[i - pixel], up[i], up[i - pixel]));
        return true;
    default:
        return false;
    }
}

/* A constant size of pixels: the loops over it unroll. */
static bool unfilter_row(int filter, const uint8_t *in, const uint8_t *up, size_t n, size_t pixel, uint8_t *out) {
    if (pixel == 1) return unfilter(filter, in, up, n, 1, out);
    if (pixel == 2) return unfilter(filter, in, up, n, 2, out);
    if (pixel == 3) return unfilter(filter, in, up, n, 3, out);
    return unfilter(filter, in, up, n, 4, out);
}

static void spread(const uint8_t *in, size_t pixels, size_t samples, uint8_t *out) {
    for (size_t i = 0; i < pixels; i++, in += samples)
        for (size_t c = 0; c < 3; c++) *out++ = in[samples < 3 ? 0 : c];
}

/* rows: (2, width * samples) of scratch, zeroed: the first row has zeros above it. */
static bool unpack(const uint8_t *data, size_t samples, uint8_t *rows, BlemishImage *out) {
    const size_t n = out->width * samples;
    const uint8_t *up = rows;
    for (size_t y = 0; y < out->height; y++, data += n + 1) {
        uint8_t *picture = image_pixels(out) + y * out->stride, *row = samples == 3 ? picture : rows + (y + 1) % 2 * n;
        if (!unfilter_row(data[0], data + 1, up, n, samples, row)) return false;
        if (samples != 3) spread(row, out->width, samples, picture);
        up = row;
    }
    return true;
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static bool inflate(const uint8_t *packed, size_t packed_size, uint8_t *data, size_t size) {
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    size_t made = 0;
    const bool whole = d && libdeflate_zlib_decompress(d, packed, packed_size, data, size, &made) == LIBDEFLATE_SUCCESS;
    libdeflate_free_decompressor(d);
    return whole && made == size;
}

bool png_decode_plain(const Encoded *file, size_t samples, BlemishImage *out) {
    Error ignored; /* the other reader tells */
    const size_t row = out->width * samples, size = (row + 1) * out->height;
    uint8_t *packed = array_new_unset(file->size, 1, &ignored), *data = array_new_unset(size, 1, &ignored);
    uint8_t *rows = array_new(2 * row, 1, &ignored);
    const size_t packed_size = packed && data && rows ? gather(file, packed) : 0;
    const bool done = packed_size > 0 && inflate(packed, packed_size, data, size) && unpack(data, samples, rows, out);
    array_free(packed);
    array_free(data);
    array_free(rows);
    return done;
}
